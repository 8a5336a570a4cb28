"""The messages of the hello: their values, their shapes and their bounds.

`gossipsync.core.wire.hello` holds the dialogue and describes the bytes; this is what it says in it.

Invariant: whatever arrives decodes to a value within bounds or raises `HelloError`.
"""

from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.identity import check_public_key
from gossipsync.core.model.ids import Epoch, NetworkId, PeerId
from gossipsync.errors import RemoteError

__all__ = [
    "MAX_ADDRESS_BYTES",
    "MAX_NAME_BYTES",
    "NONCE_BYTES",
    "PROTOCOL_VERSION",
    "HelloError",
    "HelloReason",
    "LocalHello",
    "RemoteHello",
    "decode_auth",
    "decode_hello",
    "encode_auth",
    "encode_hello",
    "read_said",
]

PROTOCOL_VERSION = 1
NONCE_BYTES = 32
MAX_NAME_BYTES = 128
MAX_ADDRESS_BYTES = 261  # 253 of a DNS name, colon, five digits, brackets of an IPv6 address
MAX_SOFTWARE_BYTES = 64

_HELLO, _AUTH = 1, 2
_SAID = ("name", "epoch", "address", "software")
_HELLO_DEPTH = 2  # an array that holds one flat map
_SIGNATURE_BYTES = 64
_MAX_EPOCH = 2**63


class HelloReason(StrEnum):
    """Why a hello was refused; the values are names of counters and never change."""

    SELF = "self"
    CLONE = "clone"
    NETWORK = "network"
    VERSION = "version"
    KEY = "key"
    SIGNATURE = "signature"
    OVERSIZE = "oversize"
    GARBAGE = "garbage"


class HelloError(RemoteError):
    """The other end's hello was refused; `reason` says why.

    Fault: the other end's, except `self`, which is our own address dialled, and `clone`, another process that holds our
    key, as TLS has shown: whoever copied it. State: nothing it said
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


def encode_hello(network_id: NetworkId, key: PeerId, nonce: bytes, hello: LocalHello) -> bytes:
    """The payload of a HELLO."""
    said = dict(zip(_SAID, (hello.name, hello.epoch, hello.address, hello.software), strict=True))
    head = [_HELLO, PROTOCOL_VERSION, network_id, key, nonce]
    return strict.encode([*head, said])


def _decode(payload: bytes) -> object:
    try:
        return strict.decode(payload, _HELLO_DEPTH)
    except strict.MalformedError as error:
        raise HelloError(HelloReason.GARBAGE, str(error)) from error


def decode_hello(payload: bytes) -> tuple[int, bytes, bytes, bytes, object]:
    """Version, network id, key, nonce, and the map unread. Raises HelloError.

    A later version may differ behind its number, so nothing there is read then.
    """
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


def encode_auth(signature: bytes) -> bytes:
    """The payload of an AUTH."""
    return strict.encode([_AUTH, signature])


def decode_auth(payload: bytes) -> bytes:
    """The signature in an AUTH, 64 bytes. Raises HelloError."""
    match _decode(payload):
        case (int(kind), bytes(signature)) if type(kind) is int and kind == _AUTH:
            pass
        case _:
            raise HelloError(HelloReason.GARBAGE, "not an AUTH")
    if len(signature) != _SIGNATURE_BYTES:
        raise HelloError(HelloReason.GARBAGE, "not the length of a signature")
    return signature


def read_said(key: PeerId, said: object) -> RemoteHello:
    """What a peer says of itself, within bounds. Raises HelloError."""
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
