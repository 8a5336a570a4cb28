"""Cargo: pieces that come through a file. They pass the same gate as what links bring, whoever made the file."""

from __future__ import annotations

import pytest

from gossipsync.core._peer.carrying import Cargo
from gossipsync.core.model import strict
from gossipsync.core.model.entry import encode_body
from gossipsync.core.model.reasons import Reason
from gossipsync.errors import LocalError, RemoteError
from tests.attacks._marks import Victim
from tests.core._world import EVERYTHING, OTHER_NETWORK, START_MS, Author, Stage, World, entry
from tests.core._world.authority import Authority, identity
from tests.core._world.world import Node

AUTHORITY = Authority()
CERTIFICATE = AUTHORITY.issue(identity("rogue").peer, EVERYTHING)


def cargo_of(node: Node, bucket: str = "b") -> list[Cargo]:
    found: list[Cargo] = []
    while cargo := node.up.cargo(bucket, found[-1].last if found else None, node.now):
        found.append(cargo)
    return found


def give(node: Node, cargo: list[Cargo]) -> int:
    changed = sum(node.up.take_cargo(part.certificate, part.pieces, node.now) for part in cargo)
    node.world.touched(node)
    return changed


def lone(world: World) -> Node:
    """One more machine, which nobody reaches."""
    node = world.add(seeds=(), addresses=())
    world.split(world.nodes[:-1], [node])
    world.start(node)
    world.run(1)
    return node


def test_excerpts_travel_and_an_old_file_brings_nothing_back() -> None:
    """Trimmed logs give what is left of them; what was deleted since the file was made stays deleted, its tombstone forgotten."""
    world = World(2, horizon_ms=20_000, max_skew_ms=1000)
    world.run(3)
    writer = world.nodes[0]
    writer.write("b", *(lambda draft, n=n: draft.put(f"k{n}", n) for n in range(8)))
    old = cargo_of_after(world, writer, 1)
    for number in range(4):
        writer.put(f"k{number}", "later")
    writer.write("b", lambda draft: draft.delete("k7"))
    world.run(60)
    now = cargo_of_after(world, writer, 1)
    assert any(piece[:1] != b"\x83" for part in now for piece in part.pieces), "nothing was trimmed"

    other = lone(world)
    assert give(other, now) > 0
    assert other.pairs() == writer.pairs()
    assert give(other, now) == 0
    before = writer.pairs()
    assert "k7" not in before
    for node in world.nodes[:2]:
        assert give(node, old) == 0
        assert node.pairs() == before
    assert world.nodes[1].up.status(node.now).rejected[Reason.COVERED] == 5


def cargo_of_after(world: World, node: Node, seconds: float) -> list[Cargo]:
    world.run(seconds)
    return cargo_of(node)


def test_whole_logs_move_the_line_and_what_was_carried_spreads() -> None:
    world = World(2)
    world.run(3)
    author = Author("stranger", wall_ms=START_MS)
    pieces = tuple(author.put(f"k{number}", number) for number in range(3))
    certificate = world.authority.issue(author.identity.peer, EVERYTHING)
    there = world.nodes[0]
    assert there.up.take_cargo(certificate, pieces, there.now) == 3
    world.touched(there)
    assert there.up.vector()["b", author.origin] == 3
    assert world.run_until(lambda: len(world.nodes[1].pairs()) == 3, 5.0)


def test_a_piece_from_the_middle_is_merged_and_moves_no_line() -> None:
    stage, author = Stage(authority=AUTHORITY), Author(wall_ms=START_MS)
    author.put("k0", 0)
    assert stage.peer.take_cargo(CERTIFICATE, [author.put("k1", 1)], stage.now) == 1
    assert stage.pairs() == {"k1": 1}
    assert ("b", author.origin) not in stage.peer.vector()


def test_a_bucket_that_is_not_there() -> None:
    stage = Stage()
    with pytest.raises(LocalError, match="no bucket 'x'"):
        stage.peer.cargo("x", None, stage.now)


def forgeries() -> dict[str, list[bytes]]:
    author = Author(wall_ms=START_MS)
    fine = author.put("k", 1)
    header, signature, body = strict.decode(fine, 2)  # type: ignore[misc]
    other = encode_body([entry("k", 2, at=author.tick())])
    return {
        "merkle": [strict.encode((header, signature, other))],
        "signature": [strict.encode((header, bytes(64), body))],
        "malformed": [b"\x83nonsense"],
        "network": [Author(wall_ms=START_MS, network=OTHER_NETWORK).put("k", 1)],
        "no-credential": [Author("honest", wall_ms=START_MS).put("k", 1)],
        "oversize": [bytes(2 << 20)],
        "skew": [Author(wall_ms=START_MS + 3_600_000).put("k", 1)],
    }


@pytest.mark.parametrize("reason", sorted(forgeries()))
def test_one_bad_piece_refuses_its_whole_part(reason: str) -> None:
    victim = Victim(authority=AUTHORITY)
    good = Author(wall_ms=START_MS).put("good", 1)
    for pieces in (forgeries()[reason], [good, *forgeries()[reason]]):
        for take in (victim.peer.check_cargo, victim.peer.take_cargo):
            with pytest.raises(RemoteError, match=reason):
                take(CERTIFICATE, pieces, victim.now)
    assert victim.is_unmoved()
    assert identity("rogue").peer not in victim.peer._ctx.credentials
    assert victim.serves_the_honest()


@pytest.mark.parametrize("certificate", [b"", b"x", CERTIFICATE + bytes(16 << 10)])
def test_a_certificate_that_is_none(certificate: bytes) -> None:
    victim = Victim(authority=AUTHORITY)
    with pytest.raises(RemoteError, match="certificate"):
        victim.peer.take_cargo(certificate, [Author(wall_ms=START_MS).put("k", 1)], victim.now)
    assert victim.is_unmoved()


def test_the_other_branch_of_a_fork_is_left_out() -> None:
    victim = Victim(authority=AUTHORITY)
    kept, other = (Author(wall_ms=START_MS).put("k", value) for value in (1, 2))
    assert victim.peer.take_cargo(CERTIFICATE, [kept], victim.now) == 1
    assert victim.peer.take_cargo(CERTIFICATE, [other], victim.now) == 0
    assert victim.pairs()["k"] == 1
