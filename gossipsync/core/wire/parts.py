"""What messages are made of, and how each part is checked: shapes exactly, sizes and numbers within their bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gossipsync.core.model import strict
from gossipsync.core.model.bundle import FROZEN
from gossipsync.core.model.ids import ORIGIN_BYTES
from gossipsync.core.model.now import MAX_WALL_MS
from gossipsync.core.model.text import MAX_NAME_BYTES, is_clean_text

_MAX_INT: Final = 1 << 63


def grouped(rows: tuple[tuple[str, *tuple[object, ...]], ...]) -> tuple[object, ...]:
    """Rows that begin with a bucket, as (bucket, rows without it)."""
    groups: dict[str, list[tuple[object, ...]]] = {}
    for bucket, *rest in rows:
        groups.setdefault(bucket, []).append(tuple(rest))
    return tuple((bucket, tuple(members)) for bucket, members in groups.items())


def ungrouped(groups: tuple[object, ...], width: int) -> Iterator[tuple[str, tuple[object, ...]]]:
    """(bucket, row without it) of each row, all of one width. Raises strict.MalformedError."""
    for group in groups:
        match group:
            case (str(bucket), tuple(rows)) if is_clean_text(bucket, MAX_NAME_BYTES):
                for row in rows:
                    if type(row) is not tuple or len(row) != width:
                        raise strict.MalformedError("a group holds rows of its kind")
                    yield bucket, row
            case _:
                raise strict.MalformedError("not grouped by bucket")


def bucket_name(bucket: object) -> str:
    """A bucket's name."""
    if not isinstance(bucket, str) or not is_clean_text(bucket, MAX_NAME_BYTES):
        raise strict.MalformedError("not the name of a bucket")
    return bucket


def spanned_prefix(prefix: object, longest: int) -> bytes:
    """A prefix of up to so many nibbles, one a byte."""
    if type(prefix) is not bytes or len(prefix) > longest or any(nibble > 15 for nibble in prefix):
        raise strict.MalformedError("not a prefix of nibbles")
    return prefix


def origin_bytes(origin: object) -> bytes:
    """The bytes of an origin."""
    if type(origin) is not bytes or len(origin) != ORIGIN_BYTES:
        raise strict.MalformedError("not an origin")
    return origin


def byte_strings(parts: tuple[object, ...]) -> tuple[bytes, ...]:
    """An array of byte strings."""
    if not all(type(part) is bytes for part in parts):
        raise strict.MalformedError("an array of byte strings was due")
    return parts  # type: ignore[return-value]


def count(number: object) -> int:
    """A number that is not negative."""
    if type(number) is not int or not 0 <= number < _MAX_INT:
        raise strict.MalformedError("a number out of its bounds")
    return number


def place(number: object) -> int:
    """An index of a log, a bundle's place beside it, or FROZEN; 0 for none."""
    if type(number) is not int or not 0 <= number <= FROZEN:
        raise strict.MalformedError("an index out of its bounds")
    return number


def wall_clock(number: object) -> int:
    """What a peer's wall clock shows, in ms."""
    if type(number) is not int or not 0 <= number < MAX_WALL_MS:
        raise strict.MalformedError("a time out of its bounds")
    return number
