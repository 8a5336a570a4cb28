"""Frames: a 32-bit big-endian length, then that many bytes of payload.

TLS gives a stream of bytes; everything above it wants whole messages. The reader is the first code
that meets a remote's bytes, so it decides from the length alone: one over the limit is refused before
a byte of the payload is waited for.

Invariant: the reader never holds more than it was fed, and never allocates by a length it was told.
"""

from collections.abc import Iterator

from gossipsync.errors import RemoteError

__all__ = [
    "AUTHENTICATED_LIMIT_BYTES",
    "LENGTH_BYTES",
    "UNAUTHENTICATED_LIMIT_BYTES",
    "FrameReader",
    "FrameTooLargeError",
    "frame",
]

LENGTH_BYTES = 4
UNAUTHENTICATED_LIMIT_BYTES = 256 * 1024  # whoever has not proved who they are gets no more
AUTHENTICATED_LIMIT_BYTES = (
    1024 * 1024
)  # room for one maximal bundle; parts of joins are cut to fit


class FrameTooLargeError(RemoteError):
    """A remote announced a frame over the limit.

    Fault: the remote's. State: nothing of the frame was kept. Next: close the link, count it.
    """

    code = "frame-too-large"


def frame(payload: bytes) -> bytes:
    """The payload with its length before it."""
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class FrameReader:
    """Cuts a stream into payloads: `feed` what arrived, then iterate over what is complete.

    Iteration stops where the rest has not arrived, and goes on after the next `feed`. `limit` is the
    largest payload in bytes; it may be raised at any time, also between two payloads.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    @property
    def buffered(self) -> int:
        """Bytes fed and not yet handed out."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Append what arrived; nothing is judged before it is iterated over."""
        self._buffer += data

    def __iter__(self) -> Iterator[bytes]:
        while (payload := self.next_payload()) is not None:
            yield payload

    def next_payload(self) -> bytes | None:
        """The next complete payload; None while it is incomplete. Raises FrameTooLargeError."""
        buffer = self._buffer
        if len(buffer) < LENGTH_BYTES:
            return None
        size = int.from_bytes(buffer[:LENGTH_BYTES], "big")
        if size > self.limit:
            raise FrameTooLargeError(f"a frame of {size} bytes; the limit is {self.limit}")
        end = LENGTH_BYTES + size
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            payload = bytes(view[LENGTH_BYTES:end])
        # CPython drops a bytearray's front by moving its start, so this costs no copy of the rest.
        del buffer[:end]
        return payload

    def take_rest(self) -> bytes:
        """All that is buffered, raw; the reader is empty afterwards."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest
