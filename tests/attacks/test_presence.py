"""Presence data that a member signs with its own good key and that no honest peer would sign."""

import pytest

from gossipsync.core.membership.presence import parse_presence
from gossipsync.core.model import strict
from gossipsync.core.model.effects import Dial
from gossipsync.core.model.ids import peer_text
from gossipsync.core.model.reasons import Reason
from gossipsync.core.wire.messages import Presences
from tests.attacks._hand import ADDRESSES, signed_presence
from tests.attacks._marks import Victim
from tests.core._world import NETWORK, Disk, Stage, identity

_ME = identity("rogue")

PARTS = {
    "a format of true": {"format": True},
    "another format": {"format": 2},
    "another network": {"network": bytes(32)},
    "a short key": {"peer": bytes(31)},
    "a stamp of true": {"stamp": True},
    "a negative stamp": {"stamp": -1},
    "a stamp of 2**63": {"stamp": 1 << 63},
    "a stamp after the year 6429": {"stamp": 1 << 47},
    "epoch 0": {"epoch": 0},
    "an epoch of 2**63": {"epoch": 1 << 63},
    "a stance of true": {"stance": True},
    "an unknown stance": {"stance": 3},
    "a name of bytes": {"name": b"name"},
    "no name": {"name": ""},
    "a long name": {"name": "n" * 129},
    "a name of 129 bytes": {"name": "n" + "é" * 64},
    "a terminal escape": {"name": "\x1b[2J"},
    "a line break": {"name": "a\nb"},
    "a bidi override": {"name": "\u202eeman"},
    "a zone with a NUL": {"zone": "a\0"},
    "a zone of null": {"zone": None},
    "a version of 65 bytes": {"version": "v" * 65},
    "a version with a line separator": {"version": "1\u2028"},
    "addresses as text": {"addresses": "host:1"},
    "an address of bytes": {"addresses": (b"host:1",)},
    "an address of null": {"addresses": (None,)},
    "an address in an array": {"addresses": (("host", 1),)},
    "nine addresses": {"addresses": tuple(f"host-{n}:1" for n in range(9))},
    "one address twice": {"addresses": ("host:1", "host:1")},
    "one good address and one bad": {"addresses": ("host:1", "host:")},
    "no map": {"more": ()},
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS.keys())
def test_a_part_out_of_its_bounds(parts: dict[str, object]) -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    usual: dict[str, object] = {"stamp": victim.wall_ms}
    rogue.says(Presences((signed_presence(NETWORK, _ME.peer, _ME.sign, **(usual | parts)),)))  # type: ignore[arg-type]
    victim.withstood(rogue, Reason.MALFORMED)


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES.keys())
def test_an_address_that_is_none(address: str) -> None:
    """Fault g of issue 9: such an address reached the dialler, whose exception ended the engine."""
    victim = Victim()
    rogue = victim.link("rogue")
    datum = signed_presence(
        NETWORK, _ME.peer, _ME.sign, stamp=victim.wall_ms, addresses=("host:1", address)
    )
    rogue.says(Presences((datum,)))
    victim.withstood(rogue, Reason.MALFORMED)
    assert not [effect for effect in victim.peer.drain() if isinstance(effect, Dial)]


GOOD = (
    "host:1",
    "h_1.x.:65535",
    "127.0.0.1:7946",
    "[::1]:7946",
    "[fe80::1%eth0.1]:1",
    "xn--bcher-kva:1",
)


def test_addresses_of_every_form_are_taken() -> None:
    datum = signed_presence(NETWORK, _ME.peer, _ME.sign, stamp=1, addresses=GOOD)
    assert parse_presence(datum, NETWORK)[0].addresses == GOOD


def test_a_stored_presence_of_an_earlier_build_is_dropped_and_counted() -> None:
    datum = signed_presence(NETWORK, _ME.peer, _ME.sign, stamp=1, addresses=("host:notaport",))
    name = f"presence/{peer_text(_ME.peer)}"
    disk = Disk(heads={name: datum, "dismissal/x": b"\xff"})
    stage = Stage(disk=disk)
    assert stage.peer.gossip_info(stage.now)["drops"]["stored_dropped"] == 2  # type: ignore[index]
    assert name not in disk.heads
    assert "dismissal/x" not in disk.heads


def test_an_honest_peer_never_signs_what_others_refuse() -> None:
    """Whatever its driver tells it of its addresses."""
    long = ".".join(["a" * 63] * 3 + ["b" * 59])
    bound = ("host:1", "host:1", *ADDRESSES.values(), f"{long}:1", f"{long}:2", "last:1")
    stage = Stage(name="longest", zone="z" * 128, version="v" * 64)
    stage.peer.handle_bound(bound, stage.now)
    watcher = stage.link("watcher", is_dialer=False)
    stage.peer.handle_bound(bound, stage.now)
    stage.settle()
    ((datum,),) = (message.data for message in watcher.hears(Presences))  # type: ignore[attr-defined]
    presence, _, _ = parse_presence(datum, NETWORK)
    assert presence.addresses == ("host:1", f"{long}:1")
    assert len(datum) <= stage.peer.config.limits.presence_bytes


def test_a_body_that_is_no_array() -> None:
    body = strict.encode({"name": 1})
    datum = strict.encode((body, bytes(64)))
    victim = Victim()
    rogue = victim.link("rogue")
    rogue.says(Presences((datum,)))
    victim.withstood(rogue, Reason.MALFORMED)
