"""A member behind a slow line, over real sockets: the writer is refused before memory grows, and all arrives in the end."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from threading import Event, Thread

import pytest

from gossipsync.core.model.address import split_address
from gossipsync.core.model.limits import Limits
from gossipsync.embed import _binding
from gossipsync.errors import OverloadedError
from tests.network.embed.conftest import Spawn

VALUE = b"x" * 250_000
PLENTY = 2 * Limits().unconfirmed_bytes // len(VALUE)
_PIECE_BYTES = 16 << 10
_PIECE_S = 0.01


class Line:
    """A line to one address, as fast as the machine until it is narrowed: then 1.6 MB a second."""

    def __init__(self, address: str) -> None:
        self.target = split_address(address)
        self.is_wide = Event()
        self.is_wide.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE_BYTES)
        self._ends: list[socket.socket] = []
        self._carriers: list[Thread] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._acceptor = Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket()
                self._ends += near, far
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE_BYTES)
                far.connect(self.target)
                for ends in ((near, far), (far, near)):
                    self._carriers.append(Thread(target=self._carry, args=ends, daemon=True))
                    self._carriers[-1].start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE_BYTES):
                self.is_wide.wait(_PIECE_S)
                sink.sendall(data)
        _hang_up(source, sink)

    def close(self) -> None:
        """A call that waits for a socket ends by its shutdown; only then may the socket be closed."""
        self.is_wide.set()
        _hang_up(self._listener)
        self._acceptor.join()
        _hang_up(*self._ends)
        for carrier in self._carriers:
            carrier.join()
        for end in (self._listener, *self._ends):
            end.close()


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def lines() -> Iterator[list[Line]]:
    lines: list[Line] = []
    yield lines
    for line in lines:
        line.close()


def test_a_writer_that_outruns_a_slow_line_is_refused(
    spawn: Spawn, lines: list[Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_binding, "PATIENCE_S", 0.05)
    near = spawn("near")
    assert near.address is not None
    lines.append(line := Line(near.address))
    far = spawn("far", line.address)
    for mesh in (near, far):
        mesh.wait_members(2, timeout=10)
        mesh.wait_synced(timeout=10)
    line.is_wide.clear()
    bucket, written = near.bucket("b"), 0

    def write() -> None:
        nonlocal written
        for number in range(PLENTY):
            bucket[f"{number}"] = VALUE
            written += 1

    with pytest.raises(OverloadedError, match="wait for"):
        write()
    queues, limits = near._life.engine().peer.queues(), Limits()
    assert written < PLENTY
    assert queues["unconfirmed_bytes"] < limits.unconfirmed_bytes + limits.bundle_bytes
    assert queues["link_queue_bytes"] < 2 * limits.link_queue_bytes
    monkeypatch.setattr(_binding, "PATIENCE_S", 10)
    line.is_wide.set()
    bucket["last"] = VALUE
    far.wait_for(near.token(), timeout=30)
    assert dict(far.bucket("b")) == dict(bucket)
