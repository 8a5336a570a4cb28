"""Watching: present entries, changes, cursors to go on from, and watchers that lag."""

from random import Random
from threading import Thread

import pytest

import gossipsync
from gossipsync import Change, Mesh
from gossipsync.core.replication.changes import ChangeLog
from gossipsync.errors import ConfigError, CursorError
from gossipsync.runtime.clock import ManualClock
from tests.embed.test_ttl import settle


def told(changes: list[Change]) -> list[tuple[str, str, object]]:
    return [(change.kind, change.key, change.value) for change in changes]


def test_present_entries_then_changes(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    bucket.update(a=1, b=2)
    watch = bucket.watch(timeout=0)
    bucket["c"] = 3
    bucket["a"] = 4
    del bucket["b"]
    changes = list(watch)
    # What has changed meanwhile is shown once, as a change.
    assert told(changes) == [
        ("put", "c", 3),
        ("put", "a", 4),
        ("delete", "b", None),
    ]
    assert {change.origin for change in changes} == {mesh.peer_id, None}


def test_only_changes(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    bucket["a"] = 1
    watch = bucket.watch(since="now", timeout=0)
    bucket["b"] = 2
    assert told(list(watch)) == [("put", "b", 2)]


def test_a_prefix(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    bucket.update({"a/1": 1, "b/1": 1})
    watch = bucket.watch("a/", timeout=0)
    bucket.update({"a/2": 2, "b/2": 2})
    assert [change.key for change in watch] == ["a/1", "a/2"]


def test_coalesced_to_the_newest_of_each_key(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    watch = bucket.watch(timeout=0)
    for number in range(100):
        bucket["a"] = number
    assert told(list(watch)) == [("put", "a", 99)]


def test_going_on_from_a_cursor(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    bucket.update(a=1, b=2)
    *_, last = bucket.watch(timeout=0)
    bucket["c"] = 3
    (change,) = bucket.watch(since=last.cursor, timeout=0)
    assert told([change]) == [("put", "c", 3)]
    assert list(bucket.watch(since=change.cursor, timeout=0)) == []


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_nothing_is_lost_wherever_one_stops(mesh: Mesh, stop: int) -> None:
    bucket = mesh.bucket("b")
    bucket.update(a=1, b=2)
    watch = bucket.watch(timeout=0)
    bucket.update(c=3, d=4)
    seen = [next(watch) for _ in range(stop)]
    rest = list(bucket.watch(since=seen[-1].cursor, timeout=0))
    assert [change.key for change in (*seen, *rest)] == ["a", "b", "c", "d"]


def test_going_on_from_anywhere_shows_each_state_once(mesh: Mesh) -> None:
    """One reader who never stops, and one who stops after every change, while keys are written, deleted and written again."""
    bucket, rng = mesh.bucket("b"), Random(7)
    bucket.update({f"k/{number}": -1 for number in range(8)})
    held: dict[str, object] = {}
    cursor = None
    seen: list[tuple[str, object]] = []
    for step in range(400):
        key = f"k/{rng.randrange(12)}"
        if rng.random() < 0.3:
            bucket.delete(key)
        elif rng.random() < 0.7:
            bucket[key] = step
        for _ in range(rng.randrange(3)):
            change = next(bucket.watch(since=cursor, timeout=0), None)
            if change is None:
                break
            cursor = change.cursor
            if change.kind == "delete":
                held.pop(change.key, None)
            else:
                seen.append((change.key, change.value))
                held[change.key] = change.value
    for change in bucket.watch(since=cursor, timeout=0):
        held.pop(change.key, None)
        if change.kind != "delete":
            seen.append((change.key, change.value))
            held[change.key] = change.value
    assert held == dict(bucket)
    assert len(seen) == len(set(seen)), "a state was shown twice"


def test_an_expiry_is_a_change(mesh: Mesh, clock: ManualClock) -> None:
    bucket = mesh.bucket("b")
    bucket.put("a", 1, ttl=5)
    watch = bucket.watch(since="now", timeout=0)
    settle(mesh, clock, 7)
    assert told(list(watch)) == [("expire", "a", None)]


def test_unusable_cursors(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    bucket["a"] = 1
    (change,) = bucket.watch(timeout=0)
    with gossipsync.open() as other:
        for cursor in (
            change.cursor + "9",
            change.cursor[1:],
            "",
            "x",
            "..",
            "0.0.0",
            change.cursor.replace(".", ":"),
        ):
            with pytest.raises(CursorError):
                bucket.watch(since=cursor)
        with pytest.raises(CursorError):
            mesh.bucket("c").watch(since=change.cursor)
        with pytest.raises(CursorError):
            other.bucket("b").watch(since=change.cursor)


def test_a_cursor_that_is_too_old(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = mesh.bucket("b")
    bucket["a"] = 1
    (change,) = bucket.watch(timeout=0)
    watch = bucket.watch(since=change.cursor, timeout=0)
    bucket["b"] = 2
    monkeypatch.setattr(ChangeLog, "changed_since", lambda self, position: None)
    with pytest.raises(CursorError, match="than is remembered"):
        bucket.watch(since=change.cursor)
    for _ in range(2):
        with pytest.raises(CursorError, match="than is remembered"):
            next(watch)


@pytest.mark.parametrize("timeout", ["1", True, float("nan")])
def test_bad_timeouts(mesh: Mesh, timeout: float) -> None:
    with pytest.raises(ConfigError, match="timeout"):
        mesh.bucket("b").watch(timeout=timeout)


def test_a_blocked_watcher_is_woken(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    watch = bucket.watch(timeout=10)
    seen: list[Change] = []
    thread = Thread(target=lambda: seen.append(next(watch)))
    thread.start()
    bucket["a"] = 1
    thread.join(10)
    assert told(seen) == [("put", "a", 1)]


def test_closing_ends_a_watch() -> None:
    mesh = gossipsync.open()
    watch = mesh.bucket("b").watch()
    seen: list[Change] = []
    thread = Thread(target=lambda: seen.extend(watch))
    thread.start()
    mesh.close()
    thread.join(10)
    assert not thread.is_alive()
    assert seen == []


def test_a_watcher_leaves_nothing_behind(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    for _ in range(10):
        list(bucket.watch(timeout=0))
    engine = mesh._life.engine()
    with engine.lock:
        assert len(engine.waiters) == 0
