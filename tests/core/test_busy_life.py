"""What a busy life leaves: a horizon later a peer and its store are as small as those that only ever held what is left."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import pytest

from gossipsync.core import Deletes, Kind
from tests.core._world import Node, World

_HORIZON_MS = 60_000
_AFTER_S = 60 + 2 * 60 + 60
"""A horizon, twice the largest skew, and time to look."""
_CONSTANT = 32 << 10
"""Small tables are left as they are, and a peer that had something to say remembers when."""
_HEADER_BYTES = 400
"""Of each log the last header stays, as the proof of its line."""
_KEYS = 400
_BATCH = 100
_NOT_DATA = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)

Operation = Callable[..., object]


def weight(node: Node) -> int:
    """Bytes of all that can be reached from a peer, its store's buffer and disk apart; tables with the room that they keep."""
    seen: dict[int, object] = {id(node.disk): node.disk}
    total, waiting = 0, [node.up]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, _NOT_DATA):
            continue
        seen[id(one)] = one
        total += sys.getsizeof(one)
        waiting += gc.get_referents(one)
    return total


def stored(node: Node) -> int:
    disk = node.disk
    return sum(len(data) for *_, data in disk.load_pieces()) + 100 * len(disk.load_logs())


def survivors(number: int) -> Operation:
    return lambda draft: draft.put(f"k{number}", f"last {number}" * 10)


def lived(
    peers: int,
    rounds: list[Callable[[int], Operation]],
    last: Callable[[int], Operation],
    **rules: object,
) -> World:
    """Each round is an operation on every key, in batches; `last` is what leaves the keys as they are in the end."""
    world = World(peers, horizon_ms=_HORIZON_MS)
    world.run(5)
    for node in world.nodes:
        node.up.open_bucket("b", node.now, **rules)
    for at, operation in enumerate([*rounds, last]):
        for first in range(0, _KEYS, _BATCH):
            node = world.nodes[(at + first // _BATCH) % peers] if peers > 1 else world.nodes[0]
            node.write("b", *(operation(number) for number in range(first, first + _BATCH)))
            world.run(0.05)
    world.run(_AFTER_S)
    return world


def assert_small(busy: World, quiet: World) -> None:
    for node, other in zip(busy.nodes, quiet.nodes, strict=True):
        assert node.pairs() == other.pairs()
        assert weight(node) <= weight(other) * 1.1 + _CONSTANT, (weight(node), weight(other))
        proofs = _HEADER_BYTES * len(node.disk.load_logs())
        assert stored(node) <= stored(other) * 1.1 + proofs, (stored(node), stored(other))


def _deleted(number: int) -> Operation:
    return lambda draft: draft.delete(f"k{number}")


def _other_keys(at: int, *, is_delete: bool) -> Callable[[int], Operation]:
    def operation(number: int) -> Operation:
        key = f"other {at} {number}"
        return lambda draft: draft.delete(key) if is_delete else draft.put(key, "x" * 100)

    return operation


@pytest.mark.parametrize("peers", [1, 3])
def test_keys_set_and_deleted_again_and_again(peers: int) -> None:
    rounds = [survivors, _deleted] * 10
    assert_small(lived(peers, rounds, survivors), lived(peers, [], survivors))


@pytest.mark.parametrize("peers", [1, 3])
def test_keys_that_came_once_and_went(peers: int) -> None:
    rounds = [_other_keys(at // 2, is_delete=at % 2 == 1) for at in range(40)]
    assert_small(lived(peers, rounds, survivors), lived(peers, [], survivors))


def test_elements_that_came_and_went() -> None:
    def added(number: int) -> Operation:
        return lambda draft: draft.add_element(f"k{number % 20}", f"element {number}")

    def discarded(number: int) -> Operation:
        return lambda draft: draft.discard_element(f"k{number % 20}", f"element {number}")

    busy = lived(3, [added, discarded] * 5, added, kind=Kind.SET)
    assert_small(busy, lived(3, [], added, kind=Kind.SET))


def test_sessions_that_were_touched_and_ended_leave_nothing() -> None:
    rules = {"kind": Kind.MAP, "deletes": Deletes.FINAL, "ttl_ms": 10_000}

    def begun(number: int) -> Operation:
        return lambda draft: draft.put(f"s{number}", {"user": number, "cart": "x" * 50})

    def touched(number: int) -> Operation:
        return lambda draft: draft.touch(f"s{number}")

    def logged_out(number: int) -> Operation:
        return lambda draft: draft.delete(f"s{number}") if number % 2 else None

    busy = lived(3, [begun, *[touched] * 10], logged_out, **rules)
    busy.run(_AFTER_S)  # for final tombstones, which hold until a horizon after their time is over
    quiet = lived(3, [], lambda _number: lambda _draft: None, **rules)
    quiet.run(_AFTER_S)
    assert_small(busy, quiet)


def test_a_store_gets_a_quiet_moment_some_time_after_pieces_were_taken_out() -> None:
    world = World(1, horizon_ms=_HORIZON_MS)
    (node,) = world.nodes
    quiet: list[float] = []
    begin = node.disk.begin
    node.disk.begin = lambda: (
        quiet.append(world.time_s) if not node.disk._buffer else None,
        begin(),
    )[1]
    node.put("k", 1)
    world.run(60)
    assert quiet == [], "nothing was taken out"
    node.put("k", 2)
    world.run(200)
    assert len(quiet) == 1
