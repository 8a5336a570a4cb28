"""When what is no longer to be seen is forgotten: one grace beyond its end, and what still says something not at all."""

from __future__ import annotations

import pytest

from gossipsync.core import Kind
from gossipsync.core.model.entry import Field, Op, decode_entries, encode_entry
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.replication.cells import Cell, Group, cell_of, cells_in, merge, shadows_of
from gossipsync.core.replication.ends import end_ms, next_end_ms, without_ended
from tests.core.replication._entries import BASE_MS, GRACE_MS, ORIGINS


def _cell(
    op: Op = Op.SET, at_ms: int = 0, *, field: Field = None, expires_ms: int | None = None
) -> Cell:
    expires = None if expires_ms is None else BASE_MS + expires_ms
    value = b"\x01" if op is Op.SET else None
    data = encode_entry("k", field, op, Hlc((BASE_MS + at_ms) << 16), expires, value)
    return cell_of(decode_entries((data,))[0], ORIGINS[0], 1)


def _group(*cells: Cell) -> Group:
    group: Group | None = None
    for cell in cells:
        group = merge(group, cell)
    assert group is not None
    return group


CASES = {
    "a value lives on": ([_cell()], Kind.VALUE, [None]),
    "a value ends when it expires": ([_cell(expires_ms=50)], Kind.VALUE, [50]),
    "a tombstone by its stamp": ([_cell(Op.DELETE, 7)], Kind.VALUE, [7]),
    "a final one by its until": ([_cell(Op.FINAL, 7, expires_ms=900)], Kind.VALUE, [900]),
    "a tombstone beside what came after it": (
        [_cell(Op.DELETE, 7), _cell(at_ms=8)],
        Kind.VALUE,
        [7, None],
    ),
    "a removed field decides while it is the newest": (
        [_cell(at_ms=1, field="x"), _cell(Op.DELETE, 7, field="y")],
        Kind.MAP,
        [None, None],
    ),
    "a removed field beside a newer one": (
        [_cell(Op.DELETE, 7, field="y"), _cell(at_ms=8, field="x")],
        Kind.MAP,
        [7, None],
    ),
    "fields end with their key": (
        [_cell(at_ms=1, field="x"), _cell(Op.TOUCH, 7, expires_ms=60)],
        Kind.MAP,
        [60, 60],
    ),
    "a counter's tombstone while totals may name it": (
        [_cell(Op.DELETE, 7), _cell(at_ms=8, field=ORIGINS[0])],
        Kind.COUNTER,
        [None, None],
    ),
    "a counter's tombstone with its totals": (
        [_cell(Op.DELETE, 7), _cell(at_ms=8, field=ORIGINS[0], expires_ms=60)],
        Kind.COUNTER,
        [60, 60],
    ),
    "a counter that was only deleted": ([_cell(Op.DELETE, 7)], Kind.COUNTER, [7]),
}


@pytest.mark.parametrize(("cells", "kind", "ends"), CASES.values(), ids=CASES.keys())
def test_ends(cells: list[Cell], kind: Kind, ends: list[int | None]) -> None:
    group = _group(*cells)
    assert len(cells_in(group)) == len(cells)
    expected = [None if end is None else BASE_MS + end + GRACE_MS for end in ends]
    assert [end_ms(cell, group, kind, GRACE_MS) for cell in cells] == expected
    soonest = min((end for end in expected if end is not None), default=None)
    assert next_end_ms(group, kind, GRACE_MS) == soonest
    if soonest is None:
        assert without_ended(group, kind, GRACE_MS, 1 << 60) == (group, [])
        return
    assert without_ended(group, kind, GRACE_MS, soonest - 1) == (group, [])
    left, gone = without_ended(group, kind, GRACE_MS, soonest)
    assert gone == [cell for cell, end in zip(cells, expected, strict=True) if end == soonest]
    assert (0 if left is None else len(cells_in(left))) == len(cells) - len(gone)


def test_shadows_end_like_what_they_are_shadows_of() -> None:
    group = _group(_cell(at_ms=1, field="x", expires_ms=50), _cell(at_ms=2, expires_ms=60))
    assert next_end_ms(shadows_of(group), Kind.MAP, GRACE_MS) == BASE_MS + 60 + GRACE_MS
    left, gone = without_ended(shadows_of(group), Kind.MAP, GRACE_MS, BASE_MS + 60 + GRACE_MS)
    assert left is None
    assert len(gone) == 2
