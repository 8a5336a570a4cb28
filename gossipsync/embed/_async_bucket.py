"""Buckets for coroutines: reads and writes are plain calls that never block the loop; waiting is awaited.

Invariant: no method that is not a coroutine waits for anything but the peer's lock.
"""

from gossipsync.embed._batch import AsyncBatch
from gossipsync.embed._binding import Binding
from gossipsync.embed._bucket_base import BucketBase
from gossipsync.embed._durations import Ttl, check_timeout, ttl_ms
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
