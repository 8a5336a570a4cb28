"""The messages of a reconciliation: one peer asks, the other answers each question by itself and keeps nothing in between.

Numbers 30 to 39. Ranges are grouped by bucket; a range is a prefix of nibbles, its sum eight bytes.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.bundle import MAX_INDEX
from gossipsync.core.model.ids import ORIGIN_BYTES
from gossipsync.core.wire.parts import (
    bucket_name,
    byte_strings,
    count,
    grouped,
    origin_bytes,
    place,
    spanned_prefix,
    ungrouped,
    wall_clock,
)

SUM_BYTES: Final = 8
_INDEX_BYTES: Final = 8
_DOUBT_BYTES: Final = ORIGIN_BYTES + _INDEX_BYTES + SUM_BYTES
_MAX_PREFIX: Final = 4
_LEVELS: Final = {SUM_BYTES * 16**levels: levels for levels in (1, 2, 3)}

WireArea = tuple[str, bytes]
"""(bucket, prefix)."""
WireSums = tuple[str, bytes, bytes]
"""(bucket, prefix, sums of the ranges one to three levels below, in order)."""
WireNames = tuple[str, bytes, bytes]
"""(bucket, prefix, hashes of cells)."""
WireDoubts = tuple[str, bytes, bytes]
"""(bucket, prefix, rows of origin, index and hash)."""
WireHead = tuple[str, bytes]
"""(bucket, origin)."""
WirePlace = tuple[str, bytes, int]
"""(bucket, origin, index)."""


@frozen
class Heads:
    """Asks for the proofs of how far these lines go, and for the covered lines where these are not equal to mine.

    `covered` is what stands for mine; empty where none are asked for. `wants_all`: not only the newest of them.
    """

    run: int
    lines: tuple[WireHead, ...]
    covered: bytes = b""
    wants_all: bool = False


@frozen
class Survey:
    """Asks what is in these ranges. `is_first`: in all other buckets, too. What ends up to `wall_ms`, its clock, it has no use for."""

    run: int
    wall_ms: int
    is_first: bool
    areas: tuple[WireArea, ...]


@frozen
class Findings:
    """Answers a survey: sums of smaller ranges where there is much, hashes of all cells where there is little.

    Areas that did not fit are not in it. What ends up to `wall_ms`, its clock, the answerer may have forgotten. `is_ready`: False from
    whoever is itself still joining.
    """

    run: int
    wall_ms: int
    is_ready: bool
    sums: tuple[WireSums, ...]
    names: tuple[WireNames, ...]


@frozen
class Fetch:
    """Asks for cells by their hashes."""

    run: int
    names: tuple[WireNames, ...]


@frozen
class Dump:
    """Asks for all pieces in the order of bucket, origin and index, behind one place and up to another (None: the end)."""

    run: int
    after: WirePlace | None
    until: WirePlace | None = None


@frozen
class Parts:
    """Answers heads, fetch or dump with pieces; `is_cut`: more was asked for than fits."""

    run: int
    is_cut: bool
    pieces: tuple[bytes, ...]


@frozen
class Covered:
    """Lines of epochs that have ended: what is at or below them and not in the state has lost. Their heads are the proof."""

    run: int
    lines: tuple[WirePlace, ...]


@frozen
class Doubt:
    """Asks about cells that only the asker has."""

    run: int
    rows: tuple[WireDoubts, ...]


@frozen
class Verdict:
    """Answers a doubt, a bit a row: have I had this cell, and have it no more?"""

    run: int
    bits: bytes


@frozen
class StateSum:
    """What stands for my state at a cut, and for the vector and the remembered lines at which it is that."""

    is_answer: bool
    cut_ms: int
    lines: bytes
    covered: bytes
    total: bytes


Reconciling = (
    Heads | Survey | Findings | Fetch | Dump | Parts | Covered | Doubt | Verdict | StateSum
)


def reconciling_parts(message: Reconciling) -> tuple[object, ...]:
    """The array that a message is sent as."""
    match message:
        case Heads(run, lines, covered_sum, wants_all):
            return (30, run, grouped(lines), covered_sum, wants_all)
        case Survey(run, wall_ms, is_first, areas):
            return (31, run, wall_ms, is_first, grouped(areas))
        case Findings(run, wall_ms, is_ready, sums, names):
            return (32, run, wall_ms, is_ready, grouped(sums), grouped(names))
        case Fetch(run, names):
            return (33, run, grouped(names))
        case Dump(run, after, until):
            return (34, run, after, until)
        case Parts(run, is_cut, pieces):
            return (35, run, is_cut, pieces)
        case Covered(run, covered):
            return (36, run, grouped(covered))
        case Doubt(run, rows):
            return (37, run, grouped(rows))
        case Verdict(run, bits):
            return (38, run, bits)
        case StateSum(is_answer, cut_ms, lines_sum, covered_sum, total):
            return (39, is_answer, cut_ms, lines_sum, covered_sum, total)


def parse_reconciling(parts: tuple[object, ...]) -> Reconciling:
    """Raises strict.MalformedError for anything but one message of a reconciliation."""
    match parts:
        case (30, int(run), tuple(groups), bytes(covered_sum), bool(wants_all)) if len(
            covered_sum
        ) in (0, SUM_BYTES):
            return Heads(count(run), _heads(groups), covered_sum, wants_all)
        case (31, int(run), int(wall_ms), bool(is_first), tuple(groups)):
            return Survey(count(run), wall_clock(wall_ms), is_first, _areas(groups))
        case (32, int(run), int(wall_ms), bool(is_ready), tuple(sums), tuple(names)):
            return Findings(
                count(run),
                wall_clock(wall_ms),
                is_ready,
                _sums(sums),
                _packed(names, SUM_BYTES),
            )
        case (33, int(run), tuple(groups)):
            return Fetch(count(run), _packed(groups, SUM_BYTES))
        case (34, int(run), after, until):
            return Dump(count(run), _place(after), _place(until))
        case (35, int(run), bool(is_cut), tuple(pieces)):
            return Parts(count(run), is_cut, byte_strings(pieces))
        case (36, int(run), tuple(groups)):
            return Covered(count(run), _covered(groups))
        case (37, int(run), tuple(groups)):
            return Doubt(count(run), _packed(groups, _DOUBT_BYTES))
        case (38, int(run), bytes(bits)):
            return Verdict(count(run), bits)
        case (
            39,
            bool(is_answer),
            int(cut_ms),
            bytes(lines_sum),
            bytes(covered_sum),
            bytes(total),
        ) if len(lines_sum) == 16 and len(covered_sum) == len(total) == SUM_BYTES:
            return StateSum(is_answer, wall_clock(cut_ms), lines_sum, covered_sum, total)
        case _:
            raise strict.MalformedError("not a message known here")


def doubt_row(origin: bytes, index: int, name: bytes) -> bytes:
    """One row of a doubt."""
    return origin + index.to_bytes(_INDEX_BYTES, "big") + name


def doubt_rows(packed: bytes) -> list[tuple[bytes, int, bytes]]:
    """(origin, index, hash) of each row."""
    rows = [packed[at : at + _DOUBT_BYTES] for at in range(0, len(packed), _DOUBT_BYTES)]
    return [
        (
            row[:ORIGIN_BYTES],
            int.from_bytes(row[ORIGIN_BYTES:-SUM_BYTES], "big"),
            row[-SUM_BYTES:],
        )
        for row in rows
    ]


def hashes_in(packed: bytes) -> list[bytes]:
    """The hashes, or sums, that stand one after another."""
    return [packed[at : at + SUM_BYTES] for at in range(0, len(packed), SUM_BYTES)]


def _place(value: object) -> WirePlace | None:
    match value:
        case None:
            return None
        case (str(bucket), bytes(origin), int(index)):
            return (bucket_name(bucket), origin_bytes(origin), place(index))
        case _:
            raise strict.MalformedError("not a place between pieces")


def _heads(groups: tuple[object, ...]) -> tuple[WireHead, ...]:
    return tuple((bucket, origin_bytes(origin)) for bucket, (origin,) in ungrouped(groups, 1))


def _areas(groups: tuple[object, ...]) -> tuple[WireArea, ...]:
    return tuple(
        (bucket, spanned_prefix(prefix, _MAX_PREFIX)) for bucket, (prefix,) in ungrouped(groups, 1)
    )


def _packed(groups: tuple[object, ...], width: int) -> tuple[tuple[str, bytes, bytes], ...]:
    rows = []
    for bucket, (prefix, packed) in ungrouped(groups, 2):
        if type(packed) is not bytes or len(packed) % width:
            raise strict.MalformedError("not rows of a range")
        rows.append((bucket, spanned_prefix(prefix, _MAX_PREFIX), packed))
    return tuple(rows)


def _sums(groups: tuple[object, ...]) -> tuple[WireSums, ...]:
    """Of all ranges one to three levels below each."""
    rows = _packed(groups, SUM_BYTES)
    for _, prefix, packed in rows:
        levels = _LEVELS.get(len(packed))
        if levels is None or len(prefix) + levels > _MAX_PREFIX:
            raise strict.MalformedError("not the sums of all ranges below one")
    return rows


def _covered(groups: tuple[object, ...]) -> tuple[WirePlace, ...]:
    lines = []
    for bucket, (origin, index) in ungrouped(groups, 2):
        if not 0 < count(index) < MAX_INDEX:
            raise strict.MalformedError("a covered line out of its bounds")
        lines.append((bucket, origin_bytes(origin), count(index)))
    return tuple(lines)
