"""SIGTERM to a program that does not handle it: the mesh says goodbye, and the process dies of the signal."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import gossipsync
from gossipsync.runtime.trust import keygen

PROGRAM = """
import sys, threading
import gossipsync

mesh = gossipsync.open(cluster_key=sys.argv[1], seeds=[sys.argv[2]], data_dir=sys.argv[3], name="ender")
mesh.wait_members(2, timeout=10)
bucket = mesh.bucket("b")
print("ready", flush=True)
{rest}
"""
WAITING = "threading.Event().wait()"
WRITING = """
try:
    while True:
        bucket.put("n", 1, ack="self")
except gossipsync.ClosedError:
    threading.Event().wait()
"""


def _end(process: "subprocess.Popen[str]") -> int:
    """Python runs no handler while its main thread sleeps, should the signal have come in the moment before: the next one wakes it."""
    for _ in range(10):
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=2)
    process.kill()
    raise AssertionError("it does not end")


@pytest.mark.parametrize("rest", [WAITING, WRITING], ids=["waiting", "writing"])
def test_the_mesh_hears_a_goodbye_and_the_process_dies_of_the_signal(
    rest: str, tmp_path: Path
) -> None:
    key = keygen()
    with gossipsync.open(cluster_key=key, data_dir=tmp_path / "here") as mesh:
        mesh.start()
        program = PROGRAM.format(rest=rest)
        command = [sys.executable, "-c", program, key, str(mesh.address), str(tmp_path / "there")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ender:
            assert ender.stdout is not None
            assert ender.stdout.readline() == "ready\n"
            assert _end(ender) == -signal.SIGTERM
        states = {member.name: member.state for member in mesh.members()}
        assert states["ender"] == "away"


def test_a_handler_of_the_programs_own_stays(tmp_path: Path) -> None:
    program = """
import signal
import gossipsync

signal.signal(signal.SIGTERM, lambda *_: print("mine", flush=True))
with gossipsync.open() as mesh:
    mesh.bucket("b")["k"] = 1
    signal.raise_signal(signal.SIGTERM)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "mine\n", "")
