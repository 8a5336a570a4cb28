"""What a bucket is: its kind, how it deletes, how long things live; announced in every bundle's header.

Of two announcements the earliest holds (by HLC, then by bytes), everywhere alike, so that peers agree without talking.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.text import MAX_NAME_BYTES, is_clean_text

MAX_BUCKET_NAME_BYTES: Final = MAX_NAME_BYTES


class Kind(IntEnum):
    """The view over a bucket's cells."""

    VALUE = 0
    MAP = 1
    COUNTER = 2
    SET = 3


class Deletes(IntEnum):
    """How a delete is remembered."""

    TOMBSTONE = 0
    FINAL = 1


@frozen
class BucketRules:
    """What the application asked for, or what the mesh announced."""

    kind: Kind = Kind.VALUE
    deletes: Deletes = Deletes.TOMBSTONE
    ttl_ms: int | None = None
    """Default life of a record; the cap of every life where deletes are final."""
    history_ms: int | None = None


@frozen
class Announcement:
    """Rules with the moment they were announced; CBOR `[kind, deletes, ttl_ms, history_ms, announced_hlc]`."""

    rules: BucketRules
    since: Hlc

    def parts(self) -> tuple[int, int, int | None, int | None, int]:
        """As it stands in a header."""
        rules = self.rules
        return (int(rules.kind), int(rules.deletes), rules.ttl_ms, rules.history_ms, self.since)

    def precedes(self, other: Announcement) -> bool:
        """Does this one hold where both were announced?"""
        if self.since != other.since or self.rules == other.rules:
            return self.since < other.since
        return strict.encode(self.parts()) < strict.encode(other.parts())


def parse_announcement(parts: object) -> Announcement:
    """Raises strict.MalformedError unless `parts` is an announcement."""
    match parts:
        case (
            int(kind),
            int(deletes),
            int() | None as ttl,
            int() | None as history,
            int(since),
        ) if strict.are_ints(kind, deletes, since):
            pass
        case _:
            raise strict.MalformedError("bad announcement")
    for span in (ttl, history):
        if span is not None and not (strict.are_ints(span) and 0 < span < 1 << 53):
            raise strict.MalformedError("bad span in an announcement")
    if not 0 <= since < 1 << 63:
        raise strict.MalformedError("bad stamp in an announcement")
    try:
        rules = BucketRules(Kind(kind), Deletes(deletes), ttl, history)
    except ValueError as error:
        raise strict.MalformedError(str(error)) from error
    if rules.deletes is Deletes.FINAL and rules.ttl_ms is None:
        raise strict.MalformedError("final deletes without a ttl")
    return Announcement(rules, Hlc(since))


def check_bucket_name(name: object) -> str:
    """The name, if it is 1–128 bytes of text that no terminal acts on (see `text`). Raises ValueError."""
    if isinstance(name, str) and is_clean_text(str(name), MAX_BUCKET_NAME_BYTES):
        return name
    raise ValueError("a bucket's name is 1–128 bytes of text without control characters")
