"""Acks by zone, and writes that are ordered after what a cookie stands for, between real peers whose clocks disagree."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

import gossipsync
from gossipsync import Mesh
from gossipsync.embed import AsyncMesh
from gossipsync.errors import AckTimeoutError, TokenError
from gossipsync.runtime.clock import ManualClock
from gossipsync.runtime.sources import load_settings
from gossipsync.runtime.trust import keygen
from tests.network.embed.conftest import Spawn

SpawnLate = Callable[..., Mesh]
BEHIND_S = 40.0
WAIT_S = 10.0


def clock_at(offset_s: float) -> ManualClock:
    clock = ManualClock()
    clock.advance(offset_s)
    return clock


@pytest.fixture
def spawn_late(settings: Callable[..., dict[str, object]]) -> Iterator[SpawnLate]:
    """Start a member whose clock is behind."""
    with ExitStack() as stack:

        def start(name: str, *seeds: str | None, **more: object) -> Mesh:
            given = load_settings(given=settings(name, *seeds, **more))
            return stack.enter_context(Mesh(given, clock_at(-BEHIND_S)))

        yield start


@pytest.mark.parametrize("deletes", ["tombstone", "final"])
def test_a_logout_wins_over_the_session_it_has_not_seen(
    spawn: Spawn, spawn_late: SpawnLate, deletes: str
) -> None:
    """The founding story: modified at A, logged out at B, which is cut off and whose clock is behind."""
    a = spawn("a")
    c = spawn("c", a.address)
    b = spawn_late("b")
    how = {"kind": "map", "ttl": 1800, "deletes": deletes}
    for mesh in (a, b, c):
        mesh.bucket("sessions", **how)
    cookie = a.bucket("sessions").put("sid", {"user": 7}).token
    assert len(cookie) <= 64
    assert "sid" not in b.bucket("sessions")
    receipt = b.bucket("sessions").delete("sid", after=cookie)
    b.connect(a.address)
    for mesh in (a, c):
        mesh.wait_for(receipt.token, timeout=WAIT_S)
        assert "sid" not in mesh.bucket("sessions")
    b.wait_for(cookie, timeout=WAIT_S)
    assert "sid" not in b.bucket("sessions")


def test_without_its_token_the_late_clock_loses(spawn: Spawn, spawn_late: SpawnLate) -> None:
    """So it is the token that decides above."""
    a, b = spawn("a"), spawn_late("b")
    a.bucket("sessions")["sid"] = 1
    receipt = b.bucket("sessions").delete("sid")
    b.connect(a.address)
    a.wait_for(receipt.token, timeout=WAIT_S)
    assert a.bucket("sessions")["sid"] == 1


def test_put_and_batch_after_a_token(spawn: Spawn, spawn_late: SpawnLate) -> None:
    a, b = spawn("a"), spawn_late("b")
    with a.bucket("b").batch() as batch:
        batch["k"] = batch["l"] = "first"
    assert batch.receipt is not None
    late = b.bucket("b")
    late.put("k", "second", after=batch.receipt.token)
    with late.batch(after=a.token()) as again:
        again["l"] = "second"
        again["m"] = "third"
    assert again.receipt is not None
    assert again.receipt.hlc > batch.receipt.hlc
    b.connect(a.address)
    a.wait_for(again.receipt.token, timeout=WAIT_S)
    assert dict(a.bucket("b")) == {"k": "second", "l": "second", "m": "third"}


def test_the_same_for_coroutines(spawn: Spawn, settings: Callable[..., dict[str, object]]) -> None:
    a = spawn("a")
    first = a.bucket("b").put("k", "first").token
    a.bucket("b")["l"] = a.bucket("b")["m"] = "first"
    second = a.token()

    async def main() -> None:
        b = AsyncMesh(load_settings(given=settings("b")), clock_at(-BEHIND_S))
        await b.start()
        try:
            late = b.bucket("b")
            late.put("k", "second", after=first)
            late.delete("l", after=second)
            with late.batch(after=second) as batch:
                batch["m"] = "second"
            for call in (
                lambda: late.put("k", 0, after="nonsense"),
                lambda: late.delete("k", after="nonsense"),
                lambda: late.batch(after="nonsense").__enter__(),
            ):
                with pytest.raises(TokenError):
                    call()
            await b.connect(str(a.address))
            assert batch.receipt is not None
            await asyncio.to_thread(a.wait_for, batch.receipt.token, timeout=WAIT_S)
        finally:
            await b.close()

    asyncio.run(main())
    assert dict(a.bucket("b")) == {"k": "second", "m": "second"}


def test_a_bad_token_writes_nothing(
    spawn: Spawn, settings: Callable[..., dict[str, object]]
) -> None:
    a = spawn("a")
    bucket = a.bucket("b")
    with gossipsync.open(**settings("foreign", cluster_key=keygen())) as foreign:
        of_another = foreign.token()
    with Mesh(load_settings(given=settings("fast")), clock_at(61)) as fast:
        ahead = fast.bucket("b").put("k", 1).token
    cut = bucket.put("there", 1).token[:-4]
    for token in (of_another, ahead, cut, "", "é", 7):
        for call in (
            lambda: bucket.put("k", 1, after=token),  # noqa: B023 - called at once
            lambda: bucket.delete("there", after=token),  # noqa: B023
            lambda: bucket.batch(after=token).__enter__(),  # noqa: B023
            lambda: a.wait_for(token),  # noqa: B023
        ):
            with pytest.raises(TokenError):
                call()
    assert dict(bucket) == {"there": 1}


@pytest.mark.parametrize("ack", [1, 2, "majority", "all", "zones"])
def test_who_has_acknowledged_has_it_on_disk(spawn: Spawn, tmp_path: Path, ack: int | str) -> None:
    """Asked of the files, at the moment at which the call returns."""
    a = spawn("a", data_dir=tmp_path / "a", zone="north")
    folders = {a.peer_id: tmp_path / "a"}
    for name, zone in (("b", "north"), ("c", "south")):
        folders[spawn(name, a.address, data_dir=tmp_path / name, zone=zone).peer_id] = (
            tmp_path / name
        )
    a.wait_members(3, timeout=WAIT_S)
    bucket = a.bucket("b")
    for number in range(10):
        marker = f"marker {number} of {ack}".encode()
        receipt = bucket.put(f"k{number}", marker, ack=ack, timeout=WAIT_S)
        assert len(receipt.acked_by) >= {1: 1, "majority": 1}.get(ack, 2)
        for peer_id in (a.peer_id, *receipt.acked_by):
            assert any(marker in blob for blob in blobs_of(folders[peer_id] / "journal.db"))


def blobs_of(path: Path) -> Iterator[bytes]:
    """Every blob that is committed, whatever the tables."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for row in connection.execute(f"SELECT * FROM {table}"):
                yield from (column for column in row if isinstance(column, bytes))


def test_one_in_each_zone(spawn: Spawn) -> None:
    a = spawn("a", zone="north")
    b = spawn("b", a.address, zone="north")
    c = spawn("c", a.address, zone="south")
    a.wait_members(3, timeout=WAIT_S)
    receipt = a.bucket("b").put("k", 1, ack="zones", timeout=WAIT_S)
    assert set(receipt.acked_by) == {b.peer_id, c.peer_id}
    with a.bucket("b").batch(ack="zones", timeout=WAIT_S) as batch:
        batch["k"] = 2
    c.close()
    with pytest.raises(AckTimeoutError, match="not 'south'") as caught:
        a.bucket("b").put("k", 3, ack="zones", timeout=0.3)
    assert (caught.value.acked_by, caught.value.needed) == ((b.peer_id,), 2)
    assert a.bucket("b")["k"] == 3
