"""Links of the second implementation, from docs/protocol.md: TCP, TLS, frames, hello, Messages."""

from __future__ import annotations

import secrets
import socket
import ssl
import time

from tests.interop.data import cbor, parsed, sha
from tests.interop.trust import Identity, is_signed

HELLO_BYTES, FRAME_BYTES = 4096, 1 << 20


class RefusedError(Exception):
    """A REFUSE, or a hello that must be refused; the range of the other end where it is known."""


class Link:
    """One TLS connection, after the hello a stream of messages."""

    def __init__(self, raw: socket.socket, who: Identity, *, is_dialer: bool) -> None:
        self.who = who
        self.is_dialer = is_dialer
        context = who.tls(is_dialer=is_dialer)
        raw.settimeout(10)
        self._stream = context.wrap_socket(raw, server_side=not is_dialer)
        self._buffer = b""
        shown = self._stream.getpeercert(binary_form=True)
        assert shown is not None
        self.certificate = shown
        key = who.network.read_member(shown)
        assert key is not None, "not a member of this network"
        self.peer = key
        self.hello: dict[str, object] = {}

    def close(self) -> None:
        self._stream.close()

    # -- frames ----------------------------------------------------------------------------------

    def send_payload(self, payload: bytes) -> None:
        self._stream.sendall(len(payload).to_bytes(4, "big") + payload)

    def next_payload(self, limit: int, timeout_s: float = 10) -> bytes | None:
        """The next whole payload; None where none has come in time."""
        end = time.monotonic() + timeout_s
        while True:
            size = int.from_bytes(self._buffer[:4], "big")
            assert len(self._buffer) < 4 or size <= limit, "a frame over the limit"
            if len(self._buffer) >= 4 + size:
                payload, self._buffer = self._buffer[4 : 4 + size], self._buffer[4 + size :]
                return payload
            left = end - time.monotonic()
            if left <= 0:
                return None
            self._stream.settimeout(left)
            try:
                data = self._stream.recv(65536)
            except (TimeoutError, ssl.SSLWantReadError):
                return None
            finally:
                self._stream.settimeout(10)
            if not data:
                raise ConnectionError("closed by the other end")
            self._buffer += data

    def send(self, *message: object) -> None:
        self.send_payload(cbor(message))

    def receive(self, timeout_s: float) -> list[object] | None:
        payload = self.next_payload(FRAME_BYTES, timeout_s)
        if payload is None:
            return None
        message = parsed(payload)
        assert isinstance(message, list)
        return message

    # -- hello -----------------------------------------------------------------------------------

    def greet(self, name: str, *, highest: int = 2, lowest: int = 2) -> int:
        """The hello, from either end; the protocol agreed on. Raises RefusedError."""
        who = self.who
        nonce = secrets.token_bytes(32)
        said = {"name": name, "epoch": who.epoch, "address": None, "software": "second"}
        mine = cbor([1, highest, lowest, who.network.id, who.peer, nonce, said, {}])
        self.send_payload(mine)
        theirs = self.next_payload(HELLO_BYTES)
        assert theirs is not None
        parts = parsed(theirs)
        assert isinstance(parts, list)
        if parts[0] == 3:
            raise RefusedError(parts)
        kind, high, low, network, peer, their_nonce, their_said, _more = parts
        agreed = min(high, highest)
        if agreed < max(low, lowest):
            self.send_payload(cbor([3, "version", highest, lowest]))
            answer = self.next_payload(HELLO_BYTES, 2)
            raise RefusedError(parts, parsed(answer) if answer else None)
        assert (kind, network, peer) == (1, who.network.id, self.peer)
        own = (who.peer, nonce, sha(who.certificate), sha(mine))
        other = (peer, their_nonce, sha(self.certificate), sha(theirs))
        dialer, listener = (own, other) if self.is_dialer else (other, own)

        def signed(role: str) -> bytes:
            body = cbor(
                [
                    role,
                    agreed,
                    network,
                    *(part for pair in zip(dialer, listener, strict=True) for part in pair),
                ]
            )
            return b"gossipsync hello v2" + len(body).to_bytes(4, "big") + body

        roles = ("dialer", "listener") if self.is_dialer else ("listener", "dialer")
        self.send_payload(cbor([2, who.key.sign(signed(roles[0]))]))
        auth = self.next_payload(HELLO_BYTES)
        assert auth is not None
        kind, signature = parsed(auth)  # type: ignore[misc]
        assert kind == 2
        assert is_signed(self.peer, signature, signed(roles[1])), "the AUTH does not verify"
        self.hello = their_said
        return agreed


def dial(address: str, who: Identity) -> Link:
    host, _, port = address.rpartition(":")
    return Link(socket.create_connection((host, int(port)), 10), who, is_dialer=True)
