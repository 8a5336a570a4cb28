"""The second implementation against this one, over loopback TLS: proof that docs/protocol.md suffices to write it.

Only this file imports the product. A wait that does not come true fails after 15 s with the last messages.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import gossipsync
from gossipsync.runtime.trust import keygen
from tests.interop.data import DELETE, SET, TOUCH, cbor, read_piece
from tests.interop.link import Link, RefusedError, dial
from tests.interop.reconciling import Reconciling
from tests.interop.second import READY
from tests.interop.trust import Identity, Network

VALUE, MAP, COUNTER, SET_KIND = range(4)
KEY = keygen()


def identity(network: Network, number: int = 1) -> Identity:
    key = Ed25519PrivateKey.generate()
    return Identity(network, key, (int(time.time() * 1000) << 15) | number)


def open_product(**settings: object) -> gossipsync.Mesh:
    given = {"listen": "127.0.0.1:0", "gossip_interval": 0.2} | settings
    return gossipsync.open(name="product", cluster_key=KEY, **given)


@pytest.fixture
def mesh() -> Iterator[gossipsync.Mesh]:
    with open_product() as opened:
        opened.bucket("flags")
        opened.bucket("carts", kind="map")
        opened.bucket("hits", kind="counter")
        opened.bucket("roles", kind="set")
        yield opened


@pytest.fixture
def second() -> Iterator[Reconciling]:
    peer = Reconciling(identity(Network(KEY)))
    yield peer
    if peer.link is not None:
        peer.link.close()


def join(second: Reconciling, mesh: gossipsync.Mesh) -> Link:
    """Dial the product and say who we are."""
    assert mesh.address is not None
    link = dial(mesh.address, second.who)
    assert link.greet("second") == 2
    assert link.hello["name"] == "product"
    second.attach(link)
    return link


def shows(second: Reconciling, mesh: gossipsync.Mesh, condition: Callable[[], bool]) -> None:
    """The product shows it, while the second peer answers."""
    second.pump(condition)
    assert not mesh.status().rejected


def test_only_this_file_imports_the_product() -> None:
    for path in Path(__file__).parent.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != Path(__file__).name:
            assert not re.search(r"^\s*(from|import) gossipsync", text, re.MULTILINE), path.name


def test_it_reads_what_the_product_writes(mesh: gossipsync.Mesh, second: Reconciling) -> None:
    for number in range(30):
        mesh.bucket("flags")[f"key-{number}"] = {"n": number, "text": "x" * number * 3}
    mesh.bucket("carts")["cart"] = {"a": 1, "b": [1, 2]}
    mesh.bucket("hits").counter("page").add(7)
    mesh.bucket("roles").elements("admins").add("ada")
    del mesh.bucket("flags")["key-3"]
    join(second, mesh)
    second.pump(lambda: second.value("roles", "admins", "ada") is not None)
    second.pump(lambda: second.value("flags", "key-29") is not None)
    for number in (0, 1, 29):
        value = second.value("flags", f"key-{number}")
        assert value is not None
        assert cbor2.loads(value) == mesh.bucket("flags")[f"key-{number}"]
    assert second.value("flags", "key-3") is None
    assert second.value("carts", "cart", "b") == cbor([1, 2])
    (total,) = second.state["hits"]["page"].values()
    assert total.value is not None
    assert cbor2.loads(total.value) == [7, None]
    # A fresh write comes by push, and is acknowledged by Stored.
    receipt = mesh.bucket("flags").put("fresh", "pushed")
    second.pump(lambda: second.value("flags", "fresh") == cbor("pushed"))
    second.pump(lambda: len(receipt.acked_by) == 1)
    assert not mesh.status().rejected


def test_the_product_reads_what_it_writes(mesh: gossipsync.Mesh, second: Reconciling) -> None:
    second.write("flags", VALUE, [(f"k{n}", None, SET, None, cbor(n)) for n in range(5)])
    second.write("flags", VALUE, [("k4", None, DELETE, None, None)])
    until_ms = int(time.time() * 1000) + 3_600_000
    second.write(
        "carts", MAP, [("c", "x", SET, until_ms, cbor("one")), ("c", "y", SET, until_ms, cbor(2))]
    )
    second.write("hits", COUNTER, [("page", second.who.origin, SET, None, cbor([41, None]))])
    second.write("roles", SET_KIND, [("admins", "bea", SET, None, cbor(None))])
    join(second, mesh)
    # By want and delta, which the product asks for:
    shows(second, mesh, lambda: "admins" in mesh.bucket("roles"))
    flags = mesh.bucket("flags")
    shows(second, mesh, lambda: dict(flags) == {f"k{n}": n for n in range(4)})
    shows(second, mesh, lambda: dict(mesh.bucket("carts")) == {"c": {"x": "one", "y": 2}})
    assert mesh.bucket("hits")["page"] == 41
    assert mesh.bucket("roles")["admins"] == frozenset({"bea"})
    # By push:
    later = until_ms + 60_000
    second.push(second.write("carts", MAP, [("c", None, TOUCH, later, None)]))
    second.push(
        second.write("flags", VALUE, [("pushed", None, SET, None, cbor({"deep": [1, None]}))])
    )
    shows(second, mesh, lambda: flags.get("pushed") == {"deep": [1, None]})
    expires = mesh.bucket("carts").entry("c").expires
    assert expires is not None
    assert round(expires.timestamp() * 1000) == later
    # Both have the same vector now, and say so.
    second.equal = 0
    second.pump(lambda: second.equal > 0)
    key = ("flags", second.who.origin)
    second.pump(lambda: second.stored.get(key) == second.logs[key].index)


def test_many_lines_are_compared_by_ranges(mesh: gossipsync.Mesh, second: Reconciling) -> None:
    """More than 24 lines on both sides: the sums of ranges, down to where they differ."""
    for number in range(40):
        mesh.bucket(f"theirs-{number}")["k"] = number
        second.write(f"mine-{number}", VALUE, [("k", None, SET, None, cbor(number))])
    join(second, mesh)
    second.pump(lambda: all(second.value(f"theirs-{n}", "k") == cbor(n) for n in range(40)))
    shows(second, mesh, lambda: all(mesh.bucket(f"mine-{n}").get("k") == n for n in range(40)))
    assert any(message[0] == 3 and message[2] for message in second.heard), "ranges were compared"
    second.equal = 0
    second.pump(lambda: second.equal > 0)


def test_pings_are_answered_and_presence_is_shown(
    mesh: gossipsync.Mesh, second: Reconciling
) -> None:
    link = join(second, mesh)
    link.send(18, 77)
    second.pump(lambda: [19, 77] in second.heard)
    second.pump(lambda: bool(second.presences))
    (shown,) = second.presences.values()
    assert shown[6:8] == ["product", [mesh.address]]
    second.pump(lambda: any(member.name == "second" for member in mesh.members()))


def test_it_answers_the_probes_of_a_silent_link(second: Reconciling) -> None:
    with open_product(gossip_interval=30) as mesh:
        mesh.start()
        join(second, mesh)
        second.pump(lambda: sum(message[0] == 18 for message in second.heard) >= 2)
        assert {member.state for member in mesh.members()} == {"alive"}
        assert not mesh.status().rejected


@pytest.mark.parametrize("by_dump", [True, False])
def test_it_takes_over_the_products_state(
    mesh: gossipsync.Mesh, second: Reconciling, by_dump: bool
) -> None:
    flags = mesh.bucket("flags")
    with flags.batch():
        for number in range(200):
            flags[f"key-{number:03}"] = "x" * (number % 50)
    for number in range(0, 200, 7):
        flags[f"key-{number:03}"] = number
    del flags["key-008"]
    flags.put("fresh", 1, ack="self", timeout=10)
    join(second, mesh)
    theirs: dict[tuple[str, bytes], int] = {}
    # It compares, and asks for no bundle: all that it takes comes by the reconciliation.
    second.want = theirs.update  # type: ignore[method-assign, assignment]
    second.pump(lambda: len(theirs) >= 1)
    second.pump(lambda: second.stage == READY)
    taken = second.take_over(theirs, by_dump=by_dump)
    assert taken["heads"] == len(theirs) >= 1
    assert bool(taken["dump"]) is by_dump
    assert bool(taken["fetch"]) is not by_dump
    assert taken["surveys"] >= 1
    found = {
        key: cbor2.loads(cells["field", None].value)
        for key, cells in second.state["flags"].items()
        if ("field", None) in cells
    }
    assert found == dict(flags)
    # Its lines moved to the snapshot, so the vectors are equal.
    second.equal = 0
    second.compare()
    second.pump(lambda: second.equal > 0)
    assert not mesh.status().rejected


def test_sums_of_the_state_agree(mesh: gossipsync.Mesh, second: Reconciling) -> None:
    for number in range(60):
        mesh.bucket("flags")[f"k{number}"] = "x" * number
    mesh.bucket("carts")["c"] = {"a": 1}
    mesh.bucket("roles").elements("r").add("e")
    link = join(second, mesh)
    second.pump(lambda: second.value("roles", "r", "e") is not None)
    second.equal = 0
    second.pump(lambda: second.equal > 0 and second.stage == READY)
    step_ms = 60_000
    cut_ms = -(-(int(time.time() * 1000) + step_ms) // step_ms) * step_ms
    sums: list[list[object]] = []
    second.on_39 = lambda *parts: sums.append(list(parts))  # type: ignore[attr-defined]

    def asked_with(total: bytes) -> None:
        link.send(39, False, cut_ms, second.range_sum(b""), bytes(8), total)

    # Another total is answered, once the product's rounds have reached its trees; the equal one is not.
    def wrong_is_answered() -> bool:
        if not sums:
            asked_with(bytes(8))
        return bool(sums)

    second.pump(wrong_is_answered)
    assert sums[0] == [True, cut_ms, second.range_sum(b""), bytes(8), second.total()]
    link.send(18, 4)
    second.pump(lambda: [19, 4] in second.heard)
    answered = len(sums)
    asked_with(second.total())
    link.send(18, 5)
    second.pump(lambda: [19, 5] in second.heard)
    assert len(sums) == answered


def test_it_looks_at_what_the_product_has(mesh: gossipsync.Mesh, second: Reconciling) -> None:
    flags = mesh.bucket("flags")
    for number in range(5):
        flags[f"k{number}"] = {"n": number, "text": "x" * 50}
    flags.put("last", 1, ack="self", timeout=10)
    join(second, mesh)
    second.pump(lambda: second.stage == READY)
    (keys,) = second.look("flags", 3)
    assert keys[1:4] == [0, True, b""]
    assert {key for key, _ in keys[5]} == {*flags}  # type: ignore[attr-defined]
    (values,) = second.look("flags", 0, "k3")
    cells = [
        cell for data in values[4] for cell in read_piece(data, second.who.network.id).rows.values()
    ]  # type: ignore[attr-defined]
    assert [(cell.key, cbor2.loads(cell.value or b"")) for cell in cells] == [("k3", flags["k3"])]
    (outlines,) = second.look("flags", 1, "k3")
    (outline,) = outlines[4]  # type: ignore[misc]
    (stub,) = read_piece(outline, second.who.network.id).rows.values()
    assert (stub.value, stub.leaf_hash) == (None, cells[0].leaf_hash)
    (lines,) = second.look("flags", 2)
    heads = [read_piece(data, second.who.network.id).header for data in lines[4]]  # type: ignore[attr-defined]
    assert [(head.bucket, head.origin) for head in heads] == [
        ("flags", key[1]) for key in second.logs if key[0] == "flags"
    ]
    (unknown,) = second.look("nowhere", 3)
    assert unknown[1] == 1


def test_the_product_takes_over_its_state(mesh: gossipsync.Mesh, second: Reconciling) -> None:
    rows = [(f"key-{n:03}", None, SET, None, cbor("x" * (n % 60))) for n in range(150)]
    second.write("flags", VALUE, rows)  # type: ignore[arg-type]
    second.write(
        "flags", VALUE, [(f"key-{n:03}", None, SET, None, cbor(n)) for n in range(0, 150, 2)]
    )
    second.write("carts", MAP, [("c", "x", SET, None, cbor(1))])
    second.hollow(("flags", second.who.origin))
    join(second, mesh)
    flags = mesh.bucket("flags")
    expected = {f"key-{n:03}": "x" * (n % 60) if n % 2 else n for n in range(150)}
    shows(second, mesh, lambda: dict(flags) == expected)
    asked = {message[0] for message in second.heard}
    assert asked & {30, 31, 34}, "by a reconciliation, because no delta could give it"
    second.equal = 0
    shows(second, mesh, lambda: second.equal > 0)
    assert dict(mesh.bucket("carts")) == {"c": {"x": 1}}


def test_it_relays_a_third_peers_bundles(mesh: gossipsync.Mesh, second: Reconciling) -> None:
    third = Reconciling(identity(second.who.network, 3))
    data = third.write("flags", VALUE, [("from-third", None, SET, None, cbor("relayed"))])
    second.certificates[third.who.peer] = third.who.certificate
    second.apply(data)
    join(second, mesh)
    shows(second, mesh, lambda: mesh.bucket("flags").get("from-third") == "relayed")
    assert [10, [third.who.certificate]] not in second.heard
    entry = mesh.bucket("flags").entry("from-third")
    assert entry.origin != entry.sender


def test_it_listens_as_well(second: Reconciling) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(15)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        second.write("flags", VALUE, [("k", None, SET, None, cbor("served"))])
        with open_product(seeds=[address]) as mesh:
            mesh.start()
            raw, _ = listener.accept()
            link = Link(raw, second.who, is_dialer=False)
            assert link.greet("second") == 2
            second.attach(link)
            second.pump(lambda: mesh.bucket("flags").get("k") == "served")
            second.pump(lambda: second.stage == READY)


def test_a_later_protocol_is_refused_in_words_at_both_ends(
    mesh: gossipsync.Mesh, second: Reconciling
) -> None:
    assert mesh.address is not None
    with closing(dial(mesh.address, second.who)) as link, pytest.raises(RefusedError) as caught:
        link.greet("second", highest=4, lowest=3)
    hello, refusal = caught.value.args
    assert hello[1:3] == [2, 2]
    assert refusal == [3, "version", 2, 2]
    end = time.monotonic() + 15
    while "incompatible" not in mesh.status().warnings:
        assert time.monotonic() < end
        Event().wait(0.01)
    with closing(dial(mesh.address, second.who)) as link:
        assert link.greet("second", highest=9, lowest=1) == 2
