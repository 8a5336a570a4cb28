"""A disk that is full or fails: reads and gossip go on, writes with an ack say why not, and it ends by itself."""

import json
import platform
import resource

import pytest

from tests.faults._disk import SmallDisk
from tests.faults._told import FLUSHES, ToldPeer
from tests.processes._peers import PeerProcess
from tests.processes.conftest import MakePeer

BIG = (
    "v" * 60_000
)  # more than the room that is left, so that the disk is full in the middle of the commit


def pair(make_peer: MakePeer) -> tuple[PeerProcess, PeerProcess]:
    """Two peers, the second not started yet."""
    a = make_peer("a", gossip_interval=0.2).start()
    return a, make_peer("b", seed=a, gossip_interval=0.2)


def await_in(reader: PeerProcess, receipt: str) -> None:
    reader.ok("wait", "--token", json.loads(receipt)["token"], "--timeout", "15")


def check_degraded(a: PeerProcess, b: PeerProcess, cause: str, advice: str) -> None:
    """What a peer does and says whose store takes nothing."""
    refused = b.run("put", "bucket", "unconfirmed", BIG, "--timeout", "0.5")
    assert refused.returncode == 5
    [line] = refused.stderr.splitlines()
    assert line.startswith("error[ack-timeout]: after 0.5 s this peer has not stored it: ")
    assert cause in line
    assert advice in line
    status = b.json("status")
    assert status["warnings"] == ["store-failing"]
    assert cause in str(status["store_failure"])
    assert f"store      {status['store_failure']}"[:60] in b.ok("status")
    check = b.run("status", "--check")
    assert check.returncode == 4
    assert "store-failing" in check.stderr

    assert b.ok("get", "bucket", "before") == "1\n"
    assert b.ok("get", "bucket", "unconfirmed") == json.dumps(BIG) + "\n"
    await_in(b, a.ok("put", "bucket", "meanwhile", "2", "-o", "json"))
    assert b.ok("get", "bucket", "meanwhile") == "2\n"
    # Nobody confirms what only memory has, nor sends what could be lost.
    assert (
        a.run("put", "bucket", "meanwhile", "3", "--ack", "1", "--timeout", "0.5").returncode == 5
    )
    assert a.run("get", "bucket", "unconfirmed").returncode == 1
    assert a.json("status")["warnings"] == []


def check_recovered(a: PeerProcess, b: PeerProcess) -> None:
    """It has gone on by itself, and what it says now is true on its disk."""
    await_in(a, b.ok("put", "bucket", "after", "4", "--ack", "1", "--timeout", "15", "-o", "json"))
    a.ok("put", "bucket", "last", "5", "--ack", "1", "--timeout", "15")
    assert b.json("status")["warnings"] == []
    assert b.json("status")["store_failure"] is None
    assert b.run("status", "--check").returncode == 0
    assert a.ok("get", "bucket", "unconfirmed") == json.dumps(BIG) + "\n"
    b.kill()
    a.kill()
    b.start()
    values = {"before": "1", "unconfirmed": json.dumps(BIG), "meanwhile": "3", "after": "4"}
    for key, value in {**values, "last": "5"}.items():
        assert b.ok("get", "bucket", key) == value + "\n", key


def test_a_full_disk_in_the_middle_of_a_commit(make_peer: MakePeer) -> None:
    a, b = pair(make_peer)
    with SmallDisk(b, "2m") as disk:
        b.start().ok("wait", "--members", "2", "--synced", "--timeout", "15")
        b.ok("put", "bucket", "before", "1", "--ack", "1")
        disk.fill(but_bytes=20_000)
        check_degraded(a, b, "no room left for", "make room on its disk or quota")
        disk.make_room()
        check_recovered(a, b)


def test_a_disk_without_room_to_start(make_peer: MakePeer) -> None:
    b = make_peer("b")
    with SmallDisk(b, "300k") as disk:
        disk.fill(but_bytes=0)
        assert b.start(is_ready=False).await_end() == 1
        [line] = [line for line in b.log.splitlines() if line.startswith("error[")]
        assert line.startswith("error[store-full]: no room left for ")
        assert "make room" in line
        disk.make_room()
        b.start().ok("put", "bucket", "k", "1")


def test_writes_that_fail(make_peer: MakePeer) -> None:
    """The kernel refuses every byte beyond a limit; to SQLite that is an I/O error."""
    a, b = pair(make_peer)
    b.start().ok("wait", "--members", "2", "--synced", "--timeout", "15")
    b.ok("put", "bucket", "before", "1", "--ack", "1")
    written = (b.folder / "data" / "journal.db-wal").stat().st_size
    assert b.process is not None
    _, hard = resource.prlimit(b.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(b.process.pid, resource.RLIMIT_FSIZE, (written + 20_000, hard))
    check_degraded(a, b, "disk I/O error (SQLITE_IOERR_WRITE)", "Check the disk, its quota")
    resource.prlimit(b.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    check_recovered(a, b)


@pytest.mark.skipif(
    platform.machine() not in FLUSHES,
    reason="not on this platform: its system calls have other numbers",
)
def test_flushes_that_fail(make_peer: MakePeer) -> None:
    """Written is not stored. What the kernel says once about a flush it may not say again, so nothing of it is believed."""
    a, b = pair(make_peer)
    told = ToldPeer(b)
    b.start().ok("wait", "--members", "2", "--synced", "--timeout", "15")
    b.ok("put", "bucket", "before", "1", "--ack", "1")
    told.tell("refuse-flushes")
    check_degraded(a, b, "disk I/O error (SQLITE_IOERR_FSYNC)", "Check the disk, its quota")
    b.kill()
    b.start()
    assert b.ok("get", "bucket", "before") == "1\n"
    b.ok("put", "bucket", "unconfirmed", BIG, "--ack", "1", "--timeout", "15")
    check_recovered(a, b)
