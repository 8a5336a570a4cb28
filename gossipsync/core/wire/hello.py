"""The signed hello: how two peers that share a TLS connection prove who they are.

TLS already proves that each end holds the key of a certificate of this network. The hello binds that
to the mesh: both sign the network, both keys, both fresh nonces, both certificates and both HELLO
frames, each in its own role. So a hello cannot be replayed, reflected, moved to another connection or
network, nor changed to a lower version on the way.

The dialogue, the same from both ends (payloads of frames, canonical CBOR)::

    HELLO  [1, version, network id, peer key, nonce, {name, epoch, address, software}]
    AUTH   [2, signature]

    signature = Ed25519(key, "gossipsync hello v1" ‖ u32 length ‖ CBOR [role of the signer,
        network id, dialer key, listener key, dialer nonce, listener nonce,
        SHA-256 of the dialer's certificate, of the listener's,
        SHA-256 of the dialer's HELLO payload, of the listener's])

Invariant: `remote` is None until the other's AUTH has verified. After an error nothing more is read.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from hashlib import sha256

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.identity import check_public_key
from gossipsync.core.model.ids import Epoch, NetworkId, PeerId
from gossipsync.core.wire.framing import FrameReader, FrameTooLargeError, frame
from gossipsync.errors import RemoteError

__all__ = [
    "HELLO_LIMIT_BYTES",
    "NONCE_BYTES",
    "PROTOCOL_VERSION",
    "Handshake",
    "HelloError",
    "HelloReason",
    "LocalHello",
    "RemoteHello",
    "Session",
]

PROTOCOL_VERSION = 1
NONCE_BYTES = 32
HELLO_LIMIT_BYTES = (
    4096  # four times what the longest names allow; nobody has been authenticated yet
)
MAX_NAME_BYTES = 128
MAX_ADDRESS_BYTES = 261  # 253 of a DNS name, colon, five digits, brackets of an IPv6 address
MAX_SOFTWARE_BYTES = 64

_DOMAIN = b"gossipsync hello v1"
_HELLO, _AUTH = 1, 2
_SAID = ("name", "epoch", "address", "software")
_HELLO_DEPTH = 2  # an array that holds one flat map
_SIGNATURE_BYTES = 64
_MAX_EPOCH = 2**63


class HelloReason(StrEnum):
    """Why a hello was refused; the values are names of counters and never change."""

    SELF = "self"
    NETWORK = "network"
    VERSION = "version"
    KEY = "key"
    SIGNATURE = "signature"
    OVERSIZE = "oversize"
    GARBAGE = "garbage"


class HelloError(RemoteError):
    """The other end's hello was refused; `reason` says why.

    Fault: the other end's, except `self`, which is our own address dialled. State: nothing it said
    was believed. Next: close the connection and count the reason.
    """

    code = "hello"

    def __init__(self, reason: HelloReason, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the reason when the exception crosses a process border."""
        return (HelloError, (self.reason, str(self).partition(": ")[2]))


@frozen
class LocalHello:
    """What this peer says of itself. `address` is "host:port" as others reach it; None: not at all."""

    name: str
    epoch: Epoch
    address: str | None
    software: str


@frozen
class RemoteHello:
    """What the other peer said of itself, vouched for by its signature. Escape texts before showing."""

    peer_id: PeerId
    name: str
    epoch: Epoch
    address: str | None
    software: str


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
        self._own_payload = _encode_hello(session, hello)
        self._remote_payload: bytes | None = None
        self._claimed: RemoteHello | None = None
        self._remote_nonce = b""
        self._is_failed = False

    def start(self) -> bytes:
        """The HELLO frame to send first."""
        return frame(self._own_payload)

    def receive(self, data: bytes) -> bytes:
        """Take what arrived; return what to send. Raises HelloError, after which all else is refused."""
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
                reply += frame(strict.encode([_AUTH, self._sign(self._transcript(is_own=True))]))
            else:
                self.remote = self._handle_auth(payload, self._claimed)
        self.leftover = self._reader.take_rest()
        return reply

    def _handle_hello(self, payload: bytes) -> None:
        version, network_id, key, nonce, said = _decode_hello(payload)
        session = self._session
        if version != PROTOCOL_VERSION:
            raise HelloError(HelloReason.VERSION, f"protocol {version}; this is {PROTOCOL_VERSION}")
        if network_id != session.network_id:
            raise HelloError(HelloReason.NETWORK, "a peer of another network")
        if key == session.key or nonce == session.nonce:
            raise HelloError(HelloReason.SELF, "this is ourselves, or our own hello sent back")
        if key != session.remote_key:
            raise HelloError(HelloReason.KEY, "not the key in the certificate")
        self._remote_payload = payload
        self._remote_nonce = nonce
        self._claimed = _read_said(PeerId(key), said)

    def _handle_auth(self, payload: bytes, claimed: RemoteHello) -> RemoteHello:
        match _decode(payload):
            case (int(kind), bytes(signature)) if kind == _AUTH and type(kind) is int:
                pass
            case _:
                raise HelloError(HelloReason.GARBAGE, "not an AUTH")
        if len(signature) != _SIGNATURE_BYTES:
            raise HelloError(HelloReason.GARBAGE, "not the length of a signature")
        if not self._verify(claimed.peer_id, signature, self._transcript(is_own=False)):
            raise HelloError(HelloReason.SIGNATURE, "the signature over the hello does not verify")
        return claimed

    def _transcript(self, *, is_own: bool) -> bytes:
        """What the dialer or the listener signs: own or theirs, in the order dialer, listener."""
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
                session.network_id,
                *(dialer[0], listener[0]),
                *(dialer[1], listener[1]),
                *(dialer[2], listener[2]),
                *(sha256(dialer[3]).digest(), sha256(listener[3]).digest()),
            ]
        )
        return _DOMAIN + len(body).to_bytes(4, "big") + body


def _encode_hello(session: Session, hello: LocalHello) -> bytes:
    said = dict(zip(_SAID, (hello.name, hello.epoch, hello.address, hello.software), strict=True))
    head = [_HELLO, PROTOCOL_VERSION, session.network_id, session.key, session.nonce]
    return strict.encode([*head, said])


def _decode(payload: bytes) -> object:
    try:
        return strict.decode(payload, _HELLO_DEPTH)
    except strict.MalformedError as error:
        raise HelloError(HelloReason.GARBAGE, str(error)) from error


def _decode_hello(payload: bytes) -> tuple[int, bytes, bytes, bytes, object]:
    """Version, network id, key, nonce, and the map unread. A later version may differ behind its number."""
    message = _decode(payload)
    match message:
        case (int(kind), int(version), *_) if (
            type(kind) is int and type(version) is int and kind == _HELLO
        ):
            if version != PROTOCOL_VERSION:
                return version, b"", b"", b"", None
        case _:
            raise HelloError(HelloReason.GARBAGE, "not a HELLO")
    match message:
        case (_, _, bytes(network_id), bytes(key), bytes(nonce), said):
            pass
        case _:
            raise HelloError(HelloReason.GARBAGE, "not the shape of a HELLO")
    if len(network_id) != sha256().digest_size or len(nonce) != NONCE_BYTES:
        raise HelloError(HelloReason.GARBAGE, "a network id or nonce of the wrong length")
    try:
        check_public_key(key)
    except ValueError as error:
        raise HelloError(HelloReason.KEY, str(error)) from error
    return version, network_id, key, nonce, said


def _read_said(key: PeerId, said: object) -> RemoteHello:
    match said:
        case {
            "name": str(name),
            "epoch": int(epoch),
            "address": address,
            "software": str(software),
        }:
            pass
        case _:
            raise HelloError(HelloReason.GARBAGE, "not what a peer says of itself")
    is_sound = (
        isinstance(said, Mapping)
        and len(said) == len(_SAID)
        and type(epoch) is int
        and 0 <= epoch < _MAX_EPOCH
        and 0 < len(name.encode()) <= MAX_NAME_BYTES
        and len(software.encode()) <= MAX_SOFTWARE_BYTES
        and (address is None or _is_address(address))
    )
    if not is_sound:
        raise HelloError(HelloReason.GARBAGE, "a name, epoch, address or version out of bounds")
    return RemoteHello(key, name, Epoch(epoch), address, software)


def _is_address(address: object) -> bool:
    """Whether it reads "host:port", as far as that can be told without looking anything up."""
    if not isinstance(address, str) or len(address) > MAX_ADDRESS_BYTES:
        return False
    host, _, port = address.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16
    return is_port and bool(host) and host.isascii() and host.isprintable() and " " not in host
