"""Buckets for threads: writes may wait for acks and for room, watching blocks.

Invariant: an argument that makes no sense is refused before anything is written.
"""

from collections.abc import Iterable

from gossipsync.core.model.acks import Ack
from gossipsync.embed._batch import Batch
from gossipsync.embed._binding import Binding
from gossipsync.embed._bucket_base import BucketBase
from gossipsync.embed._durations import Ttl, check_timeout, ttl_ms
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
        _, written = binding.patiently(lambda: binding.edit(lambda draft: draft.delete(key), after))
        assert written is not None
        receipt = Receipt(binding.engine(), written, key)
        if ack != 0:
            receipt.wait(ack, timeout=timeout)
        return receipt

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

        `peer` is a member's name, or how its peer id starts. Every value is proven by its origin's signature, so the member
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
