"""Signed hello: two peers that share a TLS connection agree on a protocol and prove who they are.

TLS already proves that each end holds the key of a certificate of this network. The hello binds that
to the mesh: both sign the protocol, the network, both keys, both fresh nonces, both certificates and both
HELLO frames, each in its own role. So a hello cannot be replayed, reflected, moved to another connection or
network, nor changed to a lower protocol on the way.

The dialogue, the same from both ends (payloads of frames, canonical CBOR)::

    HELLO   [1, highest protocol, lowest protocol, network id, peer key, nonce,
             {name, epoch, address, software}, {additions of later protocols}]
    AUTH    [2, signature]
    REFUSE  [3, code, highest protocol, lowest protocol]      in place of AUTH

    signature = Ed25519(key, "gossipsync hello v2" ‖ u32 length ‖ CBOR [role of the signer,
        protocol agreed on, network id, dialer key, listener key, dialer nonce, listener nonce,
        SHA-256 of the dialer's certificate, of the listener's,
        SHA-256 of the dialer's HELLO payload, of the listener's])

Invariant: `remote` is None until the other's AUTH has verified. After an error nothing more is read.
"""

from collections.abc import Callable
from hashlib import sha256

from attrs import evolve, frozen

from gossipsync.core.model import strict
from gossipsync.core.model.ids import NetworkId, PeerId
from gossipsync.core.wire.framing import FrameReader, FrameTooLargeError, frame
from gossipsync.core.wire.hello_codec import (
    MAX_ADDRESS_BYTES,
    MAX_NAME_BYTES,
    NONCE_BYTES,
    PROTOCOL_VERSION,
    Greeting,
    HelloError,
    HelloReason,
    LocalHello,
    RemoteHello,
    Stranger,
    check_refusal,
    decode_auth,
    decode_hello,
    encode_auth,
    encode_hello,
    read_said,
)

__all__ = [
    "HELLO_LIMIT_BYTES",
    "MAX_ADDRESS_BYTES",
    "MAX_NAME_BYTES",
    "NONCE_BYTES",
    "PROTOCOL_VERSION",
    "Handshake",
    "HelloError",
    "HelloReason",
    "LocalHello",
    "RemoteHello",
    "Session",
    "Stranger",
]

HELLO_LIMIT_BYTES = 4096  # four times the longest names; the remote is not authenticated yet

_DOMAIN = b"gossipsync hello v2"


@frozen
class Session:
    """What both ends must agree on, known before the hello: from credentials and the TLS connection.

    `certificate_sha256` and `remote_certificate_sha256` hash the DER; `remote_key` is the public key
    in the remote's certificate; `nonce` is fresh randomness, never used before.
    """

    is_dialer: bool
    network_id: NetworkId
    key: PeerId
    remote_key: PeerId
    certificate_sha256: bytes
    remote_certificate_sha256: bytes
    nonce: bytes


class Handshake:
    """One end's half of the dialogue; without I/O, clock or randomness.

    Send `start()`, then hand in what arrives and send what `receive` returns, until `remote` is set.
    `leftover` are bytes that followed the hello; they belong to what comes next.
    """

    def __init__(
        self,
        session: Session,
        hello: LocalHello,
        *,
        sign: Callable[[bytes], bytes],
        verify: Callable[[bytes, bytes, bytes], bool],
    ) -> None:
        self.remote: RemoteHello | None = None
        self.leftover = b""
        self._session = session
        self._sign = sign
        self._verify = verify
        self._reader = FrameReader(HELLO_LIMIT_BYTES)
        self._epoch = hello.epoch
        self._protocols = hello.protocols
        self._protocol = hello.protocols.highest
        self._own_payload = encode_hello(session.network_id, session.key, session.nonce, hello)
        self._remote_payload: bytes | None = None
        self._claimed: RemoteHello | None = None
        self._remote_nonce = b""
        self._is_failed = False

    def start(self) -> bytes:
        """The HELLO frame to send first."""
        return frame(self._own_payload)

    def receive(self, data: bytes) -> bytes:
        """Take received bytes; return the bytes to send. Raises HelloError, after which all else is refused.

        An error's `reply` is the frame that tells the other end why; send it before closing.
        """
        if self.remote is not None:
            self.leftover += data
            return b""
        if self._is_failed:
            raise HelloError(HelloReason.GARBAGE, "the hello has already been refused")
        try:
            return self._receive(data)
        except HelloError:
            self._is_failed = True
            raise

    def _receive(self, data: bytes) -> bytes:
        self._reader.feed(data)
        reply = b""
        while self.remote is None:
            try:
                payload = self._reader.next_payload()
            except FrameTooLargeError as error:
                raise HelloError(HelloReason.OVERSIZE, str(error)) from error
            if payload is None:
                return reply
            if self._claimed is None:
                self._handle_hello(payload)
                reply += frame(encode_auth(self._sign(self._transcript(is_own=True))))
            else:
                self.remote = self._handle_auth(payload, self._claimed)
        self.leftover = self._reader.take_rest()
        return reply

    def _handle_hello(self, payload: bytes) -> None:
        try:
            check_refusal(payload, self._protocols)
            greeting = decode_hello(payload, self._protocols)
        except HelloError as error:
            error.reply = frame(error.reply) if error.reply else b""
            raise
        self._check_greeting(greeting)
        self._remote_payload = payload
        self._remote_nonce = greeting.nonce
        protocol = self._protocols.agreed(greeting.protocols)
        assert protocol is not None
        self._protocol = protocol
        claimed = read_said(PeerId(greeting.key), greeting.said)
        self._claimed = evolve(claimed, protocol=protocol)

    def _check_greeting(self, greeting: Greeting) -> None:
        session, key, nonce = self._session, greeting.key, greeting.nonce
        if greeting.network_id != session.network_id:
            raise HelloError(HelloReason.NETWORK, "a peer of another network")
        if key == session.key or nonce == session.nonce:
            is_proven = key == session.remote_key and nonce != session.nonce
            if is_proven and read_said(PeerId(key), greeting.said).epoch != self._epoch:
                raise HelloError(HelloReason.CLONE, "another process that has this peer's key")
            raise HelloError(HelloReason.SELF, "this is ourselves, or our own hello sent back")
        if key != session.remote_key:
            raise HelloError(HelloReason.KEY, "not the key in the certificate")

    def _handle_auth(self, payload: bytes, claimed: RemoteHello) -> RemoteHello:
        check_refusal(payload, self._protocols)
        signature = decode_auth(payload)
        if not self._verify(claimed.peer_id, signature, self._transcript(is_own=False)):
            raise HelloError(HelloReason.SIGNATURE, "the signature over the hello does not verify")
        return claimed

    def _transcript(self, *, is_own: bool) -> bytes:
        """The bytes that the dialer or the listener signs: own or theirs, in the order dialer, listener."""
        session = self._session
        assert self._remote_payload is not None
        own = (session.key, session.nonce, session.certificate_sha256, self._own_payload)
        theirs = (
            session.remote_key,
            self._remote_nonce,
            session.remote_certificate_sha256,
            self._remote_payload,
        )
        dialer, listener = (own, theirs) if session.is_dialer else (theirs, own)
        role = "dialer" if is_own == session.is_dialer else "listener"
        body = strict.encode(
            [
                role,
                self._protocol,
                session.network_id,
                *(dialer[0], listener[0]),
                *(dialer[1], listener[1]),
                *(dialer[2], listener[2]),
                *(sha256(dialer[3]).digest(), sha256(listener[3]).digest()),
            ]
        )
        return _DOMAIN + len(body).to_bytes(4, "big") + body
