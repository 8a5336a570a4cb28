"""Reconciliation between peers: joining and coming back after logs were trimmed, repair, and what all that costs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from gossipsync.core._peer.upkeep import _CHECK_EVERY, Upkeep
from gossipsync.core.model.events import Yielded
from gossipsync.core.model.limits import Limits
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.cells import Cell
from gossipsync.core.wire.framing import FrameReader
from gossipsync.core.wire.messages import Compare, Equal, Message, decode_message
from gossipsync.core.wire.reconciling import (
    Doubt,
    Dump,
    Fetch,
    Heads,
    Parts,
    Reconciling,
    Survey,
)
from tests.core._world import Node, World, state_faults

TRIMMED_SOON = Limits(trim_after_s=0.2, log_waste_bytes=1000)
HORIZON_S = 20.0
SKEW_MS = 1000
SHORT: dict[str, object] = {"horizon_ms": int(HORIZON_S * 1000), "max_skew_ms": SKEW_MS}


def fill(node: Node, keys: range, value: object = "x" * 40, at_once: int = 250) -> None:
    """Keys written many at once."""
    for first in range(keys.start, keys.stop, at_once):

        def write(draft: object, first: int = first) -> None:
            for number in range(first, min(first + at_once, keys.stop)):
                draft.put(f"k{number}", value)  # type: ignore[attr-defined]

        node.write("b", write)
        node.world.run(0.005)


def delete(node: Node, *keys: str) -> None:
    node.write("b", *[lambda draft, key=key: draft.delete(key) for key in keys])


def has_settled(world: World) -> bool:
    running = world.running
    return (
        len({node.up.digest for node in running}) == 1
        and all(node.up.state in ("ready", "alone") and node.up.is_idle for node in running)
        and all(node.up.is_synced() for node in running)
    )


def settle(world: World, seconds: float = 60.0) -> None:
    assert world.run_until(lambda: has_settled(world), seconds), [
        (node.name, node.up.state) for node in world.running
    ]


def counted(node: Node, name: str) -> int:
    return node.up._ctx.counters[name]


def agree(world: World) -> None:
    """All show the same, which is what their logs say."""
    first, *others = world.running
    assert all(node.pairs() == first.pairs() for node in others)
    for node in world.running:
        assert state_faults(node.up, node.now.wall_ms) == []


class Wiretap:
    """Messages on their way: how exchanges end, questions of reconciliations by one peer, and all bytes of these that are not cells."""

    def __init__(self, world: World, asker: Node) -> None:
        self.questions: Counter[str] = Counter()
        self.beside_bytes = self.parts_bytes = 0
        self.compared = self.equal = 0
        readers: dict[int, FrameReader] = {}
        send = world._send

        def tapped(end: Any, data: bytes) -> None:
            reader = readers.setdefault(id(end), FrameReader(1 << 20))
            reader.feed(data)
            for payload in reader:
                self._note(decode_message(payload), len(payload), is_asker=end.node is asker)
            send(end, data)

        world._send = tapped  # type: ignore[method-assign]

    def _note(self, message: Message, size: int, *, is_asker: bool) -> None:
        self.compared += isinstance(message, Compare)
        self.equal += isinstance(message, Equal)
        if not isinstance(message, Reconciling):
            return
        if is_asker and isinstance(message, Heads | Survey | Fetch | Dump | Doubt):
            self.questions[type(message).__name__] += 1
        pieces = sum(map(len, message.pieces)) if isinstance(message, Parts) else 0
        self.parts_bytes += pieces
        self.beside_bytes += size - pieces


# -- joining and coming back -------------------------------------------------------------------------------------------


def test_a_joiner_takes_over_a_state_whose_logs_were_trimmed() -> None:
    world = World(2, limits=TRIMMED_SOON)
    world.run(3)
    for version in range(5):
        fill(world.nodes[version % 2], range(300), f"{version} " + "x" * 100, at_once=7)
        world.run(1)
    delete(world.nodes[0], *[f"k{number}" for number in range(50)])
    world.run(5)
    assert all(log.whole_from > 1 for log in world.nodes[0].up._ctx.logs.logs())
    joiner = world.add()
    world.start(joiner)
    settle(world)
    assert len(joiner.pairs()) == 250
    assert counted(joiner, "reconciled") >= 1
    agree(world)
    # And it goes on: its lines lead on from where the others' are.
    world.nodes[0].put("k0", "after")
    world.run(1)
    assert joiner.pairs()["k0"] == "after"


def test_who_comes_back_after_a_trim_takes_over_what_is_left() -> None:
    world = World(3, limits=TRIMMED_SOON)
    world.run(3)
    fill(world.nodes[0], range(200), at_once=10)
    world.run(1)
    world.split(world.nodes[:2], [world.nodes[2]])
    for version in range(3):
        fill(world.nodes[version % 2], range(100), f"new {version}", at_once=10)
        world.run(1)
    delete(world.nodes[1], "k150", "k151")
    world.nodes[2].put("mine", "written alone")
    world.run(10)
    world.heal()
    settle(world)
    assert counted(world.nodes[2], "reconciled") >= 1
    assert world.nodes[0].pairs()["mine"] == "written alone"
    assert len(world.nodes[2].pairs()) == 199
    agree(world)


def test_a_restart_after_a_trim_finds_its_state_in_the_store() -> None:
    world = World(2, limits=TRIMMED_SOON)
    world.run(3)
    for version in range(3):
        fill(world.nodes[0], range(60), version, at_once=6)
        world.run(1)
    world.run(3)
    before = world.nodes[1].pairs()
    world.crash(world.nodes[1])
    world.run(1)
    world.start(world.nodes[1])
    assert world.nodes[1].pairs() == before
    settle(world)
    assert counted(world.nodes[1], "reconciled") == 0
    agree(world)


def test_buckets_that_only_the_other_knows_are_never_left_out() -> None:
    """More of them than fit one answer by size."""
    limits = Limits(trim_after_s=0.2, log_waste_bytes=1, delta_bytes=3000)
    world = World(1, limits=limits)
    world.run(1)
    for number in range(60):
        for version in range(2):
            world.nodes[0].put("k", version, bucket=f"bucket {number}")
        for key in range(3):
            world.nodes[0].put(f"k{key}", key, bucket=f"bucket {number}")
    world.run(5)
    joiner = world.add()
    world.start(joiner)
    settle(world, 120.0)
    for number in range(60):
        assert joiner.pairs(f"bucket {number}") == world.nodes[0].pairs(f"bucket {number}")


def test_two_that_differ_little_find_it_in_five_round_trips() -> None:
    world = World(2, limits=Limits(trim_after_s=0.2, log_waste_bytes=1))
    world.run(3)
    fill(world.nodes[0], range(20_000))
    settle(world)
    world.split([world.nodes[0]], [world.nodes[1]])
    world.break_link(*world.nodes)  # or what is pushed would only wait
    for version in range(2):  # the first is trimmed, so that logs do not tell
        for number in range(100):
            world.nodes[0].put(f"k{number * 199}", f"new {version}")
        world.run(1)
    world.run(2)
    tap = Wiretap(world, world.nodes[1])
    world.heal()
    settle(world)
    agree(world)
    assert counted(world.nodes[1], "reconciliations") == 1
    assert tap.questions["Dump"] == 0
    # Five, and two probes for ended epochs: beside the comparison, and once the other has become ready.
    assert sum(tap.questions.values()) <= 7, tap.questions
    assert tap.beside_bytes <= 64 << 10
    assert tap.parts_bytes <= 100 * 600


@pytest.mark.parametrize("seed", range(3))
def test_after_a_restart_an_idle_mesh_is_equal_at_once(seed: int) -> None:
    """Though its peers take the lines of the former epoch out of their digests one after another."""
    world = World(5, seed=seed, **SHORT)
    world.run(5)
    for node in world.nodes:
        for bucket in ("b", "c", "d"):
            node.put(node.name, bucket, bucket=bucket)
    world.run(5)
    tap = Wiretap(world, world.nodes[0])
    world.crash(world.nodes[0])
    world.run(1)
    world.start(world.nodes[0])
    seen = set()
    for _ in range(300):
        world.run(0.1)
        seen.add(len({node.up.digest for node in world.nodes}))
    assert 2 in seen
    settle(world)
    assert (tap.compared, tap.equal > 100) == (0, True)


@pytest.mark.parametrize(("room", "keys"), [(20, 4000), (4500, 12_000)])
def test_more_than_one_run_may_hold_is_taken_over_in_several(room: int, keys: int) -> None:
    """With room for fewer ranges than differ, and for fewer cells."""
    world = World(2, limits=Limits(trim_after_s=0.2, log_waste_bytes=1, run_cells=room))
    world.run(3)
    fill(world.nodes[0], range(keys))
    settle(world)
    world.split([world.nodes[0]], [world.nodes[1]])
    world.break_link(*world.nodes)
    for version in range(2):  # the first is trimmed, so that logs do not tell
        fill(world.nodes[0], range(keys // 2), f"new {version}")
        world.run(1)
    world.run(2)
    world.heal()
    settle(world)
    agree(world)
    late = world.nodes[1]
    assert late.pairs()["k1999"] == "new 1"
    assert counted(late, "reconcile-partial") >= 1
    assert counted(late, "reconciled") >= 1


# -- out of touch ------------------------------------------------------------------------------------------------------


def test_who_was_away_for_longer_than_the_horizon_yields_and_says_so_once() -> None:
    world = World(3, limits=TRIMMED_SOON, **SHORT)
    world.run(3)
    fill(world.nodes[0], range(20))
    world.run(2)
    world.split(world.nodes[:2], [world.nodes[2]])
    world.run(1)
    delete(world.nodes[0], "k3", "k4", "k5")
    world.nodes[1].put("theirs", 1)
    world.run(1)
    world.nodes[2].put("mine", 2)
    world.nodes[2].put("k4", "written anew")
    world.run(HORIZON_S * 2)
    group = world.nodes[0].up.replicas["b"].group("k3")
    assert group is None  # nothing there remembers the delete
    world.heal()
    settle(world)
    world.run(30)
    for node in world.nodes:
        assert "k3" not in node.pairs()
        assert "k5" not in node.pairs()
        assert node.pairs()["mine"] == 2
        assert node.pairs()["theirs"] == 1
        assert node.pairs()["k4"] == "written anew"
    agree(world)
    events = [event for event in world.nodes[2].events if isinstance(event, Yielded)]
    assert len(events) == 1
    assert events[0].cells == 2
    assert not any(isinstance(event, Yielded) for node in world.nodes[:2] for event in node.events)


def test_who_was_away_for_less_than_the_horizon_yields_nothing() -> None:
    world = World(2, **SHORT)
    world.run(3)
    fill(world.nodes[0], range(20))
    world.run(2)
    world.split([world.nodes[0]], [world.nodes[1]])
    delete(world.nodes[0], "k3")
    world.nodes[1].put("mine", 2)
    world.run(HORIZON_S * 0.7)
    world.heal()
    settle(world)
    for node in world.nodes:
        assert "k3" not in node.pairs()
        assert node.pairs()["mine"] == 2
        assert not any(isinstance(event, Yielded) for event in node.events)


@pytest.mark.parametrize("late_s", [-8, -5, -3])
def test_whoever_takes_over_a_state_gets_tombstones_to_their_last_moment(late_s: int) -> None:
    """Others still refuse by them what was written elsewhere before, and so must he."""
    skew_s = 5.0
    world = World(
        2,
        limits=TRIMMED_SOON,
        horizon_ms=int(HORIZON_S * 1000),
        max_skew_ms=int(skew_s * 1000),
    )
    one, other = world.nodes
    world.run(3)
    one.put("k", "old")
    for number in range(20):
        other.put("noise", number)  # he is behind by little, so that sums are compared
        world.run(0.01)
    world.run(1)
    world.split([one], [other])
    world.break_link(one, other)  # or what is pushed would only wait
    world.run(1)
    other.put("k", "written while away")
    world.run(1)
    delete(one, "k")
    for number in range(20):
        one.put("noise", number)  # trimmed, so that logs do not tell
        world.run(0.01)
    world.run(HORIZON_S + 2 * skew_s + late_s)
    assert one.up.replicas["b"].group("k") is not None
    world.heal()
    settle(world)
    assert counted(other, "reconciled") >= 1
    for _ in range(20):
        world.run(3)
        assert [node.pairs() for node in world.nodes] == [{"noise": 19}] * 2


# -- repair ------------------------------------------------------------------------------------------------------------


def _cell(node: Node, key: str) -> Cell:
    group = node.up.replicas["b"].group(key)
    assert isinstance(group, tuple)
    return group


def _quick(peers: int, **settings: object) -> World:
    world = World(peers, gossip_interval_s=0.2, **settings)
    world.run(3)
    return world


def test_a_cell_that_was_lost_is_repaired() -> None:
    world = _quick(3)
    fill(world.nodes[0], range(50))
    settle(world)
    broken = world.nodes[1]
    broken.up.replicas["b"].drop("k7", _cell(broken, "k7"))
    assert "k7" not in broken.pairs()
    assert world.run_until(lambda: "k7" in broken.pairs(), 240.0)
    assert counted(broken, "states-differ") >= 2
    world.run(5)
    agree(world)


def test_it_is_repaired_where_lines_of_ended_epochs_never_leave_the_same_digests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which have left is each peer's own affair: their states are compared nevertheless."""
    monkeypatch.setattr(Upkeep, "_cover", lambda _upkeep: None)
    world = _quick(3)
    first, broken = world.nodes[:2]
    fill(first, range(50))
    settle(world)
    (log,) = broken.up._ctx.logs.logs()
    world.crash(first)
    world.start(first)
    first.put("later", 1)
    settle(world)
    broken.up._keeper.cover(log)
    assert world.run_until(lambda: all(node.up.is_synced() for node in world.nodes), 60.0)
    broken.up.replicas["b"].drop("k7", _cell(broken, "k7"))
    assert world.run_until(lambda: "k7" in broken.pairs(), 240.0)
    assert len({node.up.digest for node in world.nodes}) == 2
    assert len({str(sorted(node.pairs())) for node in world.nodes}) == 1


def _plant(world: World, node: Node, key: str) -> None:
    """One peer holds a cell that all have covered and the others have no more."""
    for other in world.nodes:
        if other is not node:
            other.up.replicas["b"].drop(key, _cell(other, key))


def test_a_cell_that_all_others_have_given_up_is_dropped() -> None:
    world = _quick(3)
    fill(world.nodes[0], range(50))
    settle(world)
    _plant(world, world.nodes[2], "k7")
    assert world.run_until(lambda: "k7" not in world.nodes[2].pairs(), 600.0)
    world.run(10)
    assert all("k7" not in node.pairs() for node in world.nodes)
    assert len({str(node.pairs()) for node in world.nodes}) == 1


@pytest.mark.parametrize("is_lost", [True, False], ids=["lost by one", "left at one"])
def test_a_repair_waits_for_one_comparison_only(is_lost: bool) -> None:
    """States that differ are compared again at once, and further voices are asked for one after the other."""
    world = _quick(8)
    fill(world.nodes[0], range(50))
    settle(world)
    broken = world.nodes[2]
    if is_lost:
        broken.up.replicas["b"].drop("k7", _cell(broken, "k7"))
    else:
        _plant(world, broken, "k7")
    every_s = _CHECK_EVERY * 0.2 * 1.1  # so many rounds, at their longest
    assert world.run_until(lambda: ("k7" in broken.pairs()) is is_lost, every_s + 6.0)
    world.run(10)
    runs = [counted(node, "reconciliations") for node in world.nodes]
    assert max(runs) <= len(world.nodes)
    world.run(60)
    assert [counted(node, "reconciliations") for node in world.nodes] == runs
    assert len({str(sorted(node.pairs())) for node in world.nodes}) == 1


def test_what_its_writer_still_holds_comes_back_to_all() -> None:
    """He needs no second voice: he could as well write it again."""
    world = _quick(3)
    fill(world.nodes[0], range(50))
    settle(world)
    _plant(world, world.nodes[0], "k7")
    assert world.run_until(lambda: all("k7" in node.pairs() for node in world.nodes), 600.0)
    world.run(10)
    agree(world)


def test_equal_states_bring_no_reconciliation() -> None:
    world = _quick(3, limits=TRIMMED_SOON)
    fill(world.nodes[0], range(100), at_once=5)
    for number in range(50):
        world.nodes[number % 3].put(f"k{number}", "again")
        world.run(0.05)
    settle(world)
    before = [counted(node, "reconciliations") for node in world.nodes]
    world.run(60)
    assert [counted(node, "reconciliations") for node in world.nodes] == before
    assert [counted(node, "states-differ") for node in world.nodes] == [0, 0, 0]


# -- forgetting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peers", [1, 3])
def test_after_a_horizon_a_busy_life_leaves_what_a_quiet_one_has(peers: int) -> None:
    """As many cells, pieces and bytes as where only the survivors were ever written."""
    busy, quiet = (World(peers, limits=TRIMMED_SOON, **SHORT) for _ in range(2))
    for world in (busy, quiet):
        world.run(3)
    for number in range(2000):
        node = busy.nodes[number % peers]
        key = f"k{busy.rng.randrange(50)}"
        if number % 3 == 0:
            delete(node, key)
        else:
            node.put(key, "x" * 40)
        busy.run(0.002)
    busy.run(1)
    survivors = busy.nodes[0].pairs()
    assert 10 < len(survivors) < 50
    for number, key in enumerate(survivors):
        quiet.nodes[number % peers].put(key, "x" * 40)
        quiet.run(0.01)  # bundles of one entry, as the survivors came in
    for world in (busy, quiet):
        world.run(HORIZON_S + 10)
    for one, other in zip(busy.nodes, quiet.nodes, strict=True):
        assert one.pairs() == other.pairs() == survivors
        assert _held(one) == _held(other)
        assert len(one.disk.logs) == len(other.disk.logs)
        assert _disk_bytes(one) <= _disk_bytes(other) + 2000
    agree(busy)


def _held(node: Node) -> tuple[int, int]:
    """Keys with cells, and rows in logs."""
    logs = node.up._ctx.logs.logs()
    rows = sum(len(piece[3]) for log in logs for piece in log.pieces.values())
    return len(node.up.replicas["b"]._cells), rows


def _disk_bytes(node: Node) -> int:
    return sum(len(row[3]) for row in node.disk.rows)


def test_old_signed_data_is_refused_as_covered_when_its_shadow_has_gone() -> None:
    world = World(3, limits=TRIMMED_SOON, **SHORT)
    world.run(3)
    victim = world.nodes[0]
    world.nodes[1].put("k", "old")
    world.run(1)
    old = [row[3] for row in world.nodes[1].disk.rows]
    delete(world.nodes[2], "k")
    world.nodes[1].put("another", 1)
    world.run(HORIZON_S * 2)
    assert victim.up.replicas["b"].group("k") is None
    link = victim.up._ctx.by_peer[world.nodes[2].up.peer_id]
    before = counted(victim, Reason.COVERED)
    for data in old:
        victim.up._parts.ingest.accept(link, data, is_fresh=True)
    assert counted(victim, Reason.COVERED) == before + len(old)
    assert not link.is_closing  # whoever passes it on need not know
    assert "k" not in victim.pairs()
