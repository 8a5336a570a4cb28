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
        self._buffer: bytes | bytearray = b""
        self._start = 0
        """How much of the buffer was handed out."""

    @property
    def buffered(self) -> int:
        """Bytes fed and not yet handed out."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes) -> None:
        """Append what arrived; nothing is judged before it is iterated over."""
        if self._start == len(self._buffer):
            self._buffer = data  # most often whole frames, which are cut out of it as it is
        elif isinstance(self._buffer, bytes):
            self._buffer = bytearray(memoryview(self._buffer)[self._start :])
            self._buffer += data
        else:
            # CPython drops a bytearray's front by moving its start, so this costs no copy of the rest.
            del self._buffer[: self._start]
            self._buffer += data
        self._start = 0

    def __iter__(self) -> Iterator[bytes]:
        while (payload := self.next_payload()) is not None:
            yield payload
            if not self._buffer:
                return  # most often nothing is left

    def next_payload(self) -> bytes | None:
        """The next complete payload; None while it is incomplete. Raises FrameTooLargeError."""
        buffer, start = self._buffer, self._start
        begin = start + LENGTH_BYTES
        if len(buffer) < begin:
            return None
        size = int.from_bytes(buffer[start:begin], "big")
        if size > self.limit:
            raise FrameTooLargeError(f"a frame of {size} bytes; the limit is {self.limit}")
        end = begin + size
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            payload = bytes(view[begin:end])
        if end == len(buffer):
            self._buffer, end = b"", 0
        self._start = end
        return payload

    def take_rest(self) -> bytes:
        """All that is buffered, raw; the reader is empty afterwards."""
        rest = bytes(self._buffer[self._start :])
        self._buffer, self._start = b"", 0
        return rest
