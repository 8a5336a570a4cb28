"""What one named member has, from the command line: `get --from`, and `diff` of members by their names."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

import gossipsync as package
from gossipsync import Mesh
from gossipsync.core.model.limits import Limits
from gossipsync.runtime.trust import keygen
from tests.processes._peers import PeerProcess, gossipsync
from tests.processes.conftest import MakePeer

Three = tuple[PeerProcess, PeerProcess, PeerProcess]


@pytest.fixture
def three(make_peer: MakePeer) -> Three:
    a = make_peer("web-1").start()
    b = make_peer("web-2", seed=a).start()
    c = make_peer("web-3", seed=a).start()
    for peer in (a, b, c):
        peer.ok("wait", "--members", "3", "--synced", "--timeout", "20")
    return a, b, c


def test_get_from_a_member(three: Three) -> None:
    a, b, _ = three
    b.ok("put", "flags", "beta", '{"$bytes": "AP8="}', "--ack", "all")
    b.ok("put", "sessions", "sid", '{"user": 7}', "--ack", "all")
    b.ok("sadd", "online", "room", "ben", "ann", "--ack", "all")
    assert a.ok("get", "flags", "beta", "--from", "web-2") == '{"$bytes": "AP8="}\n'
    assert a.ok("get", "flags", "beta", "--from", b.peer_id[:16]) == '{"$bytes": "AP8="}\n'
    assert a.ok("get", "online", "room", "--from", "web-2") == '["ann", "ben"]\n'
    assert a.ok("get", "sessions", "sid", "--from", "web-2", "--field", "user") == "7\n"
    document = a.json("get", "sessions", "sid", "--from", "web-3")
    assert document == {"schema": 1, "found": True, "value": {"user": 7}}
    for absent in (("flags", "no"), ("nothing", "x"), ("sessions", "sid", "--field", "no")):
        result = a.run("get", *absent, "--from", "web-2")
        assert (result.returncode, result.stdout, result.stderr) == (1, "", "")
    wrong = a.run("get", "flags", "beta", "--from", "web-2", "--field", "x")
    assert "has no fields" in wrong.stderr
    nobody = a.run("get", "flags", "beta", "--from", "nobody")
    assert nobody.returncode == 1
    assert nobody.stderr.startswith("error[local]: no member is called 'nobody'")
    assert "read the bucket" in a.run("get", "flags", "beta", "--from", "web-1").stderr
    b.kill()
    assert a.ok("get", "sessions", "sid", "--from", "web-3") == '{"user": 7}\n'


def test_diff_of_members_by_name(three: Three) -> None:
    a, b, c = three
    a.ok("put", "flags", "same", "1", "--ack", "all")
    b.ok("put", "flags", "long", '"' + "x" * 100 + '"', "--ack", "all")
    c.ok("incr", "hits", "/", "3", "--ack", "all")
    for names in (("web-1", "web-2"), ("web-2", "web-3"), (b.peer_id[:20], c.peer_id)):
        assert a.ok("diff", *names).endswith(" have the same\n")
    document = a.json("diff", "web-2", "web-3")
    assert document["a"] == {"name": "web-2", "peer_id": b.peer_id}
    assert document["lines"] == document["keys"] == document["uncompared"] == []
    assert a.run("diff", "web-2", "nobody").returncode == 1


@pytest.fixture
def apart(folder: Path) -> Iterator[tuple[Mesh, Mesh, Mesh]]:
    """Three peers in this process; what two of them write goes nowhere any more."""
    key = keygen()
    seeds: list[str] = []
    meshes = []
    for name in ("one", "two", "three"):
        mesh = package.open(
            name=name, cluster_key=key, seeds=list(seeds) or None, socket=folder / name
        )
        mesh.start()
        assert mesh.address is not None
        seeds.append(mesh.address)
        meshes.append(mesh)
    one, two, three = meshes
    for mesh in meshes:
        mesh.wait_members(3, timeout=20)
        mesh.wait_synced(timeout=20)
    one.bucket("flags").put("both", 1, ack="all", timeout=20)
    for mesh in meshes:
        engine = mesh._life.engine()
        with engine.lock:
            for handler in ("on_push", "on_delta", "on_digest", "on_compare", "on_equal"):
                setattr(engine.peer._exchanges, handler, lambda *_: None)
    yield one, two, three
    for mesh in meshes:
        mesh.close()


def test_diff_shows_what_two_members_disagree_about(
    apart: tuple[Mesh, Mesh, Mesh], folder: Path
) -> None:
    one, two, three = apart
    two.bucket("flags")["both"] = 2
    two.bucket("flags")["long"] = "x" * 100
    three.bucket("flags")["other"] = 3
    found = gossipsync("diff", "two", "three", "--socket", folder / "one", "-o", "json")
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    assert document["keys"] == [
        {"bucket": "flags", "key": "both", "in": "both"},
        {"bucket": "flags", "key": "long", "in": "a"},
        {"bucket": "flags", "key": "other", "in": "b"},
    ]
    lines = {row["origin"]: (row["a"], row["b"]) for row in document["lines"]}
    assert lines.keys() == {two.peer_id, three.peer_id}
    assert lines[two.peer_id][1] == lines[three.peer_id][0] == 0
    heads = {row["origin"]: (row["a_head"], row["b_head"]) for row in document["lines"]}
    assert heads[two.peer_id][1] is heads[three.peer_id][0] is None
    assert len(heads[two.peer_id][0]) == len(heads[three.peer_id][1]) == 16
    beside = gossipsync("diff", "one", folder / "two", "--socket", folder / "one")
    assert "key   flags  long: only two" in beside.stdout.splitlines()
    mixed = gossipsync("diff", "three", folder / "two", "--socket", folder / "one")
    assert "key   flags  both: they differ" in mixed.stdout.splitlines()
    assert "key   flags  other: only three" in mixed.stdout.splitlines()
    assert one.bucket("flags")["both"] == 1
    assert "long" not in one.bucket("flags")


def test_a_bucket_that_is_too_large_is_named(apart: tuple[Mesh, Mesh, Mesh], folder: Path) -> None:
    one, two, _ = apart
    two.bucket("flags").update({f"k{n}": n for n in range(9)})
    engine = one._life.engine()
    with engine.lock:
        ctx = engine.peer._ctx
        ctx.config = evolve(ctx.config, limits=Limits(look_keys=5))
    found = gossipsync("diff", "two", "three", "--socket", folder / "one")
    assert found.returncode == 0
    told = found.stdout.splitlines()
    assert told[0].startswith("line  flags")
    assert told[-1].startswith("keys of flags not compared: 'two' has more of 'flags' than")
    document = gossipsync("diff", "two", "three", "--socket", folder / "one", "-o", "json")
    assert [row["bucket"] for row in json.loads(document.stdout)["uncompared"]] == ["flags"]
