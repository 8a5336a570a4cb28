"""Messages about who lives: pings, asking others to look, signed statements, and taking leave of a link.

They are part of the one message space of `core.wire.messages`, which encodes and decodes them through this module.
Das, Gupta, Motivala, "SWIM" (DSN 2002) has ping, ping-req and ack; the answer "not reached" is Lifeguard's nack (Dadgar,
Phillips, Currey, 2018), by which the asker knows that the one it asked is well.
"""

from __future__ import annotations

from typing import Final, assert_never

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.ids import PeerId

_PEER_BYTES: Final = 32
_MAX_NUMBER: Final = 1 << 63


@frozen
class Ping:
    """Are you there?"""

    number: int


@frozen
class Pong:
    """Answers a ping."""

    number: int


@frozen
class Reach:
    """I cannot reach this peer: can you?"""

    number: int
    peer: PeerId


@frozen
class Reached:
    """Answers a reach: whether the peer answered me within the time that I gave it."""

    number: int
    was_reached: bool


@frozen
class Statements:
    """Signed statements of members about members, as they were made; see core.membership.statements."""

    data: tuple[bytes, ...]


@frozen
class Parting:
    """I close this link in good order: its end says nothing about my life."""


Liveness = Ping | Pong | Reach | Reached | Statements | Parting


def liveness_parts(message: Liveness) -> tuple[object, ...]:
    """What is encoded, the type first."""
    match message:
        case Ping(number):
            return (18, number)
        case Pong(number):
            return (19, number)
        case Reach(number, peer):
            return (20, number, peer)
        case Reached(number, was_reached):
            return (21, number, was_reached)
        case Statements(data):
            return (22, data)
        case Parting():
            return (23,)
    assert_never(message)


def read_liveness(parts: tuple[object, ...]) -> Liveness | None:
    """The message; None for one of another kind or shape. Raises strict.MalformedError."""
    match parts:
        case (18, int(number)):
            return Ping(_number(number))
        case (19, int(number)):
            return Pong(_number(number))
        case (20, int(number), bytes(peer)) if len(peer) == _PEER_BYTES:
            return Reach(_number(number), PeerId(peer))
        case (21, int(number), bool(was_reached)):
            return Reached(_number(number), was_reached)
        case (22, tuple(data)) if all(type(datum) is bytes for datum in data):
            return Statements(data)
        case (23,):
            return Parting()
        case _:
            return None


def _number(number: int) -> int:
    if type(number) is not int or not 0 <= number < _MAX_NUMBER:
        raise strict.MalformedError("a number out of its bounds")
    return number
