"""With limits full: threads wait for room up to a second, coroutines are told at once, nothing is written."""

import asyncio
from collections.abc import Iterator
from threading import Event, Thread
from time import monotonic

import pytest

import gossipsync
from gossipsync import Bucket
from gossipsync.embed import _binding
from gossipsync.errors import OverloadedError, WaitTimeoutError
from gossipsync.stores import SqliteStore

VALUE = b"x" * 250_000
PLENTY = 200  # times the value: half as much again as the limit on what waits for the store


class Gate:
    """Holds every commit back until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = Event()
        commit = SqliteStore.commit

        def held(store: SqliteStore) -> None:
            self.open.wait()
            commit(store)

        monkeypatch.setattr(SqliteStore, "commit", held)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open.set()


@pytest.fixture
def full(gate: Gate, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setattr(_binding, "PATIENCE_S", 0.05)
    with gossipsync.open(data_dir=tmp_path) as mesh:
        bucket = mesh.bucket("b")
        fill(bucket)
        yield bucket
        gate.open.set()


def fill(bucket: Bucket) -> None:
    def write() -> None:
        for number in range(PLENTY):
            bucket[f"{number}"] = VALUE

    with pytest.raises(OverloadedError):
        write()


def test_nothing_is_written(full: Bucket) -> None:
    before = len(full)
    for write in (
        lambda: full.__setitem__("new", 1),
        lambda: full.put("new", 1),
        lambda: full.delete("0"),
        lambda: full.update(new=1),
        lambda: full.touch("0", ttl=60),
        lambda: full.pop("0"),
        lambda: full.__delitem__("0"),
    ):
        try:
            write()
        except OverloadedError:
            continue
        assert write() is True  # a touch of what lives for ever writes nothing
    assert len(full) == before
    assert full["0"] == VALUE


def test_a_batch_is_not_written_either(full: Bucket) -> None:
    batch = full.batch()
    batch.__enter__()
    batch["new"] = 1
    with pytest.raises(OverloadedError):
        batch.__exit__(None, None, None)
    assert "new" not in full


def test_a_thread_waits_for_room(full: Bucket, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_binding, "PATIENCE_S", 10)
    writer = Thread(target=lambda: full.put("late", 1))
    writer.start()
    assert "late" not in full
    gate.open.set()
    writer.join(10)
    assert full["late"] == 1


def test_a_thread_waits_no_longer_than_a_second(
    full: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert _binding.PATIENCE_S == 1.0
    monkeypatch.setattr(_binding, "PATIENCE_S", 0.2)
    began = monotonic()
    with pytest.raises(OverloadedError):
        full["late"] = 1
    assert 0.2 <= monotonic() - began < 1


def test_a_coroutine_is_told_at_once_and_may_wait(gate: Gate, tmp_path: object) -> None:
    async def main() -> None:
        async with gossipsync.open_async(data_dir=tmp_path) as mesh:
            bucket = mesh.bucket("b")
            fill(bucket)  # type: ignore[arg-type]
            began = monotonic()
            with pytest.raises(OverloadedError):
                bucket["late"] = 1
            assert monotonic() - began < 0.5
            with pytest.raises(WaitTimeoutError, match="no room"):
                await bucket.wait_writable(timeout=0.01)
            gate.open.set()
            await bucket.wait_writable(timeout=10)
            bucket["late"] = 1

    asyncio.run(main())


def test_status_says_so(full: Bucket) -> None:
    assert "overloaded" in full._binding._life.engine().status().warnings
