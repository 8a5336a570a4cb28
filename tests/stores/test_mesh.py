"""Real meshes of two peers with their data on a server: killed with SIGKILL and started again, they find every confirmed write."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import gossipsync
from gossipsync.runtime.trust.cluster_key import keygen
from tests.stores import servers

ROOT = Path(__file__).parents[2]
PEER = """
import sys, gossipsync
name, folder, url, key, seed, count = sys.argv[1:]
with gossipsync.open(
    name=name, data_dir=folder, store=url, cluster_key=key, seeds=[seed] if seed else [], listen="127.0.0.1:0"
) as mesh:
    bucket = mesh.bucket("b")
    print(mesh.address, flush=True)
    for number in range(int(count)):
        bucket.put(f"{name}-{number}", number, ack="self")
        print(number, flush=True)
    sys.stdin.read()
"""


def start(stack, name, folder, url, key, seed, count):
    process = subprocess.Popen(
        [sys.executable, "-c", PEER, name, str(folder), url, key, seed, str(count)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    stack.enter_context(process)
    stack.callback(process.kill)
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize("kind", sorted(servers.KINDS))
def test_sigkill_loses_no_confirmed_write(kind, tmp_path):
    url = servers.running(kind).url
    key = keygen()
    with ExitStack() as stack:
        first, address = start(stack, "one", tmp_path / "one", url, key, "", 100_000)
        second, _ = start(stack, "two", tmp_path / "two", url, key, address, 100_000)
        for process in (first, second):
            for _ in range(100):
                process.stdout.readline()
            process.kill()
        said = {
            name: [99, *map(int, process.stdout.read().split())][-1]
            for name, process in (("one", first), ("two", second))
        }
    for name, last in said.items():
        # Alone: what is there comes from the server and from nobody else.
        with gossipsync.open(
            name=name, data_dir=tmp_path / name, store=url, cluster_key=key, listen="127.0.0.1:0"
        ) as mesh:
            found = mesh.bucket("b")
            assert [found[f"{name}-{number}"] for number in range(last + 1)] == list(
                range(last + 1)
            )
