"""The line tree: sums kept up to date equal sums from nothing, and descending finds exactly the lines that differ."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import Epoch, PeerId, origin_of
from gossipsync.core.replication.lines import DEPTH, Line, LineTree
from tests.core._world import NETWORK, OTHER_NETWORK

_LINES = st.builds(
    lambda bucket, peer, index, head: Line(
        bucket, origin_of(PeerId(bytes([peer]) * 32), Epoch(1)), index, bytes([head]) * 8, Hlc(1)
    ),
    st.sampled_from("ab"),
    st.integers(0, 60),
    st.integers(1, 3),
    st.integers(0, 1),
)


def tree_of(lines: list[Line]) -> LineTree:
    tree = LineTree(NETWORK)
    for line in lines:
        tree.update(line)
    return tree


@given(st.lists(_LINES, max_size=60))
def test_sums_kept_up_to_date_equal_sums_from_nothing(lines: list[Line]) -> None:
    tree = tree_of(lines)
    last = {line.key: line for line in lines}
    fresh = tree_of(sorted(last.values(), reverse=True))
    assert tree.digest() == fresh.digest()
    assert len(tree) == len(last)
    prefixes = [b""]
    while prefixes:
        prefix = prefixes.pop()
        assert tree.range_at(prefix) == fresh.range_at(prefix)
        assert tree.lines_in(prefix) == fresh.lines_in(prefix)
        assert tree.range_at(prefix).count == len(tree.lines_in(prefix))
        if len(prefix) < DEPTH:
            prefixes += [child.prefix for child in tree.children(prefix) if child.count]


def differing(a: LineTree, b: LineTree, prefix: bytes = b"") -> set[Line]:
    """Lines in ranges whose sums differ, down to the leaves."""
    if a.range_at(prefix).sum == b.range_at(prefix).sum:
        return set()
    if len(prefix) == DEPTH:
        return set(a.lines_in(prefix)) ^ set(b.lines_in(prefix))
    found: set[Line] = set()
    for child in a.children(prefix):
        found |= differing(a, b, child.prefix)
    return found


@given(st.lists(_LINES, max_size=40), st.lists(_LINES, max_size=5))
def test_descending_where_sums_differ_finds_exactly_what_differs(
    common: list[Line], more: list[Line]
) -> None:
    a, b = tree_of(common), tree_of([*common, *more])
    assert differing(a, b) == set(a) ^ set(b)
    assert (a.digest() == b.digest()) == (set(a) == set(b))


@given(st.lists(_LINES, max_size=20), st.lists(_LINES, max_size=20))
def test_lines_changed_since_a_moment_come_newest_first(
    before: list[Line], after: list[Line]
) -> None:
    tree = tree_of(before)
    seq = tree.seq
    for line in after:
        tree.update(line)
    expected: dict[object, Line] = {}
    for line in reversed(after):
        expected.setdefault(line.key, line)
    assert list(tree.changed_since(seq)) == list(expected.values())


def test_networks_do_not_share_sums() -> None:
    line = Line("b", origin_of(PeerId(bytes(32)), Epoch(1)), 1, bytes(8), Hlc(1))
    other = LineTree(OTHER_NETWORK)
    other.update(line)
    assert tree_of([line]).digest() != other.digest()
