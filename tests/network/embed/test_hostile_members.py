"""A member with valid credentials against the whole runtime: nothing that it sends or signs ends an engine.

Found as fault g of issue 9: one signed presence with the address "host:notaport" ended the engine of every peer that received
it, and of each that was started again with the same folder, because the presence is stored.
"""

from __future__ import annotations

import time
from base64 import b32decode
from collections.abc import Callable
from pathlib import Path

import trio

import gossipsync
from gossipsync import Mesh
from gossipsync.core.model.address import split_address
from gossipsync.core.model.ids import PeerId, peer_text
from gossipsync.core.wire.framing import frame
from gossipsync.core.wire.messages import Presences, encode_message
from gossipsync.runtime.trust import Credentials, Identity, credentials_from_cluster_key
from gossipsync.stores import open_store
from tests.attacks._hand import ADDRESSES, signed_presence
from tests.network._pairs import transport
from tests.network.embed.conftest import QUICK

Settings = Callable[..., dict[str, object]]


def presence_of(credentials: Credentials, **parts: object) -> bytes:
    me = credentials.identity
    stamp = time.time_ns() // 1_000_000
    return signed_presence(
        credentials.network_id, me.peer_id, me.sign, **({"stamp": stamp} | parts)
    )


def hostile(key: str) -> Credentials:
    return credentials_from_cluster_key(key, Identity.generate())


def speak(mesh: Mesh, credentials: Credentials, *payloads: bytes) -> None:
    """Link with a peer, send each payload, and read until it hangs up or half a second has passed."""
    assert mesh.address is not None

    async def run() -> None:
        assert mesh.address is not None
        connection = await transport(credentials, "hostile").dial(*split_address(mesh.address))
        try:
            with trio.move_on_after(0.5):
                await connection.stream.send_all(b"".join(map(frame, payloads)))
                while await connection.stream.receive_some(65536):
                    pass
        except trio.BrokenResourceError:
            pass  # hung up on, which is the peer's good right
        await trio.aclose_forcefully(connection.stream)

    trio.run(run)


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
