"""One link: the bytes of one authenticated connection, in and out.

The core decides what is said; a link only carries it, and protects the peer from a remote that does not
read: what waits to be sent is bounded, and a write that makes no progress ends the link.

Invariant: after `run` returns nothing is read or sent any more, and every byte that was reported as sent
has been handed to the kernel.
"""

from ssl import SSLError
from typing import Final, Protocol

import trio

from gossipsync.core.model.ids import LinkId

__all__ = ["Link", "LinkDriver"]

# Beside a thread that computes, each call into the kernel costs 5 ms until Python lets us go on: so few and large ones.
_CHUNK_BYTES: Final = 256 * 1024
_READ_BYTES: Final = 16 * 1024  # a TLS record: no read gives more, and each allocates as much
_CHUNK_DEADLINE_S: Final = 15.0  # 17 kB/s; who is slower than that is not following the mesh
_HANG_UP_DEADLINE_S: Final = 1.0  # a goodbye is worth this long
_OVERRUN: Final = 8  # times `queue_bytes`: the core stops pushing at one, answers may exceed it


class LinkDriver(Protocol):
    """Who is told what arrives and what has left. Both may call back into the link."""

    def receive(self, link: LinkId, data: bytes) -> None:
        """Bytes arrived."""
        ...

    def report_sent(self, link: LinkId, size_bytes: int) -> None:
        """That many bytes have left."""
        ...


class Link:
    """A link to one remote peer. All methods belong to the trio thread."""

    def __init__(
        self,
        link: LinkId,
        stream: trio.abc.Stream,
        driver: LinkDriver,
        *,
        queue_bytes: int,
    ) -> None:
        self.id = link
        self._stream = stream
        self._driver = driver
        self._limit_bytes = queue_bytes * _OVERRUN
        self._outgoing = bytearray()
        self._has_work = trio.Event()
        self._scope = trio.CancelScope()
        self._reason: str | None = None

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be sent."""
        return len(self._outgoing)

    def send(self, data: bytes) -> None:
        """Queue whole frames. A remote that has let too much pile up is hung up on."""
        if self._reason is not None:
            return
        self._outgoing += data
        self._has_work.set()
        if len(self._outgoing) > self._limit_bytes:
            self._outgoing.clear()
            self.hang_up("slow")

    def hang_up(self, reason: str) -> None:
        """End the link once what is queued has left, or soon. The first reason holds."""
        if self._reason is None:
            self._reason = reason
            self._scope.deadline = trio.current_time() + _HANG_UP_DEADLINE_S
            self._has_work.set()

    async def run(self, leftover: bytes) -> str:
        """Carry bytes until the link ends; returns why it did. `leftover` arrived before."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._read(leftover)
                nursery.cancel_scope.cancel()
        return self._reason or "closed"

    async def _read(self, data: bytes) -> None:
        try:
            while True:
                if data:
                    self._driver.receive(self.id, data)
                data = bytes(await self._stream.receive_some(_READ_BYTES))
                if not data:
                    self._reason = self._reason or "closed by the other end"
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError, SSLError):
            self._reason = self._reason or "broken"

    async def _write(self) -> None:
        try:
            while True:
                await self._has_work.wait()
                while self._outgoing:
                    await self._write_chunk()
                if self._reason is not None:
                    await self._end_sending()
                    return
                self._has_work = trio.Event()
        except (trio.BrokenResourceError, trio.ClosedResourceError, SSLError):
            self._reason = self._reason or "broken"
            self._scope.cancel()

    async def _end_sending(self) -> None:
        """Tell the other end that nothing more comes, and read on until it has seen that, or the deadline.

        To close at once would have the kernel reset a connection on which something still arrives, and a reset may overtake
        what we sent last.
        """
        transport = getattr(self._stream, "transport_stream", self._stream)
        if isinstance(transport, trio.abc.HalfCloseableStream):
            await transport.send_eof()
        else:
            self._scope.cancel()

    async def _write_chunk(self) -> None:
        chunk = bytes(memoryview(self._outgoing)[:_CHUNK_BYTES])
        del self._outgoing[: len(chunk)]
        with trio.move_on_after(_CHUNK_DEADLINE_S) as scope:
            await self._stream.send_all(chunk)
        if scope.cancelled_caught:
            self._reason = self._reason or "stuck"
            self._outgoing.clear()
            self._scope.cancel()
            return
        self._driver.report_sent(self.id, len(chunk))
