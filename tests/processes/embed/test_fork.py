"""Forked children and interpreter exits: programs run in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

import gossipsync
from gossipsync.runtime.trust import keygen

# A child reports by its exit status; what fails in it is printed and makes the status 1.
PRELUDE = """
import os, sys, threading, traceback, warnings
import gossipsync
from gossipsync.runtime.trust import keygen

def in_child(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that forking with threads is risky is the point
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            call()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
"""


def run(program: str, *arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PRELUDE + program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_child_starts_a_peer_of_its_own() -> None:
    run(
        """
with gossipsync.open() as mesh:
    bucket = mesh.bucket("b", kind="map")
    bucket["mine"] = {"n": 1}
    peer_id = mesh.peer_id

    def child():
        assert "mine" not in bucket
        assert mesh.peer_id != peer_id
        bucket["child's"] = {"n": 2}
        assert bucket.put("x", {}).wait("self", timeout=5) is None
        mesh.close()

    in_child(child)
    assert dict(bucket) == {"mine": {"n": 1}}
    assert mesh.peer_id == peer_id
    bucket.put("still", {}, ack="self", timeout=5)
"""
    )


def test_opened_before_the_fork_and_used_after_it(folder: Path) -> None:
    """As a pre-forking web service does."""
    run(
        """
key = keygen()
mesh = gossipsync.open(cluster_key=key, socket=f"{sys.argv[1]}/a.sock", gossip_interval=0.2)
sessions = mesh.bucket("sessions", kind="map", ttl=60)
assert threading.active_count() == 1

def child():
    with gossipsync.open(cluster_key=key, socket=f"{sys.argv[1]}/b.sock") as other:
        other.connect(mesh.address)
        sessions.put("sid", {"user": 7}, ack=1, timeout=10)
        assert other.bucket("sessions")["sid"] == {"user": 7}
    mesh.close()

in_child(child)
assert threading.active_count() == 1
in_child(child)
mesh.close()
""",
        folder,
    )


def test_locks_held_at_the_fork_do_not_hold_up_the_child() -> None:
    run(
        """
with gossipsync.open() as mesh:
    bucket = mesh.bucket("b")
    receipt = bucket.put("a", 1)
    watch = bucket.watch()
    locked, done = threading.Event(), threading.Event()
    engine = mesh._life.engine()

    def hold():
        with mesh._life._lock, engine.lock:
            locked.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait()

    def child():
        for use in (lambda: receipt.wait(1, timeout=5), lambda: mesh.wait_for(receipt.token)):
            try:
                use()
            except gossipsync.GossipsyncError:
                pass
        assert receipt.acked_by == ()
        bucket["b"] = 2
        assert dict(bucket) == {"b": 2}
        mesh.close()

    in_child(child)
    done.set()
    holder.join()
    assert dict(bucket) == {"a": 1}
"""
    )


def test_a_child_cannot_have_its_parents_data_dir(tmp_path: Path) -> None:
    run(
        """
with gossipsync.open(data_dir=sys.argv[1]) as mesh:
    bucket = mesh.bucket("b")
    bucket.put("a", 1, ack="self", timeout=5)

    def child():
        try:
            bucket["b"] = 2
        except gossipsync.StoreError as error:
            assert isinstance(error, gossipsync.StoreLockedError), repr(error)
            assert "fork" in str(error), error
        else:
            raise AssertionError
        mesh.close()
        with gossipsync.open(data_dir=sys.argv[1] + "/child") as own:
            own.bucket("b").put("a", 1, ack="self", timeout=5)

    in_child(child)
    bucket.put("c", 3, ack="self", timeout=5)

with gossipsync.open(data_dir=sys.argv[1]) as mesh:
    assert dict(mesh.bucket("b")) == {"a": 1, "c": 3}
""",
        tmp_path,
    )


def test_a_child_cannot_have_its_parents_socket(folder: Path) -> None:
    run(
        """
with gossipsync.open(socket=f"{sys.argv[1]}/a.sock") as mesh:
    bucket = mesh.bucket("b")
    bucket["a"] = 1

    def child():
        try:
            bucket["b"] = 2
        except gossipsync.ConfigError as error:
            assert "another peer listens" in str(error), error
            assert "forked from one that uses the mesh" in str(error), error
        else:
            raise AssertionError

    in_child(child)
    assert dict(bucket) == {"a": 1}
""",
        folder,
    )


def test_of_workers_forked_before_the_first_use_one_has_the_data_dir(tmp_path: Path) -> None:
    run(
        """
mesh = gossipsync.open(data_dir=sys.argv[1])
bucket = mesh.bucket("b")
(has_begun, begun), (may_end, end) = os.pipe(), os.pipe()

def first():
    os.close(end)
    bucket.put("a", 1, ack="self", timeout=5)
    os.write(begun, b"x")
    os.read(may_end, 1)
    mesh.close()

def second():
    try:
        bucket["b"] = 2
    except gossipsync.StoreLockedError as error:
        assert "forked from one" in str(error), error
        assert "uses the mesh" not in str(error), error
    else:
        raise AssertionError

holder = threading.Thread(target=in_child, args=(first,))
holder.start()
os.read(has_begun, 1)
in_child(second)
os.write(end, b"x")
holder.join()
with mesh:
    assert dict(bucket) == {"a": 1}
""",
        tmp_path,
    )


def test_a_child_of_a_running_peer_leaves_its_links_alone(folder: Path) -> None:
    run(
        """
key, folder = keygen(), sys.argv[1]
with gossipsync.open(cluster_key=key, socket=f"{folder}/a.sock", name="a") as a:
    with gossipsync.open(
        cluster_key=key, socket=f"{folder}/b.sock", name="b", seeds=[a.address], gossip_interval=0.2
    ) as b:
        a.wait_members(2, timeout=10)
        events = a.events()

        def child():
            b.close()
            a.close()

        in_child(child)
        b.bucket("b").put("k", 1, ack=1, timeout=10)
        assert a.status().members["alive"] == 2
        seen = {event.kind for event in iter(events._subscription.take, None)}
        assert not seen & {"link-closed", "member-changed"}, seen
""",
        folder,
    )


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "raise SystemExit"])
def test_the_interpreters_end_flushes(tmp_path: Path, ending: str) -> None:
    run(
        f"""
mesh = gossipsync.open(data_dir=sys.argv[1])
for number in range(100):
    mesh.bucket("b")[str(number)] = number
{ending}
""",
        tmp_path,
    )
    with gossipsync.open(data_dir=tmp_path) as mesh:
        assert len(mesh.bucket("b")) == 100


def test_the_interpreters_end_says_goodbye(folder: Path) -> None:
    key = keygen()
    with gossipsync.open(cluster_key=key, socket=folder / "a.sock", name="a") as mesh:
        events = mesh.events()
        program = """
import gossipsync, sys
key, address, socket = sys.argv[1:]
mesh = gossipsync.open(cluster_key=key, seeds=[address], socket=socket, name="b")
mesh.bucket("b").put("k", 1, ack=1, timeout=10)
mesh.bucket("b")["last"] = "words"
"""
        run(program, key, mesh.address, folder / "b.sock")
        states = []
        for event in events:
            if event.kind == "member-changed":
                states.append(event.fields["state"])
                if states[-1] == "away":
                    break
        assert mesh.bucket("b")["last"] == "words"


def test_an_asyncio_program_that_is_killed_by_an_exception() -> None:
    run(
        """
import asyncio

async def main():
    async with gossipsync.open_async() as mesh:
        mesh.bucket("b")["a"] = 1
        raise ZeroDivisionError

try:
    asyncio.run(main(), debug=False)
except ZeroDivisionError:
    pass
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(10)  # it is about to end
assert threading.active_count() == 1, threading.enumerate()
"""
    )
