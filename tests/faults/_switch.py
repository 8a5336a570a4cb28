"""A network switch for peers in network namespaces of their own, which loses, delays, doubles and cuts as a test says.

It carries IP packets, so what the peers meet is real: the kernel's TCP repeats what is lost, and the two ends of a connection
that is cut do not hear of it.
"""

import heapq
import os
import random
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from threading import Lock, Thread
from typing import Self

import pytest

from tests.faults import _plug
from tests.processes._peers import DEADLINE_S, PeerProcess

_PACKET_BYTES = 65536
_SOURCE, _DESTINATION = slice(12, 16), slice(16, 20)
PORT = 7946


class Switch:
    """Connects peers while the block runs. `loss` and `doubling` are probabilities, `delay_s` is the longest delay."""

    def __init__(self, folder: Path) -> None:
        self.loss = self.doubling = self.delay_s = 0.0
        self._path = folder / "switch"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._wake, self._woken = os.pipe()
        self._rng = random.Random(7)
        self._ports: dict[bytes, int] = {}
        self._cut: set[tuple[bytes, bytes]] = set()
        self._lock = Lock()
        self._waiting: list[tuple[float, int, bytes, bytes]] = []
        self._count = 0
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Self:
        if not _can_plug():
            self._close()
            pytest.skip("not on this platform: no TUN devices in network namespaces of one's own")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._woken)
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        self._close()

    def _close(self) -> None:
        self._listener.close()
        os.close(self._wake)
        for port in self._ports.values():
            os.close(port)

    def attach(self, peer: PeerProcess, number: int) -> None:
        """Have a peer, at its next start, live at 10.77.0.`number`."""
        address = f"10.77.0.{number}"
        peer.address = f"{address}:{PORT}"
        peer.settings["listen"] = peer.address
        peer.prefix = ["unshare", "-rn", sys.executable, _plug.__file__, str(self._path), address]

    def cut(self, senders: Iterable[PeerProcess], receivers: Iterable[PeerProcess]) -> None:
        """From now on nothing of the first reaches the second."""
        with self._lock:
            self._cut |= set(product(map(_ip, senders), map(_ip, receivers)))

    def split(self, one: list[PeerProcess], other: list[PeerProcess]) -> None:
        """Cut both ways."""
        self.cut(one, other)
        self.cut(other, one)

    def heal(self) -> None:
        """Nothing is cut any more."""
        with self._lock:
            self._cut.clear()

    def _run(self) -> None:
        while True:
            wait_s = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
            sources = [self._listener, self._wake, *self._ports.values()]
            ready, _, _ = select.select(sources, [], [], wait_s)
            if self._wake in ready:
                return
            if self._listener in ready:
                self._plug_in()
            for port in self._ports.values():
                if port in ready:
                    self._take(os.read(port, _PACKET_BYTES))
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                self._deliver(*heapq.heappop(self._waiting)[2:])

    def _plug_in(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            address, [port], _, _ = socket.recv_fds(connection, 4, 1)
            if address in self._ports:
                os.close(self._ports[address])  # of a peer that was killed
            self._ports[address] = port
            connection.send(b"!")

    def _take(self, packet: bytes) -> None:
        way = packet[_SOURCE], packet[_DESTINATION]
        with self._lock:
            is_cut = way in self._cut
        if packet[0] >> 4 != 4 or is_cut or self._rng.random() < self.loss:
            return
        for _ in range(1 + (self._rng.random() < self.doubling)):
            self._count += 1
            due_s = time.monotonic() + self._rng.random() * self.delay_s
            heapq.heappush(self._waiting, (due_s, self._count, way[1], packet))

    def _deliver(self, destination: bytes, packet: bytes) -> None:
        port = self._ports.get(destination)
        if port is None:
            return
        try:
            os.write(port, packet)
        except OSError:
            pass  # its namespace ends with the peer that was in it


def _ip(peer: PeerProcess) -> bytes:
    return socket.inet_aton(peer.address.partition(":")[0])


def _can_plug() -> bool:
    try:
        command = ["unshare", "-rn", "sh", "-c", ": <>/dev/net/tun"]
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
