"""Buckets for coroutines: reads and writes are plain calls that never block the loop; waiting is awaited.

Invariant: no method that is not a coroutine waits for anything but the peer's lock.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager

from gossipsync.embed._batch import AsyncBatch
from gossipsync.embed._binding import Binding
from gossipsync.embed._bucket_base import BucketBase
from gossipsync.embed._durations import Ttl, check_timeout, ttl_ms
from gossipsync.embed._edits import editing, merging
from gossipsync.embed._fetching import fetching
from gossipsync.embed._receipts import AsyncReceipt
from gossipsync.embed._sources import DirectSource
from gossipsync.embed._waiting import wait_async
from gossipsync.embed._watching import AsyncWatch
from gossipsync.errors import WaitTimeoutError

__all__ = ["AsyncBucket"]


class AsyncBucket(BucketBase):
    """A named mapping from str to plain values that every peer of the mesh holds whole.

    As `Bucket`, but with limits full a write raises OverloadedError at once: await `wait_writable`. For an
    ack, await the receipt.
    """

    def __init__(self, binding: Binding) -> None:
        super().__init__(binding, DirectSource(binding))

    def put(
        self, key: str, value: object, *, ttl: Ttl = None, after: str | None = None
    ) -> AsyncReceipt:
        """Write a value. `ttl` in seconds, NEVER, or None for the bucket's; ordered after the token `after`.

        Raises TokenError.
        """
        written = self._binding.put(key, value, ttl_ms(ttl), after)
        return AsyncReceipt(self._binding.engine(), written, key)

    def delete(self, key: str, *, after: str | None = None) -> AsyncReceipt:
        """Write a delete, whether the key is here yet or not; otherwise as `put`."""
        _, written = self._binding.edit(lambda draft: draft.delete(key), after, is_blind=True)
        assert written is not None
        return AsyncReceipt(self._binding.engine(), written, key)

    def merge(
        self, key: str, before: object, after: object, *, ttl: Ttl = None
    ) -> AsyncReceipt | None:
        """Write the changes between two plain copies of a value: `before`, as it was read, and `after`, as it is to be.

        Fields of a map, elements of a set, and keys of a dict that are the same in both copies keep what others wrote to them
        meanwhile. `before` None: the key was absent. Returns None if nothing changed, and then nothing is written. Raises
        EndedKeyError if the key was deleted or expired after it was read.
        """
        _, written = self._binding.edit(merging(key, before, after, ttl_ms(ttl)))
        return None if written is None else AsyncReceipt(self._binding.engine(), written, key)

    def edit(self, key: str, *, ttl: Ttl = None) -> AbstractContextManager[dict[str, object]]:
        """A plain context manager that gives a copy of a dict, and at its end writes only the changes made to the copy.

        The block may await. Nothing is written if nothing changed, or if the block raises. Raises KeyError where the key is
        absent, EndedKeyError at the end if it was deleted or expired meanwhile, ValueTypeError for a value that is no dict.
        """
        before = self[key]
        return editing(key, before, lambda copy: self.merge(key, before, copy, ttl=ttl))

    def batch(self, *, after: str | None = None) -> AsyncBatch:
        """Several writes as one bundle, atomic on every peer, after a token: a plain context manager.

        It reads its own writes, is dropped whole on an exception, and has a `receipt` afterwards.
        """
        return AsyncBatch(self._binding, after)

    async def fetch(
        self,
        prefix: str = "",
        *,
        keys: Iterable[str] | None = None,
        peer: str,
        timeout: float | None = None,  # noqa: ASYNC109 - as everywhere in this API
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
            await wait_async(under_way.engine, under_way.is_over, timeout_s)
            return under_way.outcome(timeout_s)

    def watch(
        self, prefix: str = "", *, since: str | None = None, timeout: float | None = None
    ) -> AsyncWatch:
        """`async for` over the changes of keys that begin with `prefix`, the newest of each key.

        `since` None: the present entries first; "now": changes only; a cursor: from there on. Ends after
        `timeout` idle seconds. Raises CursorError.
        """
        return AsyncWatch(self._binding, prefix, since, timeout)

    async def wait_writable(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the contract's name
        """Wait until a write would be taken. Raises WaitTimeoutError."""
        engine = self._binding.engine()
        if not await wait_async(engine, engine.peer.is_writable, check_timeout(timeout)):
            raise WaitTimeoutError(f"no room for writes within {timeout:g} s")
