"""A member with valid credentials against the whole runtime: nothing that it sends or signs ends an engine.

Found as fault g of issue 9: one signed presence with the address "host:notaport" ended the engine of every peer that received
it, and of each that was started again with the same folder, because the presence is stored.
"""

from __future__ import annotations

import json
import logging
import random
import re
import time
from base64 import b32decode
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

import gossipsync
from gossipsync import Mesh
from gossipsync.cli import main
from gossipsync.core._peer.context import Link
from gossipsync.core._peer.receiving import Receiving
from gossipsync.core.model import strict
from gossipsync.core.model.address import split_address
from gossipsync.core.model.bucket import Announcement, BucketRules
from gossipsync.core.model.entry import Op, encode_entry
from gossipsync.core.model.hlc import hlc_at
from gossipsync.core.model.ids import PeerId, peer_text
from gossipsync.core.wire.framing import FrameReader, frame
from gossipsync.core.wire.messages import Known, Message, Presences, Push, encode_message
from gossipsync.errors import BucketKindError, RemoteError
from gossipsync.runtime import transport as transports
from gossipsync.runtime.transport import Connection, Transport
from gossipsync.runtime.trust import Credentials, Identity, credentials_from_cluster_key
from gossipsync.stores import open_store
from tests.attacks._hand import ADDRESSES, signed_presence
from tests.attacks._intruder import KINDS, GuardedWorld, Intruder
from tests.attacks._mutate import Mutator, encoded
from tests.core._world import Author, identity
from tests.network._pairs import transport
from tests.network.embed.conftest import QUICK, Spawn

Settings = Callable[..., dict[str, object]]


def presence_of(credentials: Credentials, **parts: object) -> bytes:
    me = credentials.identity
    stamp = time.time_ns() // 1_000_000
    return signed_presence(
        credentials.network_id, me.peer_id, me.sign, **({"stamp": stamp} | parts)
    )


def hostile(key: str) -> Credentials:
    return credentials_from_cluster_key(key, Identity.generate())


def speak(
    mesh: Mesh,
    credentials: Credentials,
    *payloads: bytes,
    name: str = "hostile",
    stay_s: float = 0.5,
) -> list[bytes]:
    """Link with a peer, send each payload, and read until it hangs up or some time has passed: what it sent."""
    return speak_bytes(mesh, credentials, b"".join(map(frame, payloads)), name=name, stay_s=stay_s)


def speak_bytes(
    mesh: Mesh, credentials: Credentials, data: bytes, *, name: str = "hostile", stay_s: float = 0.5
) -> list[bytes]:
    reader = FrameReader(1 << 24)

    async def run() -> None:
        assert mesh.address is not None
        connection = await transport(credentials, name).dial(*split_address(mesh.address))
        reader.feed(connection.leftover)
        try:
            with trio.move_on_after(stay_s):
                await connection.stream.send_all(data)
                while heard := await connection.stream.receive_some(65536):
                    reader.feed(bytes(heard))
        except trio.BrokenResourceError:
            pass  # hung up on, which is the peer's good right
        await trio.aclose_forcefully(connection.stream)

    trio.run(run)
    return list(reader)


def serve_each_other(*meshes: Mesh) -> None:
    """A write at each arrives at all others."""
    for number, mesh in enumerate(meshes):
        mesh.bucket("after").put(f"k{number}", number, ack=1, timeout=20)
    for mesh in meshes:
        for other in meshes:
            mesh.wait_for(other.token(), timeout=20)
        assert dict(mesh.bucket("after")) == {f"k{n}": n for n in range(len(meshes))}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.02)


def rounds(*meshes: Mesh) -> None:
    """Two rounds of each: what is dialled in rounds has been dialled."""
    for _ in range(2):
        for mesh in meshes:
            time.sleep(QUICK * 1.3)
            wait_until(lambda mesh=mesh: (mesh.status().last_round_s or 0.0) < QUICK * 1.3)


def test_presences_with_malformed_addresses(pair: tuple[Mesh, Mesh], key: str) -> None:
    a, b = pair
    for address in ADDRESSES.values():
        credentials = hostile(key)
        datum = presence_of(credentials, addresses=(address,))
        speak(a, credentials, encode_message(Presences((datum,))))
    rounds(a, b)
    assert a.status().rejected["malformed"] == len(ADDRESSES)
    serve_each_other(a, b)


def test_a_stored_malformed_presence_does_not_stop_a_start(
    settings: Settings, key: str, tmp_path: Path
) -> None:
    """As an earlier build stored it."""
    given = settings("a", data_dir=tmp_path / "a")
    with gossipsync.open(**given) as mesh:  # type: ignore[arg-type]
        peer_id = mesh.peer_id
    network = credentials_from_cluster_key(key, Identity.generate()).network_id
    credentials = hostile(key)
    peer = PeerId(b32decode(peer_id.upper() + "===="))
    store = open_store("sqlite", tmp_path / "a", network=network, peer=peer)
    name = peer_text(credentials.identity.peer_id)
    datum = presence_of(credentials, addresses=("host:notaport",))
    store.put_head(f"credential/{name}", credentials.certificate)
    store.put_head(f"presence/{name}", datum)
    store.put_head("presence/noise", b"\xff")
    store.put_head("dismissal/noise", b"\xff")
    store.commit()
    store.close()
    for _ in range(2):
        with gossipsync.open(**given) as mesh:  # type: ignore[arg-type]
            mesh.bucket("b")["k"] = 1
            rounds(mesh)
            assert mesh.status().state in {"alone", "ready"}
    store = open_store("sqlite", tmp_path / "a", network=network, peer=peer)
    assert not [head for head in store.load_heads() if head.startswith(("presence/", "dismissal/"))]
    store.close()


@pytest.mark.parametrize("seed", range(2))
def test_mutated_messages_over_real_links(pair: tuple[Mesh, Mesh], key: str, seed: int) -> None:
    """Every kind of message, mutated and damaged, over TLS: no exception in the engine (see the fixture `no_bugs`)."""
    a, b = pair
    rng = random.Random(seed)
    me = identity("hostile on the wire")
    credentials = credentials_from_cluster_key(key, Identity.of(me.key))
    mutator = Mutator(rng, me)
    world = GuardedWorld(2, seed=seed)
    world.run(2.0)
    world.nodes[0].put("k", 1)
    intruder = Intruder(world, rng)
    heard: list[bytes] = []
    for turn in range(24):
        made = [intruder.payload(kind) for kind in KINDS]
        chosen = [rng.choice([*made, *heard]) for _ in range(3)] + [made[turn % len(made)]]
        frames = [frame(encoded(mutator.tree(strict.decode(each, 12)))) for each in chosen]
        if turn % 6 == 0:
            frames.append(mutator.raw(frame(made[0])))
        heard += speak_bytes(a, credentials, b"".join(frames), stay_s=0.05)[:20]
    assert sum(a.status().rejected.values()) > 0
    serve_each_other(a, b)


NAMES = (
    "b state=down",
    'x" state="down',
    "[red]x[/red] :smile:",
    "a\u00adb",
    "\U000e0041",
    "\ue000",
    "\\",
    "-o",
    "<script>",
    "\u0301",
)
VALUES = {
    "nan": b"\xfb\x7f\xf8\0\0\0\0\0\0",
    "undefined": b"\xf7",
    "simple": b"\xf8\x63",
    "int-keys": b"\xa1\x01\x02",
    "bytes-keys": b"\xa1\x41\x01\x02",
    "null-key": b"\xa1\xf6\x02",
    "2**64-1": b"\x1b" + b"\xff" * 8,
    "minus 2**64": b"\x3b" + b"\xff" * 8,
    "no CBOR": b"\xff",
    "half": b"\x82\x01",
    "a bad date": b"\xc0\x63abc",
    "a date far off": b"\xc0\x78\x199999-12-31T23:59:59-23:59",
    "a tag": b"\xc2\x41\x01",
    "escapes": b"\x64\x1b[2J",
    "deep": b"\x81" * 200 + b"\0",
}
_FAR_MS = (1 << 62) + 7


def evil_bundle(author: Author) -> bytes:
    keys = (*VALUES, "\x1b[2J", "a\nb", "\u202ekey", "\0", "k" * 512, "[red]", 'k="1"')
    entries = [
        encode_entry(key, None, Op.SET, author.tick(), _FAR_MS, VALUES.get(key, b"\x01"))
        for key in keys
    ]
    return author.bundle(entries, "evil")


COMMANDS = (
    *(("status",), ("members",), ("gossipinfo",), ("keys", "evil"), ("dump", "evil")),
    *(("get", "evil", key) for key in (*VALUES, "a\nb", "[red]")),
    *(("history", "evil", key) for key in ("nan", "int-keys", "no CBOR")),
)


def test_what_members_are_called_and_write_is_shown_safely(
    spawn: Spawn,
    key: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG, "gossipsync")
    mesh = spawn("a")
    me = identity("hostile writer")
    writer = credentials_from_cluster_key(key, Identity.of(me.key))
    author = Author(
        "hostile writer", wall_ms=time.time_ns() // 1_000_000, network=writer.network_id
    )
    speak(mesh, writer, encode_message(Push((evil_bundle(author),))), stay_s=0.3)
    for name in NAMES:
        credentials = hostile(key)
        datum = presence_of(credentials, name=name, zone=name, addresses=("[fe80::1%eth0]:1",))
        speak(mesh, credentials, encode_message(Presences((datum,))), name=name, stay_s=0.1)
    bucket = mesh.bucket("evil")
    wait_until(lambda: len(bucket) == len(VALUES) + 7)
    assert {member.name for member in mesh.members()} >= set(NAMES)
    for each in bucket:
        with suppress(RemoteError):  # a value that is none: the error names its origin
            assert bucket.entry(each).expires == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert bucket.entry("[red]").value == 1
    for command in COMMANDS:
        for output in (("-o", "json"), ("-o", "ndjson"), ("-o", "table")):
            if command[0] in {"get", "dump"} and output[1] != "json":
                continue
            status = main(
                [
                    *command,
                    "--socket",
                    str(tmp_path / "a.sock"),
                    *(output if command[0] != "dump" else ()),
                ]
            )
            out, err = capsys.readouterr()
            check_shown(command, output[1], status, out, err)
    for entry_ in caplog.records:
        message = entry_.getMessage()
        assert message.isprintable(), message
        assert (
            " state=down" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", message)
            or "hostile" not in message
        )
    serve_each_other(mesh, spawn("b", mesh.address))


def check_shown(command: tuple[str, ...], output: str, status: int, out: str, err: str) -> None:
    assert "internal" not in err, (command, err)
    assert status in {0, 1}, (command, err)
    for line in (out + err).split("\n"):
        assert line.isprintable(), (command, line)
    if status == 0 and output == "json" and command[0] != "dump":
        json.loads(out)
    elif status == 0 and output == "ndjson":
        for line in out.splitlines():
            json.loads(line)


def test_a_kind_that_another_member_announced_earlier(spawn: Spawn, key: str) -> None:
    """Views that were made before raised AssertionError."""
    mesh = spawn("a")
    views = {
        "counter": mesh.bucket("counter", kind="counter").counter("k"),
        "set": mesh.bucket("set", kind="set").elements("k"),
        "map": mesh.bucket("map", kind="map").fields("k"),
    }
    me = identity("hostile announcer")
    credentials = credentials_from_cluster_key(key, Identity.of(me.key))
    now_ms = time.time_ns() // 1_000_000
    author = Author("hostile announcer", wall_ms=now_ms, network=credentials.network_id)
    author.announcement = Announcement(BucketRules(), hlc_at(now_ms - 3_600_000))
    bundles = tuple(author.put("k", "a value", name) for name in views)
    speak(mesh, credentials, encode_message(Push(bundles)), stay_s=0.2)
    for name, look in (
        ("counter", lambda: views["counter"].value),  # type: ignore[attr-defined]
        ("set", lambda: len(views["set"])),  # type: ignore[arg-type]
        ("map", lambda: dict(views["map"])),  # type: ignore[call-overload]
    ):
        wait_until(lambda name=name: mesh.bucket(name).get("k") == "a value")
        with pytest.raises(BucketKindError, match="announced it earlier"):
            look()


def bug(*_: object, **__: object) -> object:
    raise ZeroDivisionError("planted")


@pytest.mark.plants_bugs
def test_a_bug_behind_the_decoder_closes_the_link_that_met_it(
    pair: tuple[Mesh, Mesh],
    key: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    a, b = pair
    dispatch = Receiving._dispatch

    def planted(self: Receiving, link: Link, message: Message) -> None:
        if isinstance(message, Known) and message.members == 77:
            bug()
        dispatch(self, link, message)

    monkeypatch.setattr(Receiving, "_dispatch", planted)
    closed = [time.monotonic()]
    for _ in range(3):
        speak(a, hostile(key), encode_message(Known(77, False, ())), stay_s=5.0)
        closed.append(time.monotonic())
    assert closed[-1] - closed[0] < 10, "each link was hung up on"
    assert a.status().rejected["internal"] == 3
    assert caplog.text.count("ZeroDivisionError: planted") == 1
    serve_each_other(a, b)


@pytest.mark.plants_bugs
def test_a_dial_and_an_inbound_connection_that_raise_are_counted(
    spawn: Spawn, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = spawn("a")
    connect, negotiate = transports.connect, Transport.negotiate
    monkeypatch.setattr(transports, "connect", bug)
    b = spawn("b", a.address)
    wait_until(lambda: b.status().rejected.get("effects-failed", 0) > 0)
    monkeypatch.setattr(transports, "connect", connect)

    async def failing(self: Transport, *args: object, is_dialer: bool) -> Connection:
        return await negotiate(self, *args, is_dialer=is_dialer) if is_dialer else bug()  # type: ignore[arg-type,return-value]

    monkeypatch.setattr(Transport, "negotiate", failing)
    wait_until(lambda: a.status().rejected.get("internal", 0) > 0)
    monkeypatch.setattr(Transport, "negotiate", negotiate)
    b.wait_members(2, timeout=30)
    serve_each_other(a, b)
