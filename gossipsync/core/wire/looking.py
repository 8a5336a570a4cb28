"""The messages of a look: one peer asks what another has of a bucket, in questions that are answered each by itself.

Numbers 40 and 41. What is shown is made of the same pieces as in a reconciliation.
"""

from __future__ import annotations

from enum import IntEnum

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.entry import MAX_KEY_BYTES
from gossipsync.core.wire.parts import bucket_name, byte_strings, count

WireKey = tuple[str, int]
"""(key, where its newest entry is kept)."""


class Aspect(IntEnum):
    """What of a bucket is looked at."""

    VALUES = 0
    """The cells of live keys."""
    OUTLINES = 1
    """The same, with the hashes of long values in their places."""
    LINES = 2
    """How far its lines go."""
    KEYS = 3
    """Which keys are live. Nothing proves a list; what it leads to is proven."""


class Outcome(IntEnum):
    """What becomes of a question."""

    SHOWN = 0
    UNKNOWN = 1
    """There is no such bucket here."""
    JOINING = 2
    """Whoever joins has nothing to show yet."""
    TOO_LARGE = 3
    """The next key alone is more than one answer may hold."""
    BUSY = 4
    """Ask again."""


@frozen
class Look:
    """Asks for the cells of `keys`; or for the keys that begin with `prefix`, or for the lines, behind a place.

    `after` is a key, or an origin where lines are asked for; empty at the beginning, and where keys are named.
    """

    run: int
    bucket: str
    aspect: Aspect
    prefix: str
    keys: tuple[str, ...]
    after: bytes


@frozen
class Shown:
    """Answers a look, in one message or several.

    `reached` counts in the last of them: the key, or the origin, up to which the question has been answered; empty where that is
    to its end. `keys`: where keys are asked for, each with a number: those of equal or near numbers are cheap to show together.
    """

    run: int
    outcome: Outcome
    is_last: bool
    reached: bytes
    pieces: tuple[bytes, ...] = ()
    keys: tuple[WireKey, ...] = ()


Looking = Look | Shown


def looking_parts(message: Looking) -> tuple[object, ...]:
    """The array that a message is sent as."""
    match message:
        case Look(run, bucket, aspect, prefix, keys, after):
            return (40, run, bucket, int(aspect), prefix, keys, after)
        case Shown(run, outcome, is_last, reached, pieces, keys):
            return (41, run, int(outcome), is_last, reached, pieces, keys)


def parse_looking(parts: tuple[object, ...]) -> Looking:
    """Raises strict.MalformedError for anything but one message of a look."""
    match parts:
        case (
            40,
            int(run),
            str(bucket),
            int(aspect),
            str(prefix),
            tuple(keys),
            bytes(after),
        ) if type(aspect) is int and aspect in set(Aspect):
            texts = tuple(map(_key, keys))
            return Look(
                count(run), bucket_name(bucket), Aspect(aspect), _key(prefix), texts, _place(after)
            )
        case (
            41,
            int(run),
            int(outcome),
            bool(is_last),
            bytes(reached),
            tuple(pieces),
            tuple(keys),
        ) if type(outcome) is int and outcome in set(Outcome):
            return Shown(
                count(run),
                Outcome(outcome),
                is_last,
                _place(reached),
                byte_strings(pieces),
                tuple(map(_numbered, keys)),
            )
        case _:
            raise strict.MalformedError("not a message known here")


def _key(key: object) -> str:
    if type(key) is not str or len(key.encode()) > MAX_KEY_BYTES:
        raise strict.MalformedError("not a key")
    return key


def _numbered(row: object) -> WireKey:
    match row:
        case (key, number):
            return _key(key), count(number)
        case _:
            raise strict.MalformedError("not a key with its number")


def _place(place: bytes) -> bytes:
    if len(place) > MAX_KEY_BYTES:
        raise strict.MalformedError("not a place in a bucket")
    return place
