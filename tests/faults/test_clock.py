"""One machine's clock steps by an hour, either way: what was confirmed stays, the peer says so of itself, the others go on."""

import pytest

from tests.faults._told import ToldPeer
from tests.faults._waits import await_in, await_warnings, put_everywhere
from tests.processes._peers import PeerProcess
from tests.processes.conftest import MakePeer

HOUR_S = 3600


def three(make_peer: MakePeer) -> tuple[PeerProcess, PeerProcess, PeerProcess, ToldPeer]:
    """Two peers, and a third whose clock can be set."""
    a = make_peer("a", gossip_interval=0.2).start()
    b = make_peer("b", seed=a, gossip_interval=0.2).start()
    c = make_peer("c", seed=a, gossip_interval=0.2)
    told = ToldPeer(c)
    c.start()
    for peer in (a, b, c):
        peer.ok("wait", "--members", "3", "--synced", "--timeout", "15")
        peer.ok("put", "bucket", f"before {peer.name}", "1", "--ack", "all")
    return a, b, c, told


def check_whole(peers: list[PeerProcess], keys: set[str]) -> None:
    put_everywhere(peers)
    keys |= {f"{moment} {peer.name}" for moment in ("before", "after") for peer in peers}
    for peer in peers:
        assert set(peer.ok("keys", "bucket").splitlines()) == keys
        assert peer.json("status")["warnings"] == []
    assert len({peer.bucket("bucket")["fingerprint"] for peer in peers}) == 1


def test_an_hour_ahead(make_peer: MakePeer) -> None:
    """What it stamps is not taken before its time; what its disk confirmed it writes again once its clock is right."""
    a, b, c, told = three(make_peer)
    told.tell("clock", HOUR_S)
    await_warnings(c, "clock-suspect")
    assert c.run("status", "--check").returncode == 4
    offset_ms = c.json("status")["clock_offset_ms"]
    assert isinstance(offset_ms, int)
    assert abs(offset_ms + HOUR_S * 1000) < 5000
    c.ok("put", "bucket", "early", "1", "--ack", "self")
    assert c.run("put", "bucket", "earlier", "1", "--ack", "1", "--timeout", "0.5").returncode == 5
    a.ok("put", "bucket", "by a", "1", "--ack", "all", "--timeout", "15")
    assert c.ok("get", "bucket", "by a") == "1\n"
    for peer in (a, b):
        assert peer.json("status")["warnings"] == []
        assert peer.run("get", "bucket", "early").returncode == 1
    told.tell("clock", 0)
    c.ok("put", "bucket", "earlier", "2", "--ack", "all", "--timeout", "15")
    await_warnings(c, "clock-set-back")
    c.ok("put", "bucket", "in time", "1", "--ack", "all", "--timeout", "15")
    c.kill()
    c.start()
    for peer in (a, b, c):
        for key, value in {"early": "1", "earlier": "2", "in time": "1"}.items():
            assert peer.ok("get", "bucket", key) == f"{value}\n"
    c.ok("put", "bucket", "after a restart", "1", "--ack", "all", "--timeout", "15")


def test_an_hour_behind(make_peer: MakePeer) -> None:
    """It cannot take what the others write, for that seems to come from the future; they take what it writes."""
    a, b, c, told = three(make_peer)
    told.tell("clock", -HOUR_S)
    await_warnings(c, "clock-suspect")
    receipt = c.ok("put", "bucket", "late", "1", "--ack", "2", "--timeout", "15", "-o", "json")
    await_in([a, b], receipt)
    a.ok("put", "bucket", "by a", "1", "--ack", "1", "--timeout", "15")
    for peer in (a, b):
        assert peer.json("status")["warnings"] == []
        assert peer.ok("get", "bucket", "late") == "1\n"
    told.tell("clock", 0)
    await_warnings(c)
    check_whole([a, b, c], {"late", "by a"})


@pytest.mark.parametrize("offset_s", [HOUR_S, -HOUR_S])
def test_a_clock_that_is_wrong_from_the_start_and_right_after_a_restart(
    make_peer: MakePeer, offset_s: int
) -> None:
    a, b, c, told = three(make_peer)
    told.tell("clock", offset_s)
    c.ok("put", "bucket", "confirmed", "1", "--ack", "self")
    c.kill()
    c.start()
    c.ok("wait", "--members", "3", "--synced", "--timeout", "15")
    assert c.ok("get", "bucket", "confirmed") == "1\n"
    c.ok("put", "bucket", "again", "1", "--ack", "all", "--timeout", "15")
    for peer in (a, b, c):
        assert peer.ok("get", "bucket", "again") == "1\n"
        is_back = peer is c and offset_s > 0
        assert peer.json("status")["warnings"] == (["clock-set-back"] if is_back else [])
