"""Peers on a network that loses, delays and doubles packets, and then falls apart: halves, one from the rest, one way only."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults._switch import Switch
from tests.faults._waits import await_, put_everywhere, states
from tests.processes._peers import PeerProcess
from tests.processes.conftest import MakePeer

HEALED_S = 30.0
"""Dials are repeated within that, and each may have hung while the network was cut; longer is no healing."""


@pytest.fixture
def switch(folder: Path) -> Iterator[Switch]:
    with Switch(folder) as switch:
        yield switch


def four(make_peer: MakePeer, switch: Switch, **settings: object) -> list[PeerProcess]:
    """Four peers on a poor network."""
    switch.loss, switch.doubling, switch.delay_s = 0.02, 0.05, 0.01
    peers = [make_peer(name, gossip_interval=0.2, **settings) for name in "abcd"]
    for number, peer in enumerate(peers, 1):
        switch.attach(peer, number)
    for peer in peers:
        peer.settings["seeds"] = [other.address for other in peers if other is not peer]
        peer.start(is_ready=False)
    for peer in peers:
        peer.await_ready()
    for peer in peers:
        peer.ok("wait", "--members", "4", "--synced", "--timeout", "15")
        peer.ok("put", "bucket", f"before {peer.name}", "1", "--ack", "all", "--timeout", "15")
    return peers


def await_apart(ones: list[PeerProcess], others: list[PeerProcess]) -> None:
    """Until no one sees any other as alive."""
    for one in ones:
        for other in others:
            await_(
                lambda one=one, other=other: states(one)[other.name] == "down",
                f"{one.name} sees {other.name} down",
            )


def write(peer: PeerProcess, key: str, ack: str) -> None:
    peer.ok("put", "bucket", f"{key} {peer.name}", "1", "--ack", ack, "--timeout", "15")


def check_healed(
    peers: list[PeerProcess], keys: set[str], warnings: frozenset[str] = frozenset()
) -> None:
    """All are one mesh again within bounds, no write is missing, and no other warnings are shown."""
    began = time.monotonic()
    for peer in peers:
        peer.ok("wait", "--members", str(len(peers)), "--synced", "--timeout", str(HEALED_S))
    keys |= {f"before {peer.name}" for peer in peers}
    await_(
        lambda: all(set(peer.ok("keys", "bucket").splitlines()) == keys for peer in peers),
        f"{keys} everywhere",
    )
    assert time.monotonic() - began < HEALED_S
    put_everywhere(peers)
    assert len({peer.bucket("bucket")["fingerprint"] for peer in peers}) == 1
    for peer in peers:
        status = peer.json("status")
        assert set(status["warnings"]) <= warnings  # type: ignore[call-overload]
        assert status["state"] == "ready"
        assert status["lag_s"]["p50"] < 2.0  # type: ignore[index]


def test_halves(make_peer: MakePeer, switch: Switch) -> None:
    peers = four(make_peer, switch)
    halves = peers[:2], peers[2:]
    switch.split(*halves)
    for half in halves:
        for peer in half:
            write(peer, "meanwhile", "1")
    await_apart(*halves)
    await_apart(*reversed(halves))
    for peer in peers:
        assert peer.json("status")["members"] == {"alive": 2, "suspect": 0, "down": 2, "away": 0}
        assert peer.json("status")["state"] == "ready"
        refused = peer.run(
            "put", "bucket", f"refused {peer.name}", "1", "--ack", "majority", "--timeout", "0.5"
        )
        assert refused.returncode == 5
        assert "1 of 2 members have stored it" in refused.stderr
    switch.heal()
    check_healed(
        peers, {f"{when} {peer.name}" for when in ("meanwhile", "refused") for peer in peers}
    )


def test_one_from_the_rest_for_longer_than_the_horizon(make_peer: MakePeer, switch: Switch) -> None:
    """What was written meanwhile, on either side, is there afterwards."""
    horizon_s = 2.0
    peers = four(make_peer, switch, horizon=horizon_s)
    *rest, one = peers
    switch.split(rest, [one])
    began = time.monotonic()
    for peer in rest:
        write(peer, "meanwhile", "majority")
    write(one, "meanwhile", "self")
    await_apart(rest, [one])
    await_(lambda: one.json("status")["state"] == "alone", "one is alone")
    assert one.run("status", "--check").returncode == 4
    assert rest[0].run("status", "--check").returncode == 0
    assert time.monotonic() - began > horizon_s
    switch.heal()
    # On a busy machine two of the rest may have lost sight of each other for as long as this short horizon, too.
    keys = {f"meanwhile {peer.name}" for peer in peers}
    check_healed(peers, keys, frozenset({"split-risk"}))


def test_one_that_hears_and_is_not_heard(make_peer: MakePeer, switch: Switch) -> None:
    """Its connections are half open: nobody tells either end."""
    peers = four(make_peer, switch)
    *rest, one = peers
    switch.cut([one], rest)
    write(one, "meanwhile", "self")
    write(rest[0], "meanwhile", "2")
    await_apart(rest, [one])
    await_(lambda: one.json("status")["state"] == "alone", "one has noticed")
    switch.heal()
    check_healed(peers, {f"meanwhile {peer.name}" for peer in (rest[0], one)})


def test_a_peer_that_dies_behind_a_cut_and_returns(make_peer: MakePeer, switch: Switch) -> None:
    """Its machine loses power: no connection is closed, and the next run comes under the same address."""
    peers = four(make_peer, switch)
    *rest, one = peers
    write(one, "confirmed", "majority")
    switch.split(rest, [one])
    one.kill()
    write(rest[0], "meanwhile", "majority")
    switch.heal()
    one.start()
    check_healed(peers, {"confirmed d", "meanwhile a"})
