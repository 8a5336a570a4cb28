"""Messages that say what is not so: digests, lines and confirmations that a rogue makes up, and messages out of place.

Each takes a message that the core was about to send and gives what goes out instead or beside. Invariant: what comes out is
well formed; bytes that are not are another habit's.
"""

from __future__ import annotations

from attrs import evolve

from gossipsync.core.model.ids import ORIGIN_BYTES
from gossipsync.core.wire.messages import (
    Compare,
    Credentials,
    Delta,
    Digest,
    Equal,
    Known,
    Message,
    Page,
    Presences,
    Prune,
    Push,
    Seek,
    Stored,
    Want,
    WireLine,
)
from gossipsync.core.wire.reconciling import Covered, Findings, Parts, StateSum, Verdict
from gossipsync.sim.randomness import Randomness

_MANY = 1 << 40
_INVENTED = 40
"""Lines made up in one message."""


def _bytes(randomness: Randomness, size: int) -> bytes:
    return randomness.getrandbits(8 * size).to_bytes(size, "big")


def boast(message: Message, randomness: Randomness) -> Message:
    """The same message with more in it than is true, or less, or other."""
    match message:
        case Digest():
            covered = randomness.pick((message.covered, _bytes(randomness, 8)))
            return evolve(
                message, sum=_bytes(randomness, 16), base=_bytes(randomness, 16), covered=covered
            )
        case Compare() if randomness.chance(0.3):
            return Equal(message.exchange, 0)  # "nothing for you here"
        case Compare():
            return evolve(
                message,
                ranges=tuple(
                    (prefix, _bytes(randomness, 16), randomness.below(9))
                    for prefix, _, _ in message.ranges
                ),
                lines=_lines(message.lines, randomness),
                answers=_lines(message.answers, randomness),
                is_cut=randomness.chance(0.5),
            )
        case Equal():
            return evolve(
                message,
                wall_ms=message.wall_ms + randomness.pick((0, 3_600_000)),
                covered=randomness.pick((message.covered, _bytes(randomness, 8))),
            )
        case Delta():
            return evolve(message, is_trimmed=randomness.chance(0.5))
        case StateSum():
            return evolve(message, total=_bytes(randomness, 8))
        case Stored():
            lines = ((bucket, origin, _MANY) for bucket, origin, _ in message.lines)
            more = ((bucket, origin, index + 1) for bucket, origin, index in message.lines)
            return Stored(tuple(lines if randomness.chance(0.5) else more))
        case Known():
            rows = tuple(row[:8] + b"\x7f" + bytes([255] * 7) for row in message.rows)
            return evolve(message, members=_MANY, rows=rows)
        case _:
            return message


def hush(message: Message) -> Message | None:
    """The same message from a source that has trimmed everything and answers no question; None for no message."""
    match message:
        case Delta():
            return evolve(message, bundles=(), is_trimmed=True)
        case Push() | Covered() | Findings() | Parts() | Verdict():
            return None
        case _:
            return message


def drone(message: Message) -> Message | None:
    """The same message from a source that has trimmed everything and always promises more; None for no message."""
    match message:
        case Delta():
            return evolve(message, bundles=(), is_trimmed=True)
        case Parts():
            return evolve(message, is_cut=True, pieces=message.pieces[:1])
        case Push():
            return None
        case _:
            return message


def _lines(lines: tuple[WireLine, ...], randomness: Randomness) -> tuple[WireLine, ...]:
    """Each line too far, too short or with another head; and some that nobody ever wrote."""
    lying = []
    for bucket, origin, index, head, hlc in lines:
        match randomness.below(4):
            case 0:
                lying.append((bucket, origin, index + 1 + randomness.below(_MANY), head, hlc))
            case 1:
                lying.append((bucket, origin, randomness.below(index + 1), head, hlc))
            case 2:
                lying.append((bucket, origin, index, _bytes(randomness, 8), hlc))
            case _:
                lying.append((bucket, origin, index, head, hlc))
    bucket = lines[0][0] if lines else "nothing"
    return (
        *lying,
        *(
            (bucket, _bytes(randomness, ORIGIN_BYTES), 1 + randomness.below(9), bytes(8), 1)
            for _ in range(randomness.below(_INVENTED))
        ),
    )


def babble(randomness: Randomness) -> Message:
    """A message that nobody waits for."""
    origins = tuple(_bytes(randomness, ORIGIN_BYTES) for _ in range(randomness.below(9)))
    number = randomness.below(1000)
    lines = tuple(("data", origin, 1 + number, bytes(8), number) for origin in origins)
    spans = tuple(("data", origin, 1, _MANY) for origin in origins)
    speech: tuple[Message, ...] = (
        Digest(number, bytes(16), b"", 0),
        Equal(number, 0),
        Compare(number, (), randomness.chance(0.5), (b"",), lines, ()),
        Want(number, _MANY, spans),
        Delta(number, ()),
        Delta(number, origins),
        Push(()),
        Push(origins),
        Prune(origins),
        Stored(tuple(("data", origin, _MANY) for origin in origins)),
        Presences(origins),
        Credentials(origins),
        Known(_MANY, randomness.chance(0.5), (bytes(8) + number.to_bytes(8, "big"),)),
        Seek(((bytes(8), True),), None),
        Seek((), bytes(32)),
        Page(origins),
    )
    return randomness.pick(speech)
