"""Buckets for threads: writes may wait for acks and for room, watching blocks.

Invariant: an argument that makes no sense is refused before anything is written.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager

from gossipsync.core.model.acks import Ack
from gossipsync.embed._batch import Batch
from gossipsync.embed._binding import Binding
from gossipsync.embed._bucket_base import BucketBase
from gossipsync.embed._durations import Ttl, check_timeout, ttl_ms
from gossipsync.embed._edits import editing, merging
from gossipsync.embed._fetching import fetching
from gossipsync.embed._receipts import Receipt, check_ack
from gossipsync.embed._sources import PatientSource
from gossipsync.embed._waiting import wait
from gossipsync.embed._watching import Watch

__all__ = ["Bucket"]


class Bucket(BucketBase):
    """A named mapping from str to plain values that every peer of the mesh holds whole.

    Reads are dictionary look-ups here. A write is visible here when the call returns, and on its way to
    the others. Safe in any thread. Raises what `gossipsync` says of values and keys: ValueTypeError,
    ValueTooLargeError, KeyTooLongError, BucketKindError, EndedKeyError, OverloadedError, ClosedError.
    """

    def __init__(self, binding: Binding) -> None:
        super().__init__(binding, PatientSource(binding))

    def put(
        self,
        key: str,
        value: object,
        *,
        ttl: Ttl = None,
        after: str | None = None,
        ack: Ack = 0,
        timeout: float | None = None,
    ) -> Receipt:
        """Write a value; with `ack`, return once so many other members have stored it.

        `ttl` in seconds, NEVER, or None for the bucket's; `after` a token that this write is ordered after,
        whatever the clocks say; `ack` a number of members, "self", "majority", "all" or "zones"; `timeout` in
        seconds, None for the setting `ack_timeout`. Raises TokenError, and AckTimeoutError, after which the
        write still stands.
        """
        check_ack(ack)
        check_timeout(timeout)
        binding, milliseconds = self._binding, ttl_ms(ttl)
        written = binding.patiently(lambda: binding.put(key, value, milliseconds, after))
        receipt = Receipt(binding.engine(), written, key)
        if ack != 0:
            receipt.wait(ack, timeout=timeout)
        return receipt

    def delete(
        self, key: str, *, after: str | None = None, ack: Ack = 0, timeout: float | None = None
    ) -> Receipt:
        """Write a delete, whether the key is here yet or not; otherwise as `put`."""
        check_ack(ack)
        check_timeout(timeout)
        binding = self._binding
        _, written = binding.patiently(
            lambda: binding.edit(lambda draft: draft.delete(key), after, is_blind=True)
        )
        assert written is not None
        receipt = Receipt(binding.engine(), written, key)
        if ack != 0:
            receipt.wait(ack, timeout=timeout)
        return receipt

    def merge(
        self,
        key: str,
        before: object,
        after: object,
        *,
        ttl: Ttl = None,
        ack: Ack = 0,
        timeout: float | None = None,
    ) -> Receipt | None:
        """Write the changes between two plain copies of a value: `before`, as it was read, and `after`, as it is to be.

        Fields of a map, elements of a set, and keys of a dict that are the same in both copies keep what others wrote to them
        meanwhile. `before` None: the key was absent. Returns None if nothing changed, and then nothing is written. Other
        arguments as for `put`. Raises EndedKeyError if the key was deleted or expired after it was read.
        """
        check_ack(ack)
        check_timeout(timeout)
        binding, change = self._binding, merging(key, before, after, ttl_ms(ttl))
        _, written = binding.patiently(lambda: binding.edit(change))
        if written is None:
            return None
        receipt = Receipt(binding.engine(), written, key)
        if ack != 0:
            receipt.wait(ack, timeout=timeout)
        return receipt

    def edit(
        self, key: str, *, ttl: Ttl = None, ack: Ack = 0, timeout: float | None = None
    ) -> AbstractContextManager[dict[str, object]]:
        """A context manager that gives a plain copy of a dict, and at its end writes only the changes made to the copy.

        Nothing is written if nothing changed, or if the block raises. Arguments as for `put`. Raises KeyError where the key is
        absent, EndedKeyError at the end if it was deleted or expired meanwhile, ValueTypeError for a value that is no dict.
        """
        check_ack(ack)
        check_timeout(timeout)
        before = self[key]
        return editing(
            key,
            before,
            lambda copy: self.merge(key, before, copy, ttl=ttl, ack=ack, timeout=timeout),
        )

    def batch(
        self, *, after: str | None = None, ack: Ack = 0, timeout: float | None = None
    ) -> Batch:
        """Several writes as one bundle, atomic on every peer: a context manager. Arguments as for `put`.

        It reads its own writes, is dropped whole on an exception, and has a `receipt` afterwards.
        """
        check_timeout(timeout)
        return Batch(self._binding, after, check_ack(ack), timeout)

    def fetch(
        self,
        prefix: str = "",
        *,
        keys: Iterable[str] | None = None,
        peer: str,
        timeout: float | None = None,
    ) -> dict[str, object]:
        """What one member has now of the keys that begin with `prefix`, or of `keys`: live ones, as fresh plain values.

        `peer` is a member's exact name, or at least the first 8 characters of its peer id. Every value is proven by its origin's signature, so the member
        cannot invent or alter any; it can leave out a key, or show an older write. Nothing of it is taken over here, so what
        this peer has deleted or not received yet is seen too. The member's own writes count once it has stored them.

        Waits while the member goes on answering, `timeout` seconds at most. Raises LocalError where `peer` names no other
        member or several, TransportError for one that is down or away, WaitTimeoutError for one that says nothing for 10 s,
        and RemoteError where it has no such bucket, what it shows does not verify, or is more than 100,000 keys or 64 MiB.
        """
        timeout_s = check_timeout(timeout)
        with fetching(self._binding, prefix, keys, peer) as under_way:
            wait(under_way.engine, under_way.is_over, timeout_s)
            return under_way.outcome(timeout_s)

    def watch(
        self, prefix: str = "", *, since: str | None = None, timeout: float | None = None
    ) -> Watch:
        """Iterate over the changes of keys that begin with `prefix`, the newest of each key.

        `since` None: the present entries first; "now": changes only; a cursor: from there on. Ends after
        `timeout` idle seconds. Raises CursorError.
        """
        return Watch(self._binding, prefix, since, timeout)
