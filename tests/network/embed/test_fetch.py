"""`fetch` between real peers: what one named member has, verified, and nothing taken."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import trio

import gossipsync
from gossipsync import Mesh
from gossipsync.embed import AsyncMesh
from gossipsync.errors import (
    ClosedError,
    ConfigError,
    LocalError,
    RemoteError,
    TransportError,
    WaitTimeoutError,
)


def deaf(mesh: Mesh) -> None:
    """Whatever others write does not come here any more; looks go on."""
    engine = mesh._life.engine()
    exchanges = engine.peer._exchanges
    with engine.lock:
        for handler in ("on_push", "on_delta", "on_digest", "on_compare", "on_equal"):
            setattr(exchanges, handler, lambda *_: None)


def test_every_kind_and_both_ways_to_name_a_member(pair: tuple[Mesh, Mesh]) -> None:
    a, b = pair
    flags, theirs = a.bucket("flags"), b.bucket("flags")
    theirs.update({f"k{n}": {"n": n} for n in range(30)})
    del theirs["k7"]
    expected = {f"k{n}": {"n": n} for n in range(30) if n != 7}
    assert flags.fetch(peer="b") == flags.fetch(peer=b.peer_id) == expected
    assert flags.fetch(peer=b.peer_id[:20], timeout=10) == expected
    assert flags.fetch("k2", peer="b") == {key: expected[key] for key in expected if key[1] == "2"}
    assert flags.fetch(keys=["k3", "k7", "none"], peer="b") == {"k3": {"n": 3}}
    assert flags.fetch(keys=[], peer="b") == {}
    for kind in ("map", "set", "counter"):
        a.bucket(kind, kind=kind)
        b.bucket(kind, kind=kind)
    b.bucket("map").put("k", {"a": 1, "b": "x" * 100})
    b.bucket("set").elements("k").add("e")
    b.bucket("counter").counter("k").add(5)
    b.bucket("counter").counter("k").add(-2)
    assert a.bucket("map").fetch(peer="b") == {"k": {"a": 1, "b": "x" * 100}}
    assert a.bucket("set").fetch(peer="b") == {"k": frozenset({"e"})}
    assert a.bucket("counter").fetch(peer="b") == {"k": 3}


def test_it_shows_what_is_not_here_and_takes_nothing(pair: tuple[Mesh, Mesh]) -> None:
    a, b = pair
    a.bucket("flags").put("both", 1, ack=1)
    deaf(a)
    deaf(b)
    b.bucket("flags")["theirs"] = 2
    del a.bucket("flags")["both"]
    assert a.bucket("flags").fetch(peer="b") == {"both": 1, "theirs": 2}
    assert dict(a.bucket("flags")) == {}
    assert b.bucket("flags").fetch(peer="a") == {}


def test_in_asyncio_and_in_trio(
    pair: tuple[Mesh, Mesh], settings: Callable[..., dict[str, object]]
) -> None:
    a, _ = pair
    a.bucket("flags").put("k", [1, 2], ack=1)

    async def look(mesh: AsyncMesh) -> object:
        await mesh.wait_members(3, timeout=10)
        with pytest.raises(LocalError):
            await mesh.bucket("flags").fetch(peer="nobody")
        return await mesh.bucket("flags").fetch("k", peer="a", timeout=10)

    async def main() -> object:
        async with gossipsync.open_async(**settings("c", a.address)) as mesh:
            return await look(mesh)

    assert asyncio.run(main()) == {"k": [1, 2]}
    a.wait_members(2, timeout=10)
    assert trio.run(main) == {"k": [1, 2]}


def test_what_makes_no_sense(pair: tuple[Mesh, Mesh]) -> None:
    flags = pair[0].bucket("flags")
    for wrong in ({"prefix": "k", "keys": ["k"]}, {"keys": "k"}, {"timeout": "soon"}):
        with pytest.raises(ConfigError):
            flags.fetch(peer="b", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        flags.fetch(peer=7)  # type: ignore[arg-type]
    for called in ("nobody", "a", ""):
        with pytest.raises(LocalError):
            flags.fetch(peer=called)
    with pytest.raises(RemoteError, match="'b' has no bucket 'flags'"):
        flags.fetch(peer="b")


@pytest.mark.plants_bugs
def test_members_that_do_not_answer(pair: tuple[Mesh, Mesh]) -> None:
    a, b = pair
    flags = a.bucket("flags")
    flags.put("k", 1, ack=1)
    engine = b._life.engine()
    with engine.lock:
        engine.peer._parts.showing = SimpleNamespace(on_look=lambda *_: None)  # type: ignore[assignment]
    with pytest.raises(WaitTimeoutError, match=r"'b' has not shown all of it within 0\.2 s"):
        flags.fetch(peer="b", timeout=0.2)
    assert not a._life.engine().peer._looks._open
    b.close()
    with pytest.raises(TransportError, match="'b' is away"):
        flags.fetch(peer="b")
    a.close()
    with pytest.raises(ClosedError):
        flags.fetch(peer="b")
