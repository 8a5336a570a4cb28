"""Messages about forks: what one has at a number of a log, and the proofs that its origin has signed two histories.

They are part of the one message space of `core.wire.messages`, which encodes and decodes them through this module.
"""

from __future__ import annotations

from typing import assert_never

from attrs import frozen

from gossipsync.core.wire.parts import byte_strings, grouped, origin_bytes, place, ungrouped

WirePlace = tuple[str, bytes, int]
"""(bucket, origin, index)."""


@frozen
class Contest:
    """Asks for the header at these numbers, since mine is another; or for the proof by which a line is frozen."""

    places: tuple[WirePlace, ...]


@frozen
class Evidence:
    """Proofs of forks, and excerpts without rows; sent when asked for, and to all when a fork was found."""

    data: tuple[bytes, ...]


Contesting = Contest | Evidence


def contesting_parts(message: Contesting) -> tuple[object, ...]:
    """What is encoded, the type first."""
    match message:
        case Contest(places):
            return (24, grouped(places))
        case Evidence(data):
            return (25, data)
    assert_never(message)


def read_contesting(parts: tuple[object, ...]) -> Contesting | None:
    """The message; None for one of another kind or shape. Raises strict.MalformedError."""
    match parts:
        case (24, tuple(groups)):
            return Contest(
                tuple(
                    (bucket, origin_bytes(origin), place(index))
                    for bucket, (origin, index) in ungrouped(groups, 2)
                )
            )
        case (25, tuple(data)):
            return Evidence(byte_strings(data))
        case _:
            return None
