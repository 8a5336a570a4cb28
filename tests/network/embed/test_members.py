"""Acks, tokens, members coming and going, and addresses that lead nowhere."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from threading import Thread

import pytest
import trio

import gossipsync
from gossipsync import Mesh
from gossipsync.core import Peer
from gossipsync.core.model.ids import peer_text
from gossipsync.errors import (
    AckTimeoutError,
    LocalError,
    NotPermittedError,
    TransportError,
    WaitTimeoutError,
)
from gossipsync.runtime.trust import keygen
from tests.network.embed.conftest import Spawn

Pair = tuple[Mesh, Mesh]
Settings = Callable[..., dict[str, object]]


@pytest.mark.parametrize("ack", [1, 2, "majority", "all"])
def test_acks_of_three(three: tuple[Mesh, Mesh, Mesh], ack: int | str) -> None:
    a, b, c = three
    needed = 1 if ack in {1, "majority"} else 2
    receipt = a.bucket("b").put("k", 1, ack=ack, timeout=10)
    assert needed <= len(receipt.acked_by)
    assert set(receipt.acked_by) <= {b.peer_id, c.peer_id}
    for mesh in (b, c):
        if mesh.peer_id in receipt.acked_by:
            assert mesh.bucket("b")["k"] == 1


def test_an_ack_that_cannot_come(pair: Pair) -> None:
    a, b = pair
    bucket = a.bucket("b")
    with pytest.raises(AckTimeoutError) as caught:
        bucket.put("k", 1, ack=2, timeout=0.3)
    assert caught.value.needed == 2
    assert caught.value.acked_by == (b.peer_id,)
    assert bucket["k"] == 1
    b.wait_for(a.token(), timeout=10)
    assert b.bucket("b")["k"] == 1


def test_delete_and_batch_with_an_ack(pair: Pair) -> None:
    a, b = pair
    bucket = a.bucket("b")
    with bucket.batch(ack=1, timeout=10) as batch:
        batch["k"] = 1
    assert b.bucket("b")["k"] == 1
    bucket.delete("k", ack="all", timeout=10)
    assert "k" not in b.bucket("b")


def test_an_ack_of_a_peer_with_a_store(spawn: Spawn, tmp_path: object) -> None:
    a = spawn("a", data_dir=f"{tmp_path}/a")
    b = spawn("b", a.address, data_dir=f"{tmp_path}/b")
    a.wait_members(2, timeout=10)
    receipt = a.bucket("b").put("k", 1, ack=1, timeout=10)
    assert receipt.acked_by == (b.peer_id,)


def test_a_token_says_what_was_seen(pair: Pair) -> None:
    a, b = pair
    receipt = a.bucket("b").put("k", 1)
    b.wait_for(receipt.token, timeout=10)
    assert b.bucket("b")["k"] == 1
    a.wait_for(b.token(), timeout=10)


def test_who_closes_is_away_and_who_leaves_is_gone(three: tuple[Mesh, Mesh, Mesh]) -> None:
    a, b, c = three
    events = a.events()
    b.close()
    _until_member(events, b.name, "away")
    assert a.status().members == {"alive": 2, "suspect": 0, "down": 0, "away": 1}
    c.leave()
    _until_member(events, c.name, "left")
    assert [member.name for member in a.members()] == ["a", "b"]


def test_forgetting(spawn: Spawn, tmp_path: object) -> None:
    a = spawn("a")
    places = [{"data_dir": f"{tmp_path}/{n}", "socket": f"{tmp_path}/{n}.sock"} for n in range(2)]
    twins = [spawn("twin", a.address, **place) for place in places]
    a.wait_members(3, timeout=10)
    events = a.events()
    ids = [twin.peer_id for twin in twins]
    with pytest.raises(NotPermittedError, match="'twin' is alive"):
        a.forget(ids[0])
    for twin in twins:
        twin.close()
        _until_member(events, "twin", "away")
    for nobody in ("a", a.peer_id, "nobody", "", ids[0][0], ids[0][:7], "twi"):
        with pytest.raises(LocalError, match="no member is called"):
            a.forget(nobody)
    with pytest.raises(LocalError, match="'twin' fits 2 members"):
        a.forget("twin")
    assert a.status().members["away"] == 2
    assert a.forget(ids[0]) == ids[0]
    assert a.forget("twin") == ids[1]
    assert [member.name for member in a.members()] == ["a"]
    a.bucket("b").put("k", 1, ack="all", timeout=1)
    again = spawn("twin", a.address, **places[0])
    for mesh in (a, again):
        mesh.wait_members(2, timeout=10)
    again.wait_for(a.token(), timeout=10)
    assert again.bucket("b")["k"] == 1
    again.leave()
    _until_member(events, "twin", "left")
    with pytest.raises(LocalError, match="no member is called"):
        a.forget("twin")


async def test_forgetting_in_coroutines(settings: Settings) -> None:
    async with gossipsync.open_async(**settings("a")) as a:
        async with gossipsync.open_async(**settings("b", a.address)) as b:
            await a.wait_members(2, timeout=10)
            with pytest.raises(NotPermittedError, match="'b' is alive"):
                a.forget("b")
            peer_id = b.peer_id
        assert a.forget("b") == peer_id
        async with gossipsync.open_async(**settings("b", a.address)) as b:
            await a.wait_members(2, timeout=10)
            events = a.events()
            await b.leave()
            async for event in events:
                if (event.kind, event.fields.get("state")) == ("member-changed", "left"):
                    break
        assert [member.name for member in a.members()] == ["a"]


def _until_member(events: object, name: str, state: str) -> None:
    for event in events:  # type: ignore[attr-defined]
        told = (event.kind, event.fields.get("name"), event.fields.get("state"))
        if told == ("member-changed", name, state):
            return


def test_writes_before_a_close_arrive(pair: Pair) -> None:
    a, b = pair
    watch = a.bucket("b").watch(since="now", timeout=10)
    b.bucket("b")["last"] = "words"
    b.close()
    assert next(watch).value == "words"


def test_a_peer_that_comes_back_catches_up(spawn: Spawn, tmp_path: object) -> None:
    a = spawn("a")
    b = spawn("b", a.address, data_dir=f"{tmp_path}/b")
    a.bucket("b")["before"] = 1
    b.wait_for(a.token(), timeout=10)
    peer_id = b.peer_id
    b.bucket("b")["mine"] = 1
    b.close()
    a.bucket("b")["meanwhile"] = 1
    again = spawn("b2", a.address, data_dir=f"{tmp_path}/b")
    assert again.peer_id == peer_id
    again.wait_for(a.token(), timeout=10)
    a.wait_for(again.token(), timeout=10)
    assert dict(again.bucket("b")) == dict(a.bucket("b"))
    assert set(a.bucket("b")) == {"before", "mine", "meanwhile"}


def test_connect(spawn: Spawn) -> None:
    a, b = spawn("a"), spawn("b")
    assert a.address is not None
    b.connect(a.address)
    a.wait_members(2, timeout=10)
    b.connect(a.address)  # linked already
    assert b.address is not None
    with pytest.raises(TransportError, match="self"):
        b.connect(b.address)


def test_connect_to_nobody(spawn: Spawn) -> None:
    a = spawn("a")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(TransportError, match=f":{port}: refused"):
            a.connect(f"127.0.0.1:{port}")


def test_another_cluster_key_gets_nowhere(spawn: Spawn) -> None:
    a = spawn("a")
    a.bucket("b")["k"] = 1
    stranger = spawn("stranger", cluster_key=keygen())
    assert a.address is not None
    with pytest.raises(TransportError, match="certificate"):
        stranger.connect(a.address)
    assert stranger.status().members["alive"] == 1
    assert len(stranger.bucket("b")) == 0
    assert stranger.status().rejected["certificate"] >= 1
    assert a.status().members["alive"] == 1


def test_a_port_in_use(spawn: Spawn) -> None:
    a = spawn("a")
    with pytest.raises(TransportError, match=f"cannot listen on {a.address}"):
        spawn("b", listen=a.address)


def test_a_start_that_fails_lets_go_of_the_store(spawn: Spawn, tmp_path: object) -> None:
    a = spawn("a")
    folder = f"{tmp_path}/b"
    with pytest.raises(TransportError):
        spawn("b", listen=a.address, data_dir=folder)
    b = spawn("b", a.address, data_dir=folder)
    b.wait_members(2, timeout=10)


@pytest.mark.plants_bugs
def test_a_bug_that_a_remote_hits_ends_that_link_only(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = pair
    planted = {a.peer_id: 1}
    receive_data = Peer.receive_data

    def receive(self: Peer, *arguments: object) -> None:
        if planted.pop(peer_text(self.peer_id), 0):
            raise ZeroDivisionError("planted")
        receive_data(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Peer, "receive_data", receive)
    b.bucket("b")["k"] = 1
    a.wait_for(b.token(), timeout=10)
    a.bucket("b").put("l", 2, ack=1, timeout=10)
    assert dict(a.bucket("b")) == dict(b.bucket("b")) == {"k": 1, "l": 2}
    assert a.status().rejected["internal"] == 1
    assert "planted" in caplog.text


def test_advertise(spawn: Spawn) -> None:
    a = spawn("a", advertise="localhost:0")
    assert a.address is not None
    assert a.address.startswith("localhost:")
    b = spawn("b", a.address)
    b.wait_members(2, timeout=10)


def test_a_seed_that_is_not_up_yet(spawn: Spawn) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
    early = spawn("early", address)
    with pytest.raises(WaitTimeoutError):
        early.wait_synced(timeout=0)
    spawn("late", listen=address)
    early.wait_members(2, timeout=10)


def test_no_use_waking_one_that_waits_for_another_bucket(pair: Pair) -> None:
    a, b = pair
    watch = b.bucket("quiet").watch(since="now", timeout=0.3)
    writer = Thread(target=lambda: a.bucket("busy").update({str(n): n for n in range(100)}))
    writer.start()
    assert list(watch) == []
    writer.join()


Main = Callable[[], Coroutine[object, object, None]]


@pytest.mark.parametrize("run", [asyncio.run, trio.run])
def test_coroutines_on_two_peers(
    run: Callable[[object], None], settings: Callable[..., dict[str, object]]
) -> None:
    async def main() -> None:
        async with gossipsync.open_async(**settings("a")) as a:  # noqa: SIM117 - b needs a's address
            async with gossipsync.open_async(**settings("b", a.address)) as b:
                await a.wait_members(2, timeout=10)
                await b.wait_synced(timeout=10)
                hits = b.bucket("hits", kind="counter")
                a.bucket("hits", kind="counter").counter("page").add(3)
                await b.wait_for(a.token(), timeout=10)
                hits.counter("page").add(4)
                await a.wait_for(b.token(), timeout=10)
                assert a.bucket("hits")["page"] == 7
                receipt = a.bucket("b").put("k", 1)
                await receipt.wait("all", timeout=10)
                assert receipt.acked_by == (b.peer_id,)
                async for change in b.bucket("b").watch(timeout=10):
                    assert (change.key, change.value) == ("k", 1)
                    break
                await b.connect(a.address)
                events = a.events()
                await b.leave()
                async for event in events:
                    if event.fields.get("state") == "left":
                        break
                assert len(a.members()) == 1

    run(main() if run is asyncio.run else main)
