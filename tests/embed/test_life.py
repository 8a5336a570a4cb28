"""Started at first use, closed once, and what each call says afterwards."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Event, Thread
from threading import enumerate as threads
from time import monotonic
from types import SimpleNamespace
from weakref import WeakSet

import pytest

import gossipsync
from gossipsync.embed import _exits, _life
from gossipsync.embed._waiting import ThreadParker
from gossipsync.errors import (
    AckTimeoutError,
    BucketKindError,
    ClosedError,
    ConfigError,
    InternalError,
    StoreError,
    StoreFullError,
    TokenError,
    WaitTimeoutError,
)
from gossipsync.runtime.engine import Engine
from gossipsync.runtime.trust import keygen
from gossipsync.stores import MemoryStore, SqliteStore


def engine_threads() -> int:
    return sum(thread.name == "gossipsync" for thread in threads())


def test_importing_starts_nothing_and_is_light() -> None:
    code = (
        "import sys, threading, gossipsync\n"
        "heavy = {'trio', 'asyncio', 'ssl', 'cryptography', 'sqlite3', 'click', 'rich'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
        "assert threading.active_count() == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_opening_starts_nothing() -> None:
    before = engine_threads()
    mesh = gossipsync.open()
    bucket = mesh.bucket("b", kind="map")
    assert engine_threads() == before
    bucket["a"] = {"first": "use"}
    assert engine_threads() == before + 1
    mesh.close()
    assert engine_threads() == before


def test_a_first_read_starts_it_too() -> None:
    mesh = gossipsync.open()
    try:
        with pytest.raises(KeyError):
            mesh.bucket("b")["a"]
        assert mesh.bucket("b").get("a") is None
    finally:
        mesh.close()


def test_first_use_by_many_threads_at_once_starts_one() -> None:
    mesh = gossipsync.open()
    bucket = mesh.bucket("b", kind="counter")
    before, barrier = engine_threads(), Barrier(8)

    def use() -> None:
        barrier.wait()
        bucket.counter("a").add(1)

    users = [Thread(target=use) for _ in range(8)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert engine_threads() == before + 1
    assert bucket["a"] == 8
    mesh.close()


def test_closed_is_closed() -> None:
    with gossipsync.open() as mesh:
        bucket = mesh.bucket("b")
        receipt = bucket.put("a", 1)
        batch = bucket.batch()
        batch.__enter__()
        batch["b"] = 2
    mesh.close()
    mesh.close()
    for use in (
        lambda: bucket["a"],
        lambda: bucket.__setitem__("a", 1),
        lambda: bucket.get("a"),
        lambda: "a" in bucket,
        lambda: len(bucket),
        lambda: list(bucket),
        bucket.watch,
        lambda: bucket.batch().__enter__(),
        lambda: batch.__exit__(None, None, None),
        lambda: receipt.wait("majority", timeout=1) or receipt.wait(1, timeout=1),
        mesh.start,
        mesh.status,
        mesh.members,
        mesh.token,
        mesh.leave,
        mesh.events,
        lambda: mesh.peer_id,
        lambda: mesh.wait_synced(timeout=1),
        mesh.__enter__,
    ):
        with pytest.raises(ClosedError):
            use()


def test_what_keeps_it_from_starting_is_raised_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("not a folder")
    mesh = gossipsync.open(data_dir=folder)
    bucket = mesh.bucket("b")
    for use in (mesh.start, lambda: bucket.get("a"), lambda: bucket.put("a", 1)):
        with pytest.raises(ConfigError, match="cannot use data_dir"):
            use()
    folder.unlink()
    bucket["a"] = 1
    mesh.close()


def test_a_lone_peer() -> None:
    with gossipsync.open(name="lone") as mesh:
        assert mesh.name == "lone"
        assert len(mesh.peer_id) == 52
        assert mesh.address is None
        status = mesh.status()
        assert (status.name, status.peer_id, status.state) == ("lone", mesh.peer_id, "alone")
        assert status.members["alive"] == 1
        assert [member.peer_id for member in mesh.members()] == [mesh.peer_id]
        mesh.wait_members(1, timeout=1)
        mesh.wait_synced(timeout=1)
        with pytest.raises(WaitTimeoutError, match="there were not 2 members within 0 s"):
            mesh.wait_members(2, timeout=0)
        with pytest.raises(ConfigError, match="neither a cluster key"):
            mesh.connect("127.0.0.1:1")
        with pytest.raises(ConfigError, match="wait_members"):
            mesh.wait_members(0)


def test_tokens() -> None:
    with gossipsync.open() as mesh, gossipsync.open() as stranger:
        token = mesh.bucket("b").put("a", 1).token
        mesh.wait_for(token, timeout=0)
        mesh.wait_for(mesh.token(), timeout=0)
        for text in ("", "x", token[:-1], token + "x", "\u00fc", stranger.token()):
            with pytest.raises(TokenError):
                mesh.wait_for(text, timeout=0)


def test_data_survives_a_restart(tmp_path: Path) -> None:
    with gossipsync.open(data_dir=tmp_path) as mesh:
        peer_id = mesh.peer_id
        mesh.bucket("b", kind="counter").counter("a").add(3)
    with gossipsync.open(data_dir=tmp_path) as mesh:
        assert mesh.peer_id == peer_id
        counter = mesh.bucket("b").counter("a")
        assert counter.value == 3
        counter.add(4)
    with gossipsync.open(data_dir=tmp_path) as mesh:
        assert mesh.bucket("b")["a"] == 7


def test_one_mesh_a_folder(tmp_path: Path) -> None:
    with gossipsync.open(data_dir=tmp_path) as mesh:
        mesh.bucket("b")["a"] = 1
        with pytest.raises(StoreError, match="in use"):
            gossipsync.open(data_dir=tmp_path).start()
        assert mesh.bucket("b")["a"] == 1


def test_another_network_gets_nothing_of_a_folder(tmp_path: Path) -> None:
    with gossipsync.open(data_dir=tmp_path) as mesh:
        mesh.bucket("b")["a"] = 1
    with pytest.raises(StoreError, match="network"):
        gossipsync.open(data_dir=tmp_path, cluster_key=keygen()).start()
    with gossipsync.open(data_dir=tmp_path) as mesh:
        assert mesh.bucket("b")["a"] == 1


def test_an_engine_that_ends_by_a_bug_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: Engine) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(Engine, "_flush", fail)
    mesh = gossipsync.open()
    bucket = mesh.bucket("b")
    mesh.start()
    engine = mesh._life.engine()
    watch = bucket.watch()
    engine.request_close()
    assert list(watch) == []
    mesh._life._thread.join(5)  # type: ignore[union-attr]
    with pytest.raises(InternalError, match="planted"):
        bucket["a"] = 1


def test_a_store_that_hangs_does_not_hold_up_the_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, closed = Event(), Event()
    close = SqliteStore.close

    def close_late(self: SqliteStore) -> None:
        close(self)
        closed.set()

    monkeypatch.setattr(SqliteStore, "commit", lambda self: hold.wait())
    monkeypatch.setattr(SqliteStore, "close", close_late)
    mesh = gossipsync.open(data_dir=tmp_path)
    mesh.bucket("b")["a"] = 1
    began = monotonic()
    mesh.close()
    assert monotonic() - began < 2.5
    assert not closed.is_set()
    hold.set()
    assert closed.wait(10)


def test_a_store_that_fails_is_reported_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    is_full = True

    def commit(self: MemoryStore) -> None:
        if is_full:
            raise StoreFullError("planted")

    monkeypatch.setattr(MemoryStore, "commit", commit)
    with gossipsync.open() as mesh:
        bucket = mesh.bucket("b")
        receipt = bucket.put("a", 1)
        with pytest.raises(AckTimeoutError, match=r"has not stored it: .*planted"):
            receipt.wait("self", timeout=0.05)
        assert bucket["a"] == 1
        assert "store-failing" in mesh.status().warnings
        assert mesh.status().store_failure == "planted"
        is_full = False
        receipt.wait("self", timeout=5)
        assert "store-failing" not in mesh.status().warnings
        assert mesh.status().store_failure is None


def test_rules_of_the_settings_are_there_without_being_asked_for(tmp_path: Path) -> None:
    with gossipsync.open(data_dir=tmp_path, buckets={"b": {"kind": "set"}}) as mesh:
        assert [(bucket.name, bucket.kind) for bucket in mesh.status().buckets] == [("b", "set")]
        mesh.bucket("b").elements("a").add("x")
    with gossipsync.open(data_dir=tmp_path, buckets={"b": {"kind": "map"}}) as mesh:
        assert [bucket.kind for bucket in mesh.status().buckets] == ["set"]
        with pytest.raises(BucketKindError):
            mesh.bucket("b")


def test_a_bucket_asked_for_before_the_start_may_keep_it_from_starting(tmp_path: Path) -> None:
    with gossipsync.open(data_dir=tmp_path) as mesh:
        mesh.bucket("b", kind="set").elements("a").add("x")
    mesh = gossipsync.open(data_dir=tmp_path)
    mesh.bucket("b", kind="map")
    with pytest.raises(BucketKindError, match="announced with kind=set"):
        mesh.start()
    with gossipsync.open(data_dir=tmp_path) as mesh:
        assert mesh.bucket("b")["a"] == {"x"}


def test_closed_by_a_signal_handler_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = gossipsync.open()
    park = ThreadParker.park

    def interrupted(self: ThreadParker, timeout_s: float | None) -> bool:
        mesh.close()
        return park(self, timeout_s)

    monkeypatch.setattr(ThreadParker, "park", interrupted)
    before = engine_threads()
    with pytest.raises(ClosedError, match="while it started"):
        mesh.start()
    assert engine_threads() == before


def test_interrupted_while_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: ThreadParker, timeout_s: float | None) -> bool:
        raise KeyboardInterrupt

    mesh = gossipsync.open()
    with monkeypatch.context() as patch:
        patch.setattr(ThreadParker, "park", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mesh.start()
    for thread in threads():
        if thread.name == "gossipsync" and thread is not mesh._life._thread:
            thread.join(0.2)
    mesh.bucket("b")["a"] = 1
    mesh.close()


def test_celery_and_multiprocessing_close_it_where_they_end_without_exit_handlers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both end a child by `os._exit`: twelve celery tasks, each in a process of its own, had lost all their writes."""
    closers: list[Callable[[], object]] = []

    def connect(call: Callable[..., object], **_: object) -> None:
        closers.append(lambda: call(sender=None, pid=1, exitcode=0))

    def finalize(_: None, call: Callable[[], object], *, exitpriority: int) -> None:
        assert exitpriority < 0  # after the program's own
        closers.append(call)

    signals = SimpleNamespace(worker_process_shutdown=SimpleNamespace(connect=connect))
    monkeypatch.setitem(sys.modules, "celery.signals", signals)
    monkeypatch.setitem(sys.modules, "billiard.util", SimpleNamespace(Finalize=finalize))
    monkeypatch.setattr(_exits, "_registered", set())
    monkeypatch.setattr(_life, "_lives", WeakSet())  # of these two alone
    for _ in range(2):
        mesh = gossipsync.open()
        mesh.start()
    assert len(closers) == 2  # once a process, not once a mesh
    for close in closers:
        close()
    with pytest.raises(ClosedError):
        mesh.start()
