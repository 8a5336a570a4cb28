"""Every exception gossipsync raises, in one tree under `GossipsyncError`.

The tree answers one question first: whose fault is it? `LocalError` is the caller's and leaves
everything as it was; a remote peer's fault never reaches the caller of an ordinary read or write.
Each class says what state is left and what to do next, and carries a `code` that never changes:
the command line ends its stderr with ``error[CODE]: …``.

A missing key is no error of ours: the mapping interface raises `KeyError`, as dict does.
"""

from typing import ClassVar

__all__ = [
    "AckTimeoutError",
    "BucketKindError",
    "ClosedError",
    "ConfigError",
    "CursorError",
    "EndedKeyError",
    "GossipsyncError",
    "HandOverError",
    "InternalError",
    "KeyTooLongError",
    "LocalError",
    "NotPermittedError",
    "NotReadyError",
    "OverloadedError",
    "RemoteError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreLockedError",
    "TokenError",
    "TransportError",
    "ValueTooLargeError",
    "ValueTypeError",
    "WaitTimeoutError",
]


class GossipsyncError(Exception):
    """The root of the tree: catch it to catch all that gossipsync raises on purpose.

    It is never raised itself; a subclass says whose fault it is.
    """

    code: ClassVar[str] = "gossipsync"


# ---------------------------------------------------------------- the caller's


class LocalError(GossipsyncError):
    """The caller asked for something that cannot be done.

    Fault: this process. State: nothing has changed, here or anywhere. Next: correct the call; the
    same call fails again, except where a subclass says that waiting helps.
    """

    code: ClassVar[str] = "local"


class ConfigError(LocalError, ValueError):
    """A setting is unknown, malformed or contradicts another.

    Fault: the keyword, environment variable or TOML key that the message names. State: nothing was
    started, no file was written, nothing listens. Next: correct that setting.
    """

    code: ClassVar[str] = "config"


class ValueTypeError(LocalError, TypeError):
    """A value or key has a type that every peer could not read back the same.

    Fault: the caller; subclasses of the allowed types count as other types. State: nothing was
    written. Next: convert to None, bool, int within ±2^63, float, str, bytes, list, dict with str
    keys or an aware datetime.
    """

    code: ClassVar[str] = "value-type"


class ValueTooLargeError(LocalError, ValueError):
    """A value, or the batch it belongs to, exceeds its limit in bytes once encoded.

    Fault: the caller. State: nothing was written, no part of a batch either. Next: store less, split
    it over several keys, or keep the bulk elsewhere and share a reference.
    """

    code: ClassVar[str] = "value-too-large"


class KeyTooLongError(LocalError, ValueError):
    """A key is empty or exceeds 512 bytes of UTF-8.

    Fault: the caller. State: nothing was written. Next: use a shorter key, or a hash of the long one.
    """

    code: ClassVar[str] = "key-too-long"


class ClosedError(LocalError):
    """The mesh was closed, or left, before this call.

    Fault: the caller's order of calls. State: nothing was written; what had been written before the
    close was flushed as far as its time allowed. Next: open a new mesh.
    """

    code: ClassVar[str] = "closed"


class NotPermittedError(LocalError):
    """This peer's credentials do not allow the operation.

    Fault: rights, not code: no write capability for the bucket, or an operation that a network with
    a cluster key does not have. State: nothing was written or sent. Next: ask the network's operator
    for credentials with that right.
    """

    code: ClassVar[str] = "not-permitted"


class BucketKindError(LocalError):
    """The bucket is of another kind, or has other options, than this call assumes.

    Fault: the caller, or a deployment in which two versions of the code disagree. State: nothing was
    written; the bucket keeps the announced options. Next: leave the arguments out to take what the
    mesh announces, or use another bucket name.
    """

    code: ClassVar[str] = "bucket-kind"


class EndedKeyError(LocalError):
    """The key was deleted for good in a bucket with final deletes.

    Fault: the caller wrote to a session that has ended, perhaps on another peer. State: nothing was
    written, and every peer refuses such writes until the delete expires. Next: use a fresh key, as
    for a new session.
    """

    code: ClassVar[str] = "ended-key"


class TokenError(LocalError):
    """A token cannot be used here.

    Fault: whoever supplied the token: it is malformed, comes from another network, or lies further
    ahead than `max_skew`. State: nothing was written or waited for, and our clock did not move.
    Next: treat it as no token; never trust it as a proof of anything.
    """

    code: ClassVar[str] = "token"


class CursorError(LocalError):
    """A cursor cannot be continued from here.

    Fault: nobody's: it belongs to another peer's store, or to a run of this one that ended in a crash, or more has changed since
    than is remembered, as may also happen to a watch that is not read for long.
    State: nothing was consumed. Next: watch again from `since=None` and compare with what you hold.
    """

    code: ClassVar[str] = "cursor"


class OverloadedError(LocalError):
    """Writes come in faster than they can be stored and sent, and the limits are full.

    Fault: load. State: nothing was written. Next: wait (`wait_writable` in async code) and repeat
    the call, or shed load.
    """

    code: ClassVar[str] = "overloaded"


class NotReadyError(LocalError):
    """The bucket was opened with `unready="raise"`, and this peer has not yet received the mesh's data.

    Fault: time: the process has just started, or no seed answers. State: nothing was read or written. Next: try again in a moment
    (``wait_synced`` waits), or answer "try again" to whoever asked; see ``gossipsync status`` if it lasts.
    """

    code: ClassVar[str] = "not-ready"


# ---------------------------------------------------------------- time


class WaitTimeoutError(GossipsyncError, TimeoutError):
    """What was waited for did not happen in time.

    Fault: nobody's that is known: peers may be slow, away or unreachable. State: the wait changed
    nothing and cancelled nothing. Next: wait longer, or go on without.
    """

    code: ClassVar[str] = "timeout"


class AckTimeoutError(WaitTimeoutError):
    """Fewer members than asked for confirmed in time that they have stored the write.

    Fault: nobody's that is known. State: the write stays here and goes on spreading; its fate is
    unknown, not failed. Next: do not undo it; wait again on the receipt, or report it as pending.

    `acked_by` holds the ids of the peers that did confirm, `needed` how many had to; for `ack="zones"` how many zones,
    and the message names those that did not.
    """

    code: ClassVar[str] = "ack-timeout"

    def __init__(self, message: str, *, acked_by: tuple[str, ...], needed: int) -> None:
        super().__init__(message)
        self.acked_by = acked_by
        self.needed = needed

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword arguments when the exception crosses a process border."""
        return (_rebuild_ack_timeout, (str(self), self.acked_by, self.needed))


def _rebuild_ack_timeout(message: str, acked_by: tuple[str, ...], needed: int) -> AckTimeoutError:
    return AckTimeoutError(message, acked_by=acked_by, needed=needed)


class HandOverError(GossipsyncError):
    """The peer has left, and no other member confirmed its last writes in time.

    Fault: no member that is known: no seed or member could be reached, or none stored the writes within two seconds. State: the peer is
    closed and no member any more; `writes` says how many writes no other member is known to have. Next: write them again from
    another process; in short jobs wait for them with ``ack=1`` before leaving.
    """

    code: ClassVar[str] = "hand-over"

    def __init__(self, message: str, *, writes: int = 0) -> None:
        super().__init__(message)
        self.writes = writes

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword argument when the exception crosses a process border."""
        return (_rebuild_hand_over, (str(self), self.writes))


def _rebuild_hand_over(message: str, writes: int) -> HandOverError:
    return HandOverError(message, writes=writes)


# ---------------------------------------------------------------- others


class RemoteError(GossipsyncError):
    """Another peer broke the protocol, or refused what we asked.

    Fault: the other peer's, or a version too far from ours. State: nothing it sent was applied; the
    reason is counted, and the link closed where that peer alone can be at fault. Next: nothing in this process; look at
    ``gossipsync status`` for the reason and at that peer's version and clock.
    """

    code: ClassVar[str] = "remote"


class StoreError(GossipsyncError):
    """The local store could not be read or written.

    Fault: this machine's disk or its rights. State: what was reported as stored is stored; later
    writes are in memory only. Next: repair the cause that the message names; a peer that runs tries
    again every second and goes on by itself, one that could not start is to be started again.
    """

    code: ClassVar[str] = "store"


class StoreCorruptError(StoreError):
    """The store holds bytes that do not verify.

    Fault: the disk, or somebody who edited the file. State: nothing that failed to verify was loaded
    or sent. Next: keep a copy of the store, then restore a backup, or move the file aside and start; the mesh gives back all
    that any peer still holds.
    """

    code: ClassVar[str] = "store-corrupt"


class StoreBehindError(StoreError):
    """The store no longer has the last commit: it was restored from an older copy, replaced or emptied.

    Fault: the server, the disk or the operator that put the copy back. State: nothing was written onto the older copy. Next:
    nothing for a peer that runs: it writes its whole state again, and acknowledges nothing before that is done.
    """

    code: ClassVar[str] = "store-behind"


class StoreFullError(StoreError):
    """No room is left for the store.

    Fault: this machine's disk or quota. State: the last commit did not happen; earlier ones are
    whole, and what it was to store stays in memory. Next: make room; a peer that runs goes on by
    itself, one that could not start is to be started again.
    """

    code: ClassVar[str] = "store-full"


class StoreLockedError(StoreError):
    """Another process has the store open.

    Fault: two processes share one `data_dir`. State: neither store was touched by this call. Next:
    stop the other process, or give each its own `data_dir`.
    """

    code: ClassVar[str] = "store-locked"


class TransportError(GossipsyncError):
    """An address cannot be listened on, reached or authenticated.

    Fault: the network, the address or the credentials, as the message says. State: local data is
    untouched; other links go on. Next: check address and credentials; ``gossipsync doctor`` helps.
    """

    code: ClassVar[str] = "transport"


class InternalError(GossipsyncError):
    """An invariant of gossipsync itself does not hold.

    Fault: ours. State: the operation was abandoned; the peer stops before it stores or sends what
    it cannot vouch for. Next: restart the peer and report it with the whole message.
    """

    code: ClassVar[str] = "internal"
