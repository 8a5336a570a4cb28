"""Buckets for coroutines: reads and writes are plain calls that never block the loop; waiting is awaited.

Invariant: no method that is not a coroutine waits for anything but the peer's lock.
"""

from collections.abc import Iterable

from gossipsync.embed._batch import AsyncBatch
from gossipsync.embed._binding import Binding
from gossipsync.embed._bucket_base import BucketBase
from gossipsync.embed._durations import Ttl, check_timeout, ttl_ms
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
        _, written = self._binding.edit(lambda draft: draft.delete(key), after)
        assert written is not None
        return AsyncReceipt(self._binding.engine(), written, key)

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

        `peer` is a member's name, or how its peer id starts. Every value is proven by its origin's signature, so the member
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
