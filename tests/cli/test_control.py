"""The control socket's serving side: its file, its callers, what garbage and strangers get."""

import os
import socket
import stat
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from threading import RLock
from types import SimpleNamespace

import pytest
import trio
import trio.testing

from gossipsync.cli._caller import Caller
from gossipsync.core.model import strict
from gossipsync.errors import ConfigError, InternalError, LocalError, OverloadedError
from gossipsync.runtime import control
from gossipsync.runtime.control_protocol import Failed, Frames, Request, parse_reply
from gossipsync.runtime.control_socket import bind_control_socket, is_welcome
from gossipsync.runtime.control_waits import SendPart
from gossipsync.runtime.waiters import Waiters


class Engine(SimpleNamespace):
    """As much of an engine as `get` on an unknown bucket, and `watch`, need."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(
            settings=SimpleNamespace(data_dir=data_dir, buckets={}),
            gate=SimpleNamespace(is_open=True),
            lock=RLock(),
            waiters=Waiters(),
            peer=SimpleNamespace(replicas={}, epoch=1),
            now=lambda: SimpleNamespace(wall_ms=0),
        )


GET = Request("get", {"bucket": "b", "key": "k"}).encoded()


@pytest.fixture
async def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


@pytest.fixture
async def path(tmp_path: Path, engine: Engine, nursery: trio.Nursery) -> AsyncIterator[Path]:
    path: Path = await nursery.start(control.serve, engine, tmp_path / "s")
    yield path
    nursery.cancel_scope.cancel()


async def ask(stream: trio.SocketStream, data: bytes) -> object:
    await stream.send_all(data)
    return await reply(stream)


async def reply(stream: trio.SocketStream) -> object:
    frames = Frames(1 << 20)
    while True:
        data = await stream.receive_some()
        assert data, "hung up"
        for body in frames.feed(bytes(data)):
            return parse_reply(body)


async def await_hang_up(stream: trio.SocketStream) -> None:
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        pass


async def test_one_connection_serves_many_requests(path: Path) -> None:
    async with await trio.open_unix_socket(path) as stream:
        for _ in range(3):
            answer = await ask(stream, GET)
            assert getattr(answer, "result", None) == {"found": False, "value": None}


async def test_a_request_may_come_byte_by_byte(path: Path) -> None:
    async with await trio.open_unix_socket(path) as stream:
        for byte in GET[:-1]:
            await stream.send_all(bytes([byte]))
        assert await ask(stream, GET[-1:])


GARBAGE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\xff\xff\xff\xff",
    (1 << 20 | 1).to_bytes(4, "big"),
    b"\x00\x00\x00\x00",
    b"\x00\x00\x00\x03\xff\xff\xff",
    len(strict.encode([9])).to_bytes(4, "big") + strict.encode([9]),
    GET + GET,
    GET + b"\x00",
    os.urandom(4096),
]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_ends_its_own_connection_only(path: Path, garbage: bytes) -> None:
    async with (
        await trio.open_unix_socket(path) as honest,
        await trio.open_unix_socket(path) as other,
    ):
        assert await ask(honest, GET)
        await other.send_all(garbage)
        with trio.fail_after(5):
            await await_hang_up(other)
        assert await ask(honest, GET)


async def test_a_caller_of_another_version_is_told_in_words(path: Path) -> None:
    async with await trio.open_unix_socket(path) as stream:
        body = strict.encode([2, "get", {"bucket": "b", "key": "k"}])
        answer = await ask(stream, len(body).to_bytes(4, "big") + body)
        assert isinstance(answer, Failed)
        assert "speaks control protocol 2, this peer speaks 1" in answer.message
        with trio.fail_after(5):
            await await_hang_up(stream)


@pytest.mark.parametrize(
    "request_",
    [
        Request("get", {}),
        Request("get", {"bucket": 1, "key": "k"}),
        Request("get", {"bucket": "b", "key": b"k"}),
        Request("watch", {"bucket": "b", "prefix": "", "timeout_s": -1}),
        Request("watch", {"bucket": "b", "prefix": "", "timeout_s": True}),
        Request("keys", {"bucket": "b"}),
        Request("sadd", {"bucket": "b", "key": "k", "elements": ["a", 1]}),
        Request("put", {"bucket": "b", "key": "k", "value": b"\xff"}),
        Request("put", {"bucket": "b", "key": "k", "value": "text"}),
    ],
)
async def test_wrong_arguments_are_an_error_and_no_more(path: Path, request_: Request) -> None:
    async with await trio.open_unix_socket(path) as stream:
        answer = await ask(stream, request_.encoded())
        assert isinstance(answer, Failed)
        assert isinstance(answer.error(), LocalError)
        assert await ask(stream, GET)


async def test_an_unknown_operation(path: Path) -> None:
    async with await trio.open_unix_socket(path) as stream:
        answer = await ask(stream, Request("fly", {}).encoded())
        assert isinstance(answer, Failed)
        assert "fly" in answer.message


@pytest.mark.plants_bugs
async def test_a_bug_in_an_operation_reaches_the_caller_and_nobody_else(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with await trio.open_unix_socket(path) as stream:
        answer = await ask(stream, Request("status", {}).encoded())  # this Engine has none
        assert isinstance(answer, Failed)
        assert isinstance(answer.error(), InternalError)
        assert await ask(stream, GET)
    assert "Traceback" in caplog.text


async def test_callers_are_limited_and_slots_come_back(path: Path) -> None:
    async with trio.open_nursery() as nursery:
        streams = [await trio.open_unix_socket(path) for _ in range(32)]
        for stream in streams:
            assert await ask(stream, GET)
        async with await trio.open_unix_socket(path) as late:
            refusal = await reply(late)
            assert isinstance(refusal, Failed)
            assert isinstance(refusal.error(), OverloadedError)
            await await_hang_up(late)
        for stream in streams:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        async with await trio.open_unix_socket(path) as stream:
            assert await ask(stream, GET)
        nursery.cancel_scope.cancel()


async def test_who_goes_away_while_waiting_leaves_nothing_behind(
    path: Path, engine: Engine
) -> None:
    stream = await trio.open_unix_socket(path)
    watch = Request("watch", {"bucket": "b", "prefix": "", "since": None, "timeout_s": None})
    await stream.send_all(watch.encoded())
    while not len(engine.waiters):
        await trio.lowlevel.checkpoint()
    await stream.aclose()
    with trio.fail_after(5):
        while len(engine.waiters):
            await trio.lowlevel.checkpoint()


async def test_who_speaks_out_of_turn_is_hung_up_on(path: Path, engine: Engine) -> None:
    async with await trio.open_unix_socket(path) as stream:
        watch = Request("watch", {"bucket": "b", "prefix": "", "since": None, "timeout_s": None})
        await stream.send_all(watch.encoded())
        while not len(engine.waiters):
            await trio.lowlevel.checkpoint()
        await stream.send_all(GET)
        with trio.fail_after(5):
            await await_hang_up(stream)


async def _flood(engine: object, arguments: object, send_part: SendPart) -> object:
    while True:
        await send_part(b"x" * 60_000)


async def test_who_goes_away_in_the_middle_of_an_answer_ends_only_that(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(control.OPERATIONS, "flood", _flood)
    for limit in (1, 100_000, 1_000_000):
        stream = await trio.open_unix_socket(path)
        await stream.send_all(Request("flood", {}).encoded())
        received = 0
        while received < limit:
            received += len(await stream.receive_some())
        await stream.aclose()
    async with await trio.open_unix_socket(path) as stream:
        assert await ask(stream, GET)
    assert "Traceback" not in caplog.text


async def test_who_does_not_read_is_hung_up_on(
    path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(control.OPERATIONS, "flood", _flood)
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(Request("flood", {}).encoded())
        began_s = trio.current_time()
        await trio.sleep(60)
        with trio.fail_after(1):
            await await_hang_up(stream)
        assert trio.current_time() - began_s < 62


@pytest.mark.parametrize("begun", [b"", GET[:5]])
async def test_an_idle_caller_is_hung_up_on(
    path: Path, autojump_clock: trio.testing.MockClock, begun: bytes
) -> None:
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(begun) if begun else None
        began_s = trio.current_time()
        await await_hang_up(stream)
        assert trio.current_time() - began_s == pytest.approx(30, abs=1)


# -- the file ----------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_modes_and_removal(tmp_path: Path, engine: Engine) -> None:
    folder = trio.Path(tmp_path)
    await folder.chmod(0o755)
    async with trio.open_nursery() as nursery:
        path: Path = await nursery.start(control.serve, engine, tmp_path / "s")
        assert mode(path) == 0o600
        assert mode(tmp_path) == 0o700
        nursery.cancel_scope.cancel()
    assert not list(await folder.iterdir())


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    bound = bind_control_socket(tmp_path / "new" / "s", is_own_folder=False)
    assert mode(tmp_path / "new") == 0o700
    bound.close()


def test_a_folder_that_others_may_change_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="chmod 700"):
        bind_control_socket(folder / "s", is_own_folder=False)
    assert list(folder.iterdir()) == []
    assert mode(folder) == 0o777


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    first = bind_control_socket(path, is_own_folder=True)
    with pytest.raises(ConfigError, match="another peer listens"):
        bind_control_socket(path, is_own_folder=True)
    assert path.exists()
    first.close()
    assert not path.exists()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("file", "link"):
        with pytest.raises(ConfigError, match="no socket"):
            bind_control_socket(tmp_path / name, is_own_folder=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_closing_removes_only_its_own_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    bound = bind_control_socket(path, is_own_folder=True)
    path.unlink()
    path.write_text("somebody else's")
    bound.close()
    assert path.read_text() == "somebody else's"


def test_who_is_welcome() -> None:
    assert is_welcome(os.geteuid())
    assert is_welcome(0)
    assert not is_welcome(os.geteuid() + 65_000)


STRANGER = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
caller = socket.socket(socket.AF_UNIX)
try:
    caller.connect(sys.argv[1])
    print(caller.recv(4096).hex())
except PermissionError:
    print("refused by the file system")
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def _as_stranger(path: trio.Path) -> str:
    command = [sys.executable, "-I", "-c", STRANGER, str(path)]
    done = await trio.run_process(command, capture_stdout=True)
    return done.stdout.decode().strip()


@pytest.mark.skipif(
    os.geteuid() != 0, reason="not on this platform: only root can become another user"
)
async def test_another_user_is_refused_twice(
    open_folder: Path, engine: Engine, nursery: trio.Nursery
) -> None:
    path = trio.Path(await nursery.start(control.serve, engine, open_folder / "s"))
    assert await _as_stranger(path) == "refused by the file system"
    await path.chmod(0o666)
    [body] = Frames(4096).feed(bytes.fromhex(await _as_stranger(path)))
    refusal = parse_reply(body)
    assert isinstance(refusal, Failed)
    assert refusal.code == "not-permitted"


async def test_the_blocking_caller_hears_why_it_was_turned_away(path: Path) -> None:
    streams = [await trio.open_unix_socket(path) for _ in range(32)]
    for stream in streams:
        assert await ask(stream, GET)

    def call() -> None:
        with Caller(path) as caller:
            caller.ask("get", bucket="b" * 300_000, key="k")

    for _ in range(5):
        with pytest.raises(OverloadedError):
            await trio.to_thread.run_sync(call)
    for stream in streams:
        await stream.aclose()


async def test_an_interrupted_reply_is_not_taken_for_the_next_one(
    path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call() -> None:
        with Caller(path) as caller:
            next_reply = caller._next_reply

            def interrupted() -> object:
                monkeypatch.setattr(caller, "_next_reply", next_reply)
                raise KeyboardInterrupt

            monkeypatch.setattr(caller, "_next_reply", interrupted)
            with pytest.raises(KeyboardInterrupt):
                caller.ask("get", bucket="b", key="k")
            engine.peer.replicas["b"] = SimpleNamespace(read=lambda *_: 7)
            assert caller.ask_fields("get", bucket="b", key="k")["found"] is True

    await trio.to_thread.run_sync(call)


def test_the_caller_asks_nobody_elses_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        stranger = struct.pack("=iII", 1, 4712, 4712)
        monkeypatch.setattr(socket.socket, "getsockopt", lambda *_: stranger)
        with pytest.raises(LocalError, match="4712"):
            Caller(path)
