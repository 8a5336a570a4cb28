"""Redis 7.2 and newer: a commit waits until the server has flushed it.

Where an older server is installed a newer one is made of it: what stands between tells another version, and answers WAITAOF.
"""

import socket
import threading
from contextlib import ExitStack, suppress

import pytest

from gossipsync.errors import StoreError
from gossipsync.stores import open_store
from tests.stores import servers
from tests.stores.places import NETWORK, ORIGINS, PEER, shown

A = ORIGINS[0]
_ASKS = b"*4\r\n$7\r\nWAITAOF\r\n$1\r\n1\r\n$1\r\n0\r\n$4\r\n9000\r\n"
"""One local flush, no replica's, and a second less than what the client waits for any answer."""


class Newer:
    """Listens on a unix socket; one connection at a time goes through to the real server."""

    def __init__(self, real: servers.RealRedis) -> None:
        folder = servers.folder()
        self.url = f"unix://{folder}/s"
        self.flushed = 1
        self.asked = 0
        self._real = real.url.removeprefix("unix://")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{folder}/s")
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._real)
                threading.Thread(target=self._back, args=(server, client), daemon=True).start()
                self._forth(client, server)

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        while data := client.recv(1 << 20):
            if data == _ASKS:
                self.asked += 1
                client.sendall(b"*2\r\n:%d\r\n:0\r\n" % self.flushed)
            else:
                assert b"WAITAOF" not in data
                server.sendall(data)
        server.shutdown(socket.SHUT_WR)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError), client, server:
            while data := server.recv(1 << 20):
                client.sendall(data.replace(b"redis_version:7.0.", b"redis_version:7.2."))


def test_a_commit_returns_when_the_server_has_flushed():
    real = servers.running("redis")
    with ExitStack() as stack:
        newer = Newer(real)
        stack.callback(newer.close)
        real.command("CONFIG", "SET", "appendfsync", "everysec")
        stack.callback(real.command, "CONFIG", "SET", "appendfsync", "always")
        store = open_store(newer.url, None, network=NETWORK, peer=PEER)
        stack.callback(store.close)
        store.append("b", A, 1, b"one")
        store.commit()
        store.append("b", A, 2, b"two")
        newer.flushed = 0
        asked = newer.asked
        for _ in range(2):
            with pytest.raises(StoreError, match="did not flush"):
                store.commit()
        newer.flushed = 1
        store.commit()
        assert newer.asked == asked + 3
        assert shown(store)[0] == [("b", A, 1, b"one"), ("b", A, 2, b"two")]
        store.drop_log("b", A)
        store.commit()
