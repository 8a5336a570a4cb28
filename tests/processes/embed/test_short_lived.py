"""Processes that write and end at once: another member has the writes, or the process says how many are lost.

Before closing handed over, each of these programs ended with exit status 0, an empty stderr, and its write on no other peer.
"""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import gossipsync
from gossipsync.runtime.trust import keygen

OPEN = """
import asyncio, multiprocessing, os, signal, sys, threading, time
import gossipsync

settings = dict(cluster_key=sys.argv[1], seeds=[sys.argv[2]], name="job")
rules = dict(kind="value", ttl=600, deletes="tombstone")  # known here, so that a put does not wait for the mesh
"""
WRITE = """
mesh = gossipsync.open(**settings)
mesh.bucket("s", **rules)["k"] = 1
"""
ENDS = {
    "exit": "",
    "close": "assert mesh.close() == 0",
    "leave": "mesh.leave()",
    "sys-exit": "sys.exit(3)",
    "exception": "raise ValueError('of the program')",
    "thread": "threading.Thread(target=sys.exit).start()",
    "thread-closes": "threading.Thread(target=mesh.close, daemon=True).start()",
    "sigterm": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)",
    "interrupt": "signal.raise_signal(signal.SIGINT)",
}
CODES = {"sys-exit": 3, "exception": 1, "sigterm": -signal.SIGTERM, "interrupt": -signal.SIGINT}
WHOLE = {
    "with": """
try:
    with gossipsync.open(**settings) as mesh:
        mesh.bucket("s")["k"] = 1
        raise ValueError("of the program")
except ValueError:
    pass
""",
    "asyncio": """
async def main():
    async with gossipsync.open_async(**settings) as mesh:
        mesh.bucket("s")["k"] = 1

asyncio.run(main())
""",
    "asyncio-cancelled": """
async def main():
    async with gossipsync.open_async(**settings) as mesh:
        mesh.bucket("s")["k"] = 1
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

try:
    asyncio.run(main())
except asyncio.CancelledError:
    pass
""",
    "fork": """
mesh = gossipsync.open(**settings)
pid = os.fork()
if pid == 0:
    mesh.bucket("s")["k"] = 1
    sys.exit(0)
os.waitpid(pid, 0)
""",
    "multiprocessing": """
mesh = gossipsync.open(**settings)

def job():
    mesh.bucket("s")["k"] = 1

child = multiprocessing.get_context("fork").Process(target=job)
child.start()
child.join()
sys.exit(child.exitcode)
""",
    "pool": """
import concurrent.futures
mesh = gossipsync.open(**settings)

def job():
    mesh.bucket("s")["k"] = 1

with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
    pool.submit(job).result()
""",
    "terminated-child": """
mesh = gossipsync.open(**settings)

def job():
    mesh.bucket("s")["k"] = 1
    os.write(writer, b"x")
    time.sleep(20)

reader, writer = os.pipe()
child = multiprocessing.get_context("fork").Process(target=job)
child.start()
os.read(reader, 1)
child.terminate()
child.join()
""",
}


def run(program: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-c", OPEN + program, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def key() -> str:
    return keygen()


@pytest.fixture
def keeper(key: str, tmp_path: Path) -> Iterator[gossipsync.Mesh]:
    with gossipsync.open(cluster_key=key, name="keeper", socket=tmp_path / "keeper.sock") as mesh:
        yield mesh


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def refusing() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def arrived(keeper: gossipsync.Mesh, key: str = "k") -> bool:
    """The ending process has waited until it was stored there, so nothing needs to be waited for here."""
    return keeper.bucket("s").get(key) == 1


@pytest.mark.parametrize("end", ENDS)
def test_a_write_survives_however_the_process_ends(
    end: str, key: str, keeper: gossipsync.Mesh
) -> None:
    done = run(WRITE + ENDS[end], key, keeper.address)
    assert done.returncode == CODES.get(end, 0), done.stderr
    assert "lost" not in done.stderr
    assert arrived(keeper)


@pytest.mark.parametrize("way", WHOLE)
def test_a_write_survives_in_children_and_in_async_code(
    way: str, key: str, keeper: gossipsync.Mesh
) -> None:
    done = run(WHOLE[way], key, keeper.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert arrived(keeper)


def test_thousands_of_writes_right_before_the_end(key: str, keeper: gossipsync.Mesh) -> None:
    program = """
mesh = gossipsync.open(**settings)
mesh.bucket("s").update({f"k{i}": i for i in range(5000)})
assert mesh.close() == 0
"""
    done = run(program, key, keeper.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(keeper.bucket("s")) == 5000


@pytest.mark.parametrize("where", ["silent", "refusing"])
def test_lost_writes_are_said(where: str, key: str, request: pytest.FixtureRequest) -> None:
    address = request.getfixturevalue(where)
    three = "mesh = gossipsync.open(**settings)\nb = mesh.bucket('s', **rules)\nb['k'] = b['l'] = b['m'] = 1\n"
    began_s = time.monotonic()
    done = run(three, key, address)
    assert done.returncode == 0
    assert "3 writes of peer 'job' may be lost" in done.stderr
    assert time.monotonic() - began_s < 20
    done = run(three + "print(mesh.close(), mesh.close())", key, address)
    assert done.stdout == "3 3\n"
    done = run(three + "mesh.leave()", key, address)
    assert done.returncode == 1
    assert "HandOverError" in done.stderr
    done = run("import logging; logging.basicConfig(level='ERROR')\n" + three, key, address)
    assert "ERROR:gossipsync.peer:writes-lost count=3" in done.stderr
    assert done.stderr.count("lost") == 1  # a log handler shows it: no second line


def test_a_peer_with_a_folder_keeps_its_writes_for_the_next_start(
    key: str, refusing: str, keeper: gossipsync.Mesh, tmp_path: Path
) -> None:
    program = f"settings['data_dir'] = {str(tmp_path / 'job')!r}\n" + WRITE
    done = run(program + "assert mesh.close() == 0", key, refusing)
    assert (done.returncode, done.stderr) == (0, "")
    again = (
        f"settings['data_dir'] = {str(tmp_path / 'job')!r}\nmesh = gossipsync.open(**settings)\n"
    )

    def tell_the_job() -> None:
        for change in keeper.bucket("s").watch(timeout=20):
            keeper.bucket("seen")[change.key] = 1
            break

    telling = threading.Thread(target=tell_the_job)
    telling.start()
    waits = "mesh.start()\nfor change in mesh.bucket('seen').watch(timeout=20): break\n"
    done = run(again + waits, key, keeper.address)
    telling.join()
    assert (done.returncode, done.stderr) == (0, "")
    assert arrived(keeper)


def test_alone_nothing_is_said_and_nothing_is_waited_for() -> None:
    program = "mesh = gossipsync.open()\nmesh.bucket('s')['k'] = 1\nassert mesh.close() == 0"
    done = run(program, "", "")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_first_use_of_a_forked_child_waits_anew(key: str, keeper: gossipsync.Mesh) -> None:
    keeper.bucket("v", kind="value")["old"] = 1
    program = """
mesh = gossipsync.open(**settings, start_wait=600)
assert mesh.bucket("v").get("old") == 1       # the parent is ready
pid = os.fork()
if pid == 0:
    os._exit(mesh.bucket("v").get("old"))     # a peer of its own, which has nothing yet
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    done = run(program, key, keeper.address)
    assert (done.returncode, done.stderr) == (1, "")
