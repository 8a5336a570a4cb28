"""Data folders that were copied: two processes with one key at once, and a copy put back after it had been written on."""

import json
import shutil
from pathlib import Path

import pytest

from tests.faults._waits import await_
from tests.processes._peers import PeerProcess
from tests.processes.conftest import MakePeer

_OF_ONE_PROCESS = ("lock", "control.sock")


def copy_data(source: PeerProcess, target: Path) -> None:
    """What a backup or an image of a stopped machine has."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source.folder / "data", target, ignore=shutil.ignore_patterns(*_OF_ONE_PROCESS))


def await_warning(peer: PeerProcess, code: str, *, is_there: bool = True) -> None:
    def is_so() -> bool:
        warnings = peer.json("status")["warnings"]
        assert isinstance(warnings, list)
        return (code in warnings) is is_there

    await_(is_so, f"{peer.name} warns of {code}: {is_there}")


def await_touched(peer: PeerProcess) -> None:
    """Until its journal tells that it was in touch: a copy from before knows of nothing that it could have told anybody."""

    def is_so() -> bool:
        files = (peer.folder / "data").glob("journal.db*")
        return any(b"touched" in path.read_bytes() for path in files)

    await_(is_so, f"{peer.name} stores that it was in touch")


def test_two_processes_from_one_image(make_peer: MakePeer) -> None:
    a = make_peer("a", gossip_interval=0.2).start()
    b, c = (make_peer(name, seed=a, gossip_interval=0.2).start() for name in ("b", "c"))
    c.ok("wait", "--members", "3", "--synced", "--timeout", "15")
    c.ok("put", "bucket", "before", "1", "--ack", "all")
    c.kill()
    clone = make_peer("clone", seed=a, gossip_interval=0.2)
    copy_data(c, clone.folder / "data")
    c.start()
    c.ok("wait", "--members", "3", "--synced", "--timeout", "15")
    clone.start()
    assert clone.peer_id == c.peer_id
    for peer in (c, clone):
        await_warning(peer, "cloned")
        assert peer.run("status", "--check").returncode == 4
    c.ok("put", "bucket", "by the older", "1", "--ack", "self")
    clone.ok("put", "bucket", "by the newer", "1", "--ack", "2", "--timeout", "15")
    for peer in (a, b):
        assert peer.ok("get", "bucket", "by the newer") == "1\n"
        assert peer.json("status")["warnings"] == []
        assert peer.json("status")["members"]["alive"] == 3  # type: ignore[index]
    clone.kill()
    c.kill()
    c.start()
    c.ok("wait", "--members", "3", "--synced", "--timeout", "15")
    last = c.ok("put", "bucket", "last", "1", "--ack", "all", "--timeout", "15", "-o", "json")
    for peer in (a, b, c):
        peer.ok("wait", "--token", json.loads(last)["token"], "--timeout", "15")
        peer.ok("wait", "--synced", "--timeout", "15")
        assert set(peer.ok("keys", "bucket").splitlines()) == {
            *("before", "by the older", "by the newer", "last")
        }
        assert "forked" not in peer.json("status")["warnings"]  # type: ignore[operator]


def test_two_clones_that_meet_nobody_else(make_peer: MakePeer) -> None:
    a = make_peer("a", gossip_interval=0.2).start()
    a.kill()
    clone = make_peer("clone", gossip_interval=0.2)
    copy_data(a, clone.folder / "data")
    a.start()
    clone.settings["seeds"] = [a.address]
    clone.start()
    await_warning(clone, "cloned")


@pytest.mark.parametrize("has_written", [True, False])
def test_an_old_copy_put_back(make_peer: MakePeer, *, has_written: bool) -> None:
    a = make_peer("a", gossip_interval=0.2).start()
    b = make_peer("b", seed=a, gossip_interval=0.2).start()
    b.ok("wait", "--members", "2", "--synced", "--timeout", "15")
    (b if has_written else a).ok("put", "bucket", "kept", "1", "--ack", "1")
    await_touched(b)
    b.kill()
    copy_data(b, b.folder / "backup")
    b.start()
    b.ok("put", "bucket", "lost with the disk", "1", "--ack", "1", "--timeout", "15")
    b.kill()
    (b.folder / "data").rename(b.folder / "broken")
    (b.folder / "backup").rename(b.folder / "data")
    b.start()
    b.ok("wait", "--members", "2", "--synced", "--timeout", "15")
    await_warning(b, "restored")
    assert b.ok("get", "bucket", "lost with the disk") == "1\n"
    assert b.run("status", "--check").returncode == 0
    assert a.json("status")["warnings"] == []
    b.ok("put", "bucket", "after", "1", "--ack", "1", "--timeout", "15")
    assert a.bucket("bucket")["fingerprint"] == b.bucket("bucket")["fingerprint"]
