"""Cursors beyond one run: over restarts in good order they go on exactly, after a crash they say that they cannot."""

import shutil
from pathlib import Path
from random import Random

import pytest

import gossipsync
from gossipsync import Bucket, Change, CursorError, Mesh
from gossipsync.runtime.clock import ManualClock
from gossipsync.runtime.sources import load_settings
from tests.embed.test_ttl import settle
from tests.embed.test_watch import told


def drained(bucket: Bucket, since: str | None = None, prefix: str = "") -> list[Change]:
    return list(bucket.watch(prefix, since=since, timeout=0))


def test_a_cursor_goes_on_after_a_restart(tmp_path: Path) -> None:
    with gossipsync.open(data_dir=tmp_path) as mesh:
        bucket = mesh.bucket("b")
        bucket.update(a=1, b=2, c=3)
        *_, last = drained(bucket)
        bucket["d"] = 4
        bucket.delete("a")
    with gossipsync.open(data_dir=tmp_path) as mesh:
        bucket = mesh.bucket("b")
        bucket["b"] = 5
        changes = drained(bucket, last.cursor)
        assert told(changes) == [("put", "d", 4), ("delete", "a", None), ("put", "b", 5)]
        assert drained(bucket, changes[-1].cursor) == []
        first = changes[0].cursor
    for _ in range(3):  # nobody watches in these
        with gossipsync.open(data_dir=tmp_path) as mesh:
            assert told(drained(mesh.bucket("b"), first)) == told(changes[1:])
            assert drained(mesh.bucket("b"), changes[-1].cursor) == []


def test_within_the_present_entries(tmp_path: Path) -> None:
    with gossipsync.open(data_dir=tmp_path) as mesh:
        bucket = mesh.bucket("b")
        bucket.update(a=1, b=2, c=3)
        first = next(bucket.watch())
    with gossipsync.open(data_dir=tmp_path) as mesh:
        bucket = mesh.bucket("b")
        bucket["a"] = 9
        assert told(drained(bucket, first.cursor)) == [
            ("present", "b", 2),
            ("present", "c", 3),
            ("put", "a", 9),
        ]


def test_what_expires_meanwhile_is_shown_once(tmp_path: Path) -> None:
    clock = ManualClock()
    settings = load_settings(given={"data_dir": str(tmp_path)})
    with Mesh(settings, clock) as mesh:
        bucket = mesh.bucket("b")
        bucket.put("soon", 1, ttl=5)
        bucket.put("later", 2, ttl=50)
        watch = bucket.watch(timeout=0)
        assert [change.key for change in watch] == ["later", "soon"]
        settle(mesh, clock, 7)
        (last,) = watch
        assert told([last]) == [("expire", "soon", None)]
    clock.advance(100)
    with Mesh(settings, clock) as mesh:
        bucket = mesh.bucket("b")
        assert told(drained(bucket, last.cursor)) == [("expire", "later", None)]


def test_after_a_crash_it_is_refused(tmp_path: Path) -> None:
    with gossipsync.open(data_dir=tmp_path / "old") as mesh:
        bucket = mesh.bucket("b")
        bucket["a"] = 1
        (before,) = drained(bucket)
    with gossipsync.open(data_dir=tmp_path / "old") as mesh:
        bucket = mesh.bucket("b")
        (idle,) = drained(bucket)
        crashed_idle = shutil.copytree(tmp_path / "old", tmp_path / "idle", ignore=_sockets)
        bucket.put("b", 2, ack="self")
        *_, last = drained(bucket)
        crashed = shutil.copytree(tmp_path / "old", tmp_path / "new", ignore=_sockets)
    with gossipsync.open(data_dir=crashed) as mesh:
        for change in (before, idle, last):
            with pytest.raises(CursorError, match="may have been lost"):
                mesh.bucket("b").watch(since=change.cursor)
    # Here the state is still the one that was left in good order; of the run that crashed nothing is known.
    with gossipsync.open(data_dir=crashed_idle) as mesh:
        assert drained(mesh.bucket("b"), before.cursor) == []
        with pytest.raises(CursorError, match="may have been lost"):
            mesh.bucket("b").watch(since=idle.cursor)


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_socket()]


def test_a_position_that_its_run_never_reached_is_refused(tmp_path: Path) -> None:
    with gossipsync.open(data_dir=tmp_path) as mesh:
        bucket = mesh.bucket("b")
        bucket["a"] = 1
        (change,) = drained(bucket)
    name = change.cursor.split(".")[:2]
    with gossipsync.open(data_dir=tmp_path) as mesh:
        bucket = mesh.bucket("b")
        bucket["b"] = 2
        assert told(drained(bucket, ".".join([*name, "1"]))) == [("put", "b", 2)]
        with pytest.raises(CursorError):
            bucket.watch(since=".".join([*name, "2"]))


def test_many_restarts_show_each_state_once(tmp_path: Path) -> None:
    rng = Random(3)
    held: dict[str, object] = {}
    seen: list[tuple[str, object]] = []
    cursor = None
    for step in range(12):
        with gossipsync.open(data_dir=tmp_path) as mesh:
            bucket = mesh.bucket("b")
            for number in range(rng.randrange(6)):
                key = f"k/{rng.randrange(8)}"
                if rng.random() < 0.3:
                    bucket.delete(key)
                else:
                    bucket[key] = [step, number]
            watch = bucket.watch(since=cursor, timeout=0)
            for _ in range(rng.randrange(6)):
                change = next(watch, None)
                if change is None:
                    break
                cursor = change.cursor
                held.pop(change.key, None)
                if change.kind != "delete":
                    held[change.key] = change.value
                    seen.append((change.key, str(change.value)))
    with gossipsync.open(data_dir=tmp_path) as mesh:
        for change in drained(mesh.bucket("b"), cursor):
            held.pop(change.key, None)
            if change.kind != "delete":
                held[change.key] = change.value
                seen.append((change.key, str(change.value)))
        assert held == dict(mesh.bucket("b"))
    assert len(seen) == len(set(seen)), "a state was shown twice"


def test_a_watcher_that_lags_misses_no_delete(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    bucket.update({f"k/{number}": number for number in range(8)})
    changes = mesh._life.engine().peer.replicas["b"].changes
    changes._limit = 4
    watch = bucket.watch(timeout=0)
    assert len([next(watch) for _ in range(8)]) == 8
    for number in range(8):
        bucket.delete(f"k/{number}")
    for number in range(50):
        bucket["busy"] = number
    assert told(list(watch)) == [
        *(("delete", f"k/{number}", None) for number in range(8)),
        ("put", "busy", 49),
    ]


def test_a_watcher_that_lags_behind_what_is_remembered_is_told(
    mesh: Mesh, clock: ManualClock
) -> None:
    bucket = mesh.bucket("b")
    changes = mesh._life.engine().peer.replicas["b"].changes
    changes._limit = 4
    watch = bucket.watch(since="now", timeout=0)
    for number in range(50):
        bucket[f"k/{number}"] = number
        bucket.delete(f"k/{number}")
    bucket.put("stored", 1, ack="self")
    for _ in range(3):
        settle(mesh, clock, 2 * 3600)  # deletes are forgotten now
    assert len(mesh._life.engine().peer.replicas["b"]._cells) == 1
    bucket.update({f"l/{number}": number for number in range(10)})
    with pytest.raises(CursorError, match="than is remembered"):
        next(watch)
