"""The same scenario under asyncio and under trio; the engine has a thread of its own in both."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from threading import enumerate as threads
from time import monotonic
from types import ModuleType

import pytest
import trio

import gossipsync
from gossipsync import AsyncMesh, Change
from gossipsync.errors import (
    AckTimeoutError,
    BucketKindError,
    ClosedError,
    ConfigError,
    TokenError,
    ValueTypeError,
    WaitTimeoutError,
)

Main = Callable[[ModuleType], Coroutine[object, object, None]]


def run_asyncio(main: Main) -> None:
    asyncio.run(main(asyncio), debug=True)


def run_trio(main: Main) -> None:
    trio.run(main, trio)


both = pytest.mark.parametrize("run", [run_asyncio, run_trio])


@both
def test_a_session(run: Callable[[Main], None]) -> None:
    async def main(_: ModuleType) -> None:
        async with gossipsync.open_async(name="lone") as mesh:
            assert isinstance(mesh, AsyncMesh)
            assert mesh.status().state == "alone"
            sessions = mesh.bucket("sessions", kind="map", ttl=60)
            sessions["sid"] = {"user": 7}
            sessions.fields("sid")["cart"] = [1]
            assert sessions["sid"] == {"user": 7, "cart": [1]}
            receipt = sessions.put("other", {})
            await receipt.wait("self", timeout=5)
            await receipt.wait("majority")
            await receipt.wait(0)
            assert receipt.acked_by == ()
            with pytest.raises(AckTimeoutError, match="0 of 2") as caught:
                await receipt.wait(2, timeout=0.01)
            assert (caught.value.acked_by, caught.value.needed) == ((), 2)
            with sessions.batch() as b:
                b["x"] = {}
                del b["other"]
            assert b.receipt is not None
            await b.receipt.wait("self")
            assert sessions.delete("x").key == "x"
            await mesh.wait_for(receipt.token, timeout=0.05)
            await mesh.wait_members(1)
            await mesh.wait_synced(timeout=1)
            await sessions.wait_writable()

    run(main)


@both
def test_watching(run: Callable[[Main], None]) -> None:
    async def main(_: ModuleType) -> None:
        async with gossipsync.open_async() as mesh:
            flags = mesh.bucket("flags")
            flags["a"] = True
            seen: list[Change] = []
            async for change in flags.watch(timeout=0.02):
                seen.append(change)
                if change.key == "a":
                    flags["b"] = False
            assert [(change.kind, change.key) for change in seen] == [
                ("present", "a"),
                ("put", "b"),
            ]
            rest = [each async for each in flags.watch(since=seen[0].cursor, timeout=0)]
            assert [each.key for each in rest] == ["b"]

    run(main)


@both
def test_errors(run: Callable[[Main], None]) -> None:
    async def main(_: ModuleType) -> None:
        async with gossipsync.open_async() as mesh:
            bucket = mesh.bucket("b")
            with pytest.raises(ValueTypeError):
                bucket["a"] = object()
            with pytest.raises(BucketKindError):
                bucket.counter("a")
            with pytest.raises(TokenError):
                await mesh.wait_for("nonsense")
            with pytest.raises(WaitTimeoutError) as caught:
                await mesh.wait_members(2, timeout=0)
            assert isinstance(caught.value, TimeoutError)
            with pytest.raises(ConfigError):
                await bucket.put("a", 1).wait("zone")
            with pytest.raises(ConfigError):
                await mesh.connect("127.0.0.1:1")
        with pytest.raises(ClosedError):
            bucket["a"]
        with pytest.raises(ClosedError):
            await mesh.wait_members(1)
        await mesh.close()

    run(main)


@both
def test_a_start_that_fails(run: Callable[[Main], None], tmp_path: object) -> None:
    async def main(_: ModuleType) -> None:
        async with gossipsync.open_async(data_dir=tmp_path):
            with pytest.raises(gossipsync.StoreLockedError):
                async with gossipsync.open_async(data_dir=tmp_path):
                    raise AssertionError

    run(main)


@both
def test_a_blocked_loop_does_not_stop_the_engine(run: Callable[[Main], None]) -> None:
    async def main(_: ModuleType) -> None:
        async with gossipsync.open_async() as mesh:
            receipt = mesh.bucket("b").put("a", 1)
            until = monotonic() + 5
            while not receipt._is_acked("self"):  # a loop that never lets go
                assert monotonic() < until

    run(main)


@both
def test_a_cancelled_wait_leaves_nothing_behind(run: Callable[[Main], None]) -> None:
    async def main(library: ModuleType) -> None:
        async with gossipsync.open_async() as mesh:
            engine = mesh._life.engine()

            async def forever() -> None:
                await mesh.wait_members(2)

            await _cancelled(library, forever)
            assert len(engine.waiters) == 0

    run(main)


async def _cancelled(library: ModuleType, call: Callable[[], Awaitable[None]]) -> None:
    if library is trio:
        with trio.move_on_after(0.01):
            await call()
        return
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await call()


@both
def test_cancelled_while_starting(run: Callable[[Main], None]) -> None:
    async def main(library: ModuleType) -> None:
        async def start() -> None:
            async with gossipsync.open_async():
                raise AssertionError

        if library is trio:
            with trio.CancelScope() as scope:
                scope.cancel()
                await start()
        else:
            task = asyncio.ensure_future(start())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main)
    for thread in threads():
        if thread.name == "gossipsync" and thread.daemon:
            thread.join(0.5)


@both
def test_events(run: Callable[[Main], None]) -> None:
    async def main(_: ModuleType) -> None:
        mesh_of: list[AsyncMesh] = []
        async with gossipsync.open_async() as mesh:
            mesh_of.append(mesh)
            events = mesh.events()
        seen = [event.kind async for event in events]
        assert seen == ["state-changed"]

    run(main)
