"""The messages of the hello: their values, their shapes and their bounds.

`gossipsync.core.wire.hello` holds the dialogue and describes the bytes. The shapes of HELLO and REFUSE stay
as they are in every later protocol: additions go into the last map of a HELLO, whose unknown keys are
ignored, and behind the fourth part of a REFUSE.

Invariant: any payload decodes to a value within bounds or raises `HelloError`.
"""

from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.address import MAX_ADDRESS_BYTES, is_address
from gossipsync.core.model.identity import check_public_key
from gossipsync.core.model.ids import Epoch, NetworkId, PeerId
from gossipsync.core.model.text import MAX_NAME_BYTES, MAX_SOFTWARE_BYTES, is_clean_text
from gossipsync.core.wire.versions import OWN_PROTOCOLS, PROTOCOL_VERSION, Protocols
from gossipsync.errors import RemoteError

__all__ = [
    "MAX_ADDRESS_BYTES",
    "MAX_NAME_BYTES",
    "NONCE_BYTES",
    "PROTOCOL_VERSION",
    "Greeting",
    "HelloError",
    "HelloReason",
    "LocalHello",
    "RemoteHello",
    "Stranger",
    "check_refusal",
    "decode_auth",
    "decode_hello",
    "encode_auth",
    "encode_hello",
    "encode_refusal",
    "read_said",
]

NONCE_BYTES = 32

MAX_ADDITIONS = 32
"""Keys in the map for later protocols; their content is bounded by the size and depth of a HELLO."""

_HELLO, _AUTH, _REFUSE = 1, 2, 3
_SAID = ("name", "epoch", "address", "software")
_HELLO_DEPTH = 5
"""The array, its maps, and three levels of later additions."""
_MAX_CODE_BYTES = 32
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
    TURNED_AWAY = "turned-away"


@frozen
class Stranger:
    """A remote that speaks none of this build's protocols: its range, and its own words about itself.

    Only the range is sure to be known; TLS proves the remote's key, but nothing here is signed. Escape
    texts before showing them.
    """

    protocols: Protocols
    name: str | None = None
    address: str | None = None
    software: str | None = None


class HelloError(RemoteError):
    """The other end's hello was refused, or the other end refused ours; `reason` says why.

    Fault: the other end's, except `self`, which is our own address dialled, `version`, which is a matter of
    upgrading, and `clone`, another process that holds our key, as TLS has shown. State: nothing the other end
    said was believed. Next: send `reply` if there is one, close the connection and count the reason.

    `stranger` is set with reason `version` where the other end's protocols are known.
    """

    code = "hello"

    def __init__(
        self,
        reason: HelloReason,
        message: str,
        *,
        stranger: Stranger | None = None,
        reply: bytes = b"",
    ) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason
        self.stranger = stranger
        self.reply = reply

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
    protocols: Protocols = OWN_PROTOCOLS


@frozen
class RemoteHello:
    """What the other peer said of itself, vouched for by its signature. Escape texts before showing."""

    peer_id: PeerId
    name: str
    epoch: Epoch
    address: str | None
    software: str
    protocol: int = PROTOCOL_VERSION
    """The protocol that both ends agreed on."""


@frozen
class Greeting:
    """A HELLO of a build that negotiates; `said` is not read yet."""

    protocols: Protocols
    network_id: bytes
    key: bytes
    nonce: bytes
    said: object


def encode_hello(network_id: NetworkId, key: PeerId, nonce: bytes, hello: LocalHello) -> bytes:
    """The payload of a HELLO."""
    said = dict(zip(_SAID, (hello.name, hello.epoch, hello.address, hello.software), strict=True))
    speaks = hello.protocols
    return strict.encode([_HELLO, speaks.highest, speaks.lowest, network_id, key, nonce, said, {}])


def encode_refusal(own: Protocols) -> bytes:
    """The payload of a REFUSE for want of a common protocol."""
    return strict.encode([_REFUSE, HelloReason.VERSION.value, own.highest, own.lowest])


def check_refusal(payload: bytes, own: Protocols) -> None:
    """Raise HelloError if the payload is a REFUSE, well-formed or not; return if it is anything else."""
    message = _decode(payload)
    match message:
        case (int(kind), *rest) if type(kind) is int and kind == _REFUSE:
            pass
        case _:
            return
    match rest:
        case [str(code), int(highest), int(lowest), *_] if (
            len(code.encode()) <= _MAX_CODE_BYTES and code.isascii() and code.isprintable()
        ):
            theirs = _range(lowest, highest)
        case _:
            raise HelloError(HelloReason.GARBAGE, "not the shape of a REFUSE")
    if code == HelloReason.VERSION.value:
        words = own.mismatch("the other end refused: it", theirs)
        raise HelloError(HelloReason.VERSION, words, stranger=Stranger(theirs))
    raise HelloError(HelloReason.TURNED_AWAY, f"the other end refused our hello: {code}")


def _range(lowest: object, highest: object) -> Protocols:
    if type(lowest) is not int or type(highest) is not int:
        raise HelloError(HelloReason.GARBAGE, "a protocol is not a number")
    try:
        return Protocols(lowest, highest)
    except ValueError as error:
        raise HelloError(HelloReason.GARBAGE, str(error)) from error


def _decode(payload: bytes) -> object:
    try:
        return strict.decode(payload, _HELLO_DEPTH)
    except strict.MalformedError as error:
        raise HelloError(HelloReason.GARBAGE, str(error)) from error


def decode_hello(payload: bytes, own: Protocols = OWN_PROTOCOLS) -> Greeting:
    """A HELLO from a build with a common protocol. Raises HelloError.

    Reason `version`, with the stranger and the REFUSE frame's payload in `reply`, where there is none. A
    hello of another shape whose number is not ours is of such a build, too: protocol 1 had another shape.
    """
    message = _decode(payload)
    match message:
        case (int(kind), int(highest), *rest) if (
            type(kind) is int and type(highest) is int and kind == _HELLO
        ):
            pass
        case _:
            raise HelloError(HelloReason.GARBAGE, "not a HELLO")
    match rest:
        case [int(lowest), network_id, key, nonce, said, Mapping() as more] if type(lowest) is int:
            speaks = _range(lowest, highest)
        case _ if own.agreed(_range(highest, highest)) is None:
            raise _no_common(own, _range(highest, highest), rest[-1] if rest else None)
        case _:
            raise HelloError(HelloReason.GARBAGE, "not the shape of a HELLO")
    if own.agreed(speaks) is None:
        raise _no_common(own, speaks, said)
    if len(more) > MAX_ADDITIONS or not all(type(name) is str for name in more):
        raise HelloError(HelloReason.GARBAGE, "additions of a later protocol out of bounds")
    if not (type(network_id) is type(key) is type(nonce) is bytes):
        raise HelloError(HelloReason.GARBAGE, "not the shape of a HELLO")
    if len(network_id) != sha256().digest_size or len(nonce) != NONCE_BYTES:
        raise HelloError(HelloReason.GARBAGE, "a network id or nonce of the wrong length")
    try:
        check_public_key(key)
    except ValueError as error:
        raise HelloError(HelloReason.KEY, str(error)) from error
    return Greeting(speaks, network_id, key, nonce, said)


def _no_common(own: Protocols, theirs: Protocols, said: object) -> HelloError:
    """The refusal, with the remote's words about itself where they can be read."""
    try:
        about = read_said(PeerId(b""), said)
        stranger = Stranger(theirs, about.name, about.address, about.software)
    except HelloError:
        stranger = Stranger(theirs)
    return HelloError(
        HelloReason.VERSION,
        own.mismatch("the other end", theirs),
        stranger=stranger,
        reply=encode_refusal(own),
    )


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
        and is_clean_text(name, MAX_NAME_BYTES)
        and is_clean_text(software, MAX_SOFTWARE_BYTES, may_be_empty=True)
        and (address is None or is_address(address))
    )
    if not is_sound:
        raise HelloError(HelloReason.GARBAGE, "a name, epoch, address or version out of bounds")
    return RemoteHello(key, name, Epoch(epoch), address, software)
