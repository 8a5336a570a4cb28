"""A store that comes back older under a running peer, or with holes at a start."""

import pytest

from gossipsync.core._peer import rewriting
from gossipsync.core.model.events import Restored, StoreFailed, StoreRecovered
from gossipsync.core.ports import StoredLog
from tests.core._world import Stage


def restarted(stage: Stage) -> Stage:
    return Stage(disk=stage.disk.after_crash())


@pytest.mark.parametrize("part_bytes", [1, 300, 8 << 20])
def test_a_rolled_back_store_gets_the_whole_state_again_before_anything_is_confirmed(
    part_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "_PART_BYTES", part_bytes)
    stage = Stage()
    stage.put("a", 1)
    stage.wait(0.1)
    copy = stage.disk.after_crash()
    for number in range(5):
        stage.put(f"b{number}", number)
        stage.wait(0.1)
    expected = stage.pairs()
    (log,) = stage.peer._ctx.logs.logs()
    before = log.index

    stage.disk.roll_back(copy)
    stage.holds_commits = True
    stage.put("c", 1)
    stage.wait(0.02)
    stage.finish_commit()  # which finds the older copy
    assert stage.disk.doubt is None
    while stage.disk.is_committing:
        assert stage.peer._commits.stored(log.key) == before
        assert not stage.peer.is_idle
        stage.finish_commit()
    assert stage.peer._commits.stored(log.key) == before + 1
    assert stage.peer.is_idle
    assert stage.disk.doubt is None
    assert "restored" in stage.peer.status(stage.now).warnings
    assert "store-failing" not in stage.peer.status(stage.now).warnings
    kinds = [type(event) for event in stage.events]
    assert [kinds.count(kind) for kind in (StoreFailed, Restored, StoreRecovered)] == [1, 1, 1]
    assert restarted(stage).pairs() == expected | {"c": 1}


def test_a_rewrite_goes_on_through_failures_and_a_second_roll_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rewriting, "_PART_BYTES", 200)
    stage = Stage()
    for number in range(6):
        stage.put(f"k{number}", number)
        stage.wait(0.1)
    empty = type(stage.disk)()
    expected = stage.pairs() | {"c": 1}
    stage.disk.roll_back(empty)
    stage.holds_commits = True
    stage.put("c", 1)
    stage.wait(0.02)
    stage.finish_commit()
    stage.finish_commit()
    stage.disk.is_failing = True
    stage.finish_commit()
    stage.disk.is_failing = False
    stage.wait(1.5)
    stage.finish_commit()
    stage.disk.roll_back(empty)
    stage.finish_commit()
    stage.wait(1.5)
    for _ in range(5):
        stage.put("d", 2)
        if stage.disk.is_committing:
            stage.finish_commit()
    while stage.disk.is_committing:
        stage.finish_commit()
    assert restarted(stage).pairs() == expected | {"d": 2}
    assert stage.disk.doubt is None


def test_a_peer_that_was_killed_inside_a_rewrite_is_a_joiner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rewriting, "_PART_BYTES", 200)
    stage = Stage()
    for number in range(6):
        stage.put(f"k{number}", number)
        stage.wait(0.1)
    stage.disk.roll_back(type(stage.disk)())
    stage.holds_commits = True
    stage.put("c", 1)
    stage.wait(0.02)
    for _ in range(3):
        stage.finish_commit()
    assert stage.disk.doubt
    again = restarted(stage)
    assert "restored" in again.peer.status(again.now).warnings
    assert not again.peer._parts.standing.is_established
    log = next(log for log in again.peer._ctx.logs.logs() if log.pieces)
    assert sorted(log.pieces) == list(range(1, log.index + 1))
    again.wait(1)
    assert again.disk.doubt is None  # what is there is written as what it is
    assert all(line != StoredLog(line.last, rewriting.PARTIAL) for line in again.disk.logs.values())


def test_a_store_with_a_hole_makes_a_joiner_that_is_not_ready_before_it_has_the_rest() -> None:
    stage = Stage()
    for number in range(6):
        stage.put(f"k{number}", number)
        stage.wait(0.1)
    disk = stage.disk.after_crash()
    log = disk.rows[0][:2]
    disk.rows = [row for row in disk.rows if row[2] != 3]
    disk._present = {row[:3] for row in disk.rows}
    disk.logs[log] = StoredLog(2, None)  # as a store gives it that has counted
    disk._lines[log] = 2
    disk.doubt = "1 logs have fewer pieces than were committed"
    again = Stage(disk=disk)
    assert not again.peer._parts.standing.is_established
    assert again.peer._ctx.logs.index(log) == 2
    assert "restored" in again.peer.status(again.now).warnings
    assert again.pairs().keys() == {"k0", "k1", "k3", "k4", "k5"}
