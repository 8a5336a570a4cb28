"""The golden bytes of this build's protocol, both ways: this code makes them, and reads them as their sources.

Where it costs little the bytes are also checked against nothing but hashlib, Ed25519 and a CBOR decoder.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gossipsync.core.membership.presence import is_genuine, parse_presence
from gossipsync.core.membership.statements import is_stated, parse_statement
from gossipsync.core.model.bundle import parse_bundle, parse_header, signed_bytes
from gossipsync.core.model.entry import decode_entries, leaves_of
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import epoch_of, peer_of
from gossipsync.core.replication.forks import parse_fork_proof
from gossipsync.core.replication.merkle import levels_from, merkle_root
from gossipsync.core.replication.pieces import (
    NOBODY,
    Excerpt,
    cells_of,
    encode_piece,
    is_proven,
    parse_piece,
)
from gossipsync.core.replication.tokens import read_token
from gossipsync.core.wire.messages import decode_message, encode_message
from tests.core._world import Authority
from tests.vectors import generate

GOLDEN: dict[str, Any] = json.loads(generate.PATH.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", GOLDEN["entries"])
def test_entries_read_as_what_they_were_made_from(name: str) -> None:
    golden = GOLDEN["entries"][name]
    data = bytes.fromhex(golden["entry"])
    (entry,) = decode_entries((data,))
    field = entry.field.hex() if isinstance(entry.field, bytes) else entry.field
    value = None if entry.value is None else entry.value.hex()
    assert (entry.key, field, entry.op, entry.stamp, entry.expires, value) == tuple(
        golden[part] for part in ("key", "field", "op", "stamp", "expires", "value")
    )
    assert leaves_of([entry])[0].hex() == golden["leaf_hash"]
    assert sha256(b"\0" + bytes.fromhex(golden["stub"])).hexdigest() == golden["leaf_hash"]
    key, *_ = cbor2.loads(data)
    assert key == golden["key"]


@pytest.mark.parametrize("bucket", GOLDEN["bundles"])
def test_bundles_read_verify_and_chain(bucket: str) -> None:
    golden = GOLDEN["bundles"][bucket]
    data = bytes.fromhex(golden["bundle"])
    bundle = parse_bundle(data)
    header = bundle.header
    assert bundle.encode() == data
    assert header == parse_header(bytes.fromhex(golden["header"]))
    assert (header.bucket, header.index, header.network.hex()) == (bucket, 1, GOLDEN["network"])
    assert peer_of(header.origin).hex() == GOLDEN["peer"]
    assert epoch_of(header.origin) == GOLDEN["epoch"]
    assert sha256(header.data).hexdigest() == golden["header_hash"] == header.hash.hex()
    leaves = leaves_of(bundle.entries())
    assert merkle_root(leaves).hex() == golden["merkle_root"] == header.root.hex()
    path = b"".join(bytes.fromhex(part) for part in golden["path_of_last"])
    last = len(leaves) - 1
    assert levels_from({last: leaves[last]}, len(leaves), path)[-1] == {0: header.root}
    second = parse_bundle(bytes.fromhex(golden["next_bundle"])).header
    assert (second.index, second.previous) == (2, header.hash)


@pytest.mark.parametrize("bucket", GOLDEN["bundles"])
def test_signatures_cover_domain_length_and_header(bucket: str) -> None:
    golden = GOLDEN["bundles"][bucket]
    header = bytes.fromhex(golden["header"])
    signed = b"gossipsync bundle v1" + len(header).to_bytes(8, "big") + header
    assert signed.hex() == golden["signed_bytes"]
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(GOLDEN["peer"]))
    key.verify(bytes.fromhex(golden["signature"]), signed)


@pytest.mark.parametrize("name", GOLDEN["excerpts"])
def test_excerpts_lead_to_the_root_that_their_origin_signed(name: str) -> None:
    golden = GOLDEN["excerpts"][name]
    data = bytes.fromhex(golden["excerpt"])
    header, signature, positions, stubs, rows, proof = cbor2.loads(data)
    bundle = GOLDEN["bundles"]["values"]
    assert (header.hex(), signature.hex()) == (bundle["header"], bundle["signature"])
    parsed = parse_piece(data)
    assert isinstance(parsed, Excerpt)
    assert encode_piece(parsed.piece(NOBODY)) == data
    cells = cells_of(parsed)
    assert is_proven(parsed, cells)
    assert [key for key, _ in cells] == golden["keys"]
    places = [int.from_bytes(positions[at : at + 2], "big") for at in range(0, len(positions), 2)]
    # A row is a stub or is short enough to be its own: either way it is what the tree was built over.
    leaves = {at: sha256(b"\0" + row).digest() for at, row in zip(places, rows, strict=True)}
    if rows:
        assert levels_from(leaves, parsed.header.count, proof)[-1] == {0: parsed.header.root}
    salt = b"gossipsync cells v1" + b"values" + b"\0"
    for key, row, name_, hollow, leaf in zip(
        golden["keys"],
        rows,
        golden["cell_names"],
        golden["hollow_names"],
        golden["leaves"],
        strict=True,
    ):
        origin = bytes.fromhex(GOLDEN["origin"])
        assert sha256(salt + origin + row).digest()[:8].hex() == name_
        assert sha256(salt + origin + row + b"hollow").digest()[:8].hex() == hollow
        a, b = sha256(salt + key.encode()).digest()[:2]
        assert bytes((a >> 4, a & 15, b >> 4, b & 15)).hex() == leaf
    if name == "of two entries":
        assert (positions, stubs) == (b"\0\1\0\2", b"\0\1")


@pytest.mark.parametrize("name", GOLDEN["messages"])
def test_messages_read_as_what_they_were_made_from(name: str) -> None:
    payload = bytes.fromhex(GOLDEN["messages"][name])
    assert decode_message(payload) == generate.MESSAGES[name]
    assert encode_message(decode_message(payload)) == payload


def test_every_type_of_message_has_a_vector() -> None:
    types = {cbor2.loads(bytes.fromhex(payload))[0] for payload in GOLDEN["messages"].values()}
    assert types == {*range(1, 14), *range(17, 26), *range(30, 42)}


@pytest.mark.parametrize("claim", GOLDEN["statements"])
def test_statements_are_genuine_and_read_as_what_they_were_made_from(claim: str) -> None:
    golden = GOLDEN["statements"][claim]
    data = bytes.fromhex(golden["data"])
    statement, body, signature = parse_statement(data, generate.NETWORK)
    assert is_stated(statement, body, signature, Authority())
    assert not is_stated(statement, body + b"\0", signature, Authority())
    assert statement.claim.name.lower() == claim
    assert (statement.by.hex(), statement.about.hex(), statement.bound) == (
        GOLDEN["peer"], golden["about"], golden["bound"],
    )  # fmt: skip


def test_the_fork_is_proven_by_two_genuine_headers() -> None:
    golden = GOLDEN["fork"]
    proof = parse_fork_proof(bytes.fromhex(golden["data"]))
    assert (proof.bound, proof.hash.hex()) == (golden["bound"], golden["hash"])
    assert proof.key == ("values", generate.ORIGIN)
    for header, signature in zip(proof.headers, proof.signatures, strict=True):
        assert Authority().verify(generate.PEER, signature, signed_bytes(header.data))


def test_the_presence_is_genuine_and_reads_as_itself() -> None:
    data = bytes.fromhex(GOLDEN["presence"]["data"])
    presence, body, signature = parse_presence(data, generate.NETWORK)
    assert is_genuine(presence, body, signature, Authority())
    assert (presence.peer.hex(), presence.name, presence.zone) == (
        GOLDEN["peer"],
        "a peer",
        "north",
    )
    assert presence.stamp == GOLDEN["presence"]["stamp"]


def test_sums_of_lines_follow_from_their_hashes() -> None:
    golden = GOLDEN["lines"]
    total = 0
    for bucket, origin, index, head, _ in golden["lines"]:
        line = bucket.encode() + b"\0" + bytes.fromhex(origin)
        line += index.to_bytes(8, "big") + bytes.fromhex(head)
        salt = b"gossipsync lines v1" + generate.NETWORK
        total += int.from_bytes(sha256(salt + line).digest()[:16], "big")
    assert (total % (1 << 128)).to_bytes(16, "big").hex() == golden["digest"]
    assert golden["digest_of_none"] == bytes(16).hex()


@pytest.mark.parametrize(("name", "count"), [("of_one", 1), ("of_all", 3), ("of_nothing", 0)])
def test_tokens_read_as_what_they_were_made_from(name: str, count: int) -> None:
    text = GOLDEN["tokens"][name]
    newest = Hlc(generate.STAMP + 100)
    token = read_token(text, generate.NETWORK, generate.TOKEN_KEY, newest)
    names = [int(name, 16) for name in GOLDEN["tokens"]["line_names"][:count]]
    expected = {name >> (64 - token.bits): line.index for name, line in zip(names, generate.LINES, strict=False)}
    assert dict(token.lines) == expected
    assert token.hlc == max(line.hlc for line in generate.LINES)
    assert token.maker == generate.PEER[:8]
