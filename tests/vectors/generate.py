"""Golden bytes of everything that is signed, stored or sent: one file for each protocol and each store format.

    python -m tests.vectors.generate            writes the files of this build's numbers that do not exist yet
    python -m tests.vectors.generate --replace  writes them anew, unless their number is in `released.json`
    python -m tests.vectors.generate --released writes them anew in any case: bytes that others already have change

A change of bytes takes a new number: PROTOCOL_VERSION in `gossipsync/core/wire/versions.py`, FORMAT in
`gossipsync/stores/_journal_file.py`. Vectors of former numbers stay; `released.json` holds their SHA-256.

Provenance: every byte follows from the seeds and numbers in this folder and from Ed25519 (RFC 8032), SHA-256 and canonical CBOR
(RFC 8949 §4.2); keys are SHA-256("gossipsync vector key " + name).
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gossipsync.core.membership.presence import Stance, make_presence
from gossipsync.core.membership.statements import Claim, make_statement
from gossipsync.core.model.bucket import Announcement, BucketRules, Deletes, Kind
from gossipsync.core.model.bundle import FROZEN, NO_PREVIOUS, Bundle, build_header, signed_bytes
from gossipsync.core.model.entry import Field, Op, encode_entry, encode_body, leaf_hash, stub_of
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import Epoch, NetworkId, PeerId, origin_of
from gossipsync.core.model.stage import Stage
from gossipsync.core.model.values import encode_value
from gossipsync.core.replication.forks import make_fork_proof
from gossipsync.core.replication.lines import Line, LineTree
from gossipsync.core.replication.merkle import all_levels, merkle_root, proof_of
from gossipsync.core.replication.tokens import line_name, write_token
from gossipsync.core.replication.views import encode_total
from gossipsync.core.replication.cells import DATA, Cell, shadow_of
from gossipsync.core.replication.celltree import CellTree
from gossipsync.core.replication.pieces import (
    NOBODY,
    Piece,
    cells_in_piece,
    encode_piece,
    header_only,
    pruned,
    whole_piece,
)
from gossipsync.core.wire import evidence, liveness, looking, messages, reconciling
from gossipsync.core.wire.messages import encode_message
from gossipsync.core.wire.readiness import Readiness
from gossipsync.core.wire.versions import PROTOCOL_VERSION
from gossipsync.runtime.trust import Identity
from gossipsync.stores._journal_file import FORMAT as STORE_FORMAT
from tests.vectors import connection, store_rows

FOLDER = Path(__file__).parent
PATH = FOLDER / f"protocol-{PROTOCOL_VERSION}.json"
STORE_PATH = FOLDER / f"store-{STORE_FORMAT}.json"
RELEASED = FOLDER / "released.json"
NETWORK = NetworkId(sha256(b"gossipsync vector network").digest())
TOKEN_KEY = sha256(b"gossipsync vector token key").digest()
START_MS = 1_790_000_000_000
STAMP = Hlc(START_MS << 16)
EPOCH = Epoch(START_MS << 15 | 4242)


def key_of(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(
        sha256(b"gossipsync vector key " + name.encode()).digest()
    )


SIGNER = key_of("signer")
PEER = PeerId(SIGNER.public_key().public_bytes_raw())
ORIGIN = origin_of(PEER, EPOCH)

ENTRIES: dict[str, tuple[str, Field, Op, int | None, bytes | None]] = {
    "set a value": ("key", None, Op.SET, None, encode_value({"user": 7})),
    "set a long value that expires": (
        "key",
        None,
        Op.SET,
        START_MS + 60_000,
        encode_value("v" * 40),
    ),
    "set a field": ("sid", "cart", Op.SET, START_MS + 60_000, encode_value([1, 2, 3])),
    "remove a field": ("sid", "cart", Op.DELETE, START_MS + 60_000, None),
    "add an element": ("tags", "réd", Op.SET, None, encode_value(None)),
    "a running total": ("hits", ORIGIN, Op.SET, None, encode_total(41, None)),
    "a running total from a tombstone": ("hits", ORIGIN, Op.SET, None, encode_total(-1, b"t" * 16)),
    "delete": ("key", None, Op.DELETE, None, None),
    "delete finally": ("sid", None, Op.FINAL, START_MS + 3_600_000, None),
    "touch": ("sid", None, Op.TOUCH, START_MS + 120_000, None),
    "mark": ("sid", None, Op.MARK, None, None),
}
BUNDLES: dict[str, tuple[BucketRules, list[str]]] = {
    "values": (BucketRules(), ["set a value", "set a long value that expires", "delete"]),
    "maps": (
        BucketRules(Kind.MAP, Deletes.FINAL, 1_800_000),
        ["set a field", "remove a field", "touch", "mark", "delete finally"],
    ),
    "counters": (
        BucketRules(Kind.COUNTER),
        ["a running total", "a running total from a tombstone"],
    ),
    "sets": (BucketRules(Kind.SET), ["add an element"]),
}


def entry_bytes(name: str, number: int = 0) -> bytes:
    key, field, op, expires, value = ENTRIES[name]
    return encode_entry(key, field, op, Hlc(STAMP + number), expires, value)


def _entries() -> dict[str, object]:
    found = {}
    for name, (key, field, op, expires, value) in ENTRIES.items():
        data = entry_bytes(name)
        stub = stub_of(data, -1 if value is None else len(value))
        found[name] = {
            "key": key,
            "field": field.hex() if isinstance(field, bytes) else field,
            "op": int(op),
            "stamp": STAMP,
            "expires": expires,
            "value": None if value is None else value.hex(),
            "entry": data.hex(),
            "stub": stub.hex(),
            "leaf_hash": leaf_hash(stub).hex(),
        }
    return found


def _leaves(names: list[str]) -> list[bytes]:
    leaves = []
    for number, name in enumerate(names):
        value = ENTRIES[name][4]
        size = -1 if value is None else len(value)
        leaves.append(leaf_hash(stub_of(entry_bytes(name, number), size)))
    return leaves


def make_bundle(bucket: str, index: int = 1, previous: bytes = NO_PREVIOUS) -> Bundle:
    rules, names = BUNDLES[bucket]
    header = build_header(
        network=NETWORK,
        bucket=bucket,
        announcement=Announcement(rules, STAMP),
        peer=PEER,
        epoch=EPOCH,
        index=index,
        previous=previous,
        count=len(names),
        root=merkle_root(_leaves(names)),
        log_hlc=Hlc(STAMP + len(names) - 1),
    )
    entries = tuple(entry_bytes(name, number) for number, name in enumerate(names))
    return Bundle(header, SIGNER.sign(signed_bytes(header.data)), encode_body(entries))


def _bundles() -> dict[str, object]:
    found = {}
    for bucket, (_, names) in BUNDLES.items():
        bundle = make_bundle(bucket)
        leaves = _leaves(names)
        second = make_bundle(bucket, 2, bundle.header.hash)
        proof = proof_of(all_levels(leaves), len(leaves), [len(leaves) - 1])
        found[bucket] = {
            "entries": names,
            "header": bundle.header.data.hex(),
            "header_hash": bundle.header.hash.hex(),
            "signed_bytes": signed_bytes(bundle.header.data).hex(),
            "signature": bundle.signature.hex(),
            "merkle_root": bundle.header.root.hex(),
            "path_of_last": [proof[at : at + 32].hex() for at in range(0, len(proof), 32)],
            "bundle": bundle.encode().hex(),
            "next_bundle": second.encode().hex(),
        }
    return found


def excerpt_of(bucket: str) -> Piece:
    """The middle of a bundle without its value, and its last entry; the first has lost."""
    bundle = make_bundle(bucket)
    last = bundle.header.count - 1
    rows = [entry.data for entry in bundle.entries()]

    def keep(_: str, cell: Cell) -> Cell | None:
        if cell[DATA] == rows[0]:
            return None
        return cell if cell[DATA] == rows[last] else shadow_of(cell)

    left = pruned(whole_piece(bundle, bundle.entries(), NOBODY), ORIGIN, bundle.header.index, keep)
    assert left is not None
    return left


def _excerpts() -> dict[str, object]:
    found = {}
    bare = header_only(whole_piece(make_bundle("values"), (), NOBODY))
    for name, piece in (("of two entries", excerpt_of("values")), ("of none", bare)):
        cells = cells_in_piece(piece, ORIGIN, 1)
        tree = CellTree("values", 0)
        found[name] = {
            "excerpt": encode_piece(piece).hex(),
            "keys": [key for key, _ in cells],
            "cell_names": [tree.names_of(cell)[0].hex() for _, cell in cells],
            "hollow_names": [tree.names_of(cell)[1].hex() for _, cell in cells],
            "leaves": [tree.leaf_of(key).hex() for key, _ in cells],
        }
    return found


MESSAGES: dict[str, messages.Message] = {
    "digest": messages.Digest(1, bytes(range(16)), b"", START_MS),
    "digest with a base": messages.Digest(3, bytes(range(16)), bytes(16), START_MS),
    "equal": messages.Equal(1, START_MS + 5),
    "compare ranges": messages.Compare(
        1, ((b"", bytes(range(16)), 3), (b"\x01\x0f", bytes(16), 0)), False, (), (), ()
    ),
    "compare lines": messages.Compare(
        2, (), True, (b"\x0a",), (("values", ORIGIN, 2, b"headhead", STAMP),),
        (("maps", ORIGIN, 1, b"headhead", STAMP), ("values", ORIGIN, 3, b"tailtail", STAMP + 1)),
    ),
    "want": messages.Want(7, 262_144, (("values", ORIGIN, 1, 64), ("maps", ORIGIN, 2, 2))),
    "delta": messages.Delta(7, (make_bundle("sets").encode(),)),
    "push": messages.Push((make_bundle("counters").encode(),)),
    "prune": messages.Prune((ORIGIN,)),
    "stored": messages.Stored((("values", ORIGIN, 2),)),
    "presences": messages.Presences((b"presence",)),
    "credentials": messages.Credentials((b"certificate",)),
    "known": messages.Known(
        40,
        False,
        (
            PEER[:8] + START_MS.to_bytes(8, "big"),
            bytes(8) + (START_MS + 1).to_bytes(8, "big"),
        ),
    ),
    "seek": messages.Seek(((PEER[:8], True), (bytes(8), False)), None),
    "seek a page": messages.Seek((), bytes(32)),
    "page": messages.Page((b"presence",)),
    "readiness": Readiness(Stage.ESTABLISHED),
    "ping": liveness.Ping(7),
    "pong": liveness.Pong(7),
    "reach": liveness.Reach(8, PEER),
    "reached": liveness.Reached(8, True),
    "not reached": liveness.Reached(9, False),
    "statements": liveness.Statements((b"statement",)),
    "parting": liveness.Parting(),
    "contest": evidence.Contest((("values", ORIGIN, 2), ("maps", ORIGIN, FROZEN))),
    "evidence": evidence.Evidence((b"proof", b"excerpt")),
    "heads": reconciling.Heads(4, (("values", ORIGIN), ("maps", ORIGIN))),
    "heads that ask for what is covered": reconciling.Heads(4, (), b"covered!", wants_all=True),
    "survey": reconciling.Survey(
        4, START_MS + 60_000, True, (("values", b""), ("values", b"\x01\x0f"))
    ),
    "findings": reconciling.Findings(
        4, START_MS + 60_000, True, (("values", b"\x01", b"sumsums!" * 16),),
        (("values", b"\x01\x0f\x00\x02", b"cellcellhashhash"), ("maps", b"", b"")),
    ),
    "findings of a peer that joins": reconciling.Findings(4, START_MS, False, (), ()),
    "fetch": reconciling.Fetch(4, (("values", b"\x01\x0f", b"cellcellhashhash"),)),
    "dump": reconciling.Dump(4, None),
    "dump, the next page": reconciling.Dump(4, ("values", ORIGIN, 2)),
    "dump, up to a place": reconciling.Dump(4, None, ("values", ORIGIN, 2)),
    "parts": reconciling.Parts(4, True, (make_bundle("sets").encode(), encode_piece(excerpt_of("values")))),
    "covered": reconciling.Covered(4, (("values", ORIGIN, 2),)),
    "doubt": reconciling.Doubt(
        4, (("values", b"\x01\x0f", reconciling.doubt_row(ORIGIN, 2, b"cellcell")),)
    ),
    "verdict": reconciling.Verdict(4, b"\x01\x00\x01"),
    "state sum": reconciling.StateSum(False, START_MS + 60_000, bytes(range(16)), b"covered!", b"sumsums!"),
    "look for keys": looking.Look(5, "values", looking.Aspect.KEYS, "user:", (), b""),
    "look for keys, the next page": looking.Look(
        5, "values", looking.Aspect.KEYS, "user:", (), b"user:7"
    ),
    "look at keys": looking.Look(5, "values", looking.Aspect.VALUES, "", ("a", "b"), b""),
    "look at outlines": looking.Look(5, "values", looking.Aspect.OUTLINES, "", ("a",), b""),
    "look at lines": looking.Look(6, "values", looking.Aspect.LINES, "", (), ORIGIN),
    "shown keys": looking.Shown(
        5, looking.Outcome.SHOWN, True, b"user:7", (), (("user:1", 1), ("user:7", 300))
    ),
    "shown": looking.Shown(
        5, looking.Outcome.SHOWN, True, b"", (encode_piece(excerpt_of("values")),)
    ),
    "not shown": looking.Shown(5, looking.Outcome.JOINING, True, b""),
}  # fmt: skip


def _presence() -> dict[str, object]:
    presence = make_presence(
        network=NETWORK,
        peer=PEER,
        stamp=START_MS,
        epoch=EPOCH,
        stance=Stance.UP,
        name="a peer",
        addresses=("192.0.2.7:7946", "[2001:db8::7]:7946"),
        zone="north",
        version="0.1",
        sign=SIGNER.sign,
    )
    return {"stamp": START_MS, "data": presence.data.hex()}


def _statements() -> dict[str, object]:
    return {
        claim.name.lower(): {
            "about": bytes(32).hex(),
            "bound": START_MS,
            "data": make_statement(
                claim, network=NETWORK, by=PEER, about=PeerId(bytes(32)), bound=START_MS,
                sign=SIGNER.sign,
            ).data.hex(),
        }
        for claim in Claim
    }  # fmt: skip


def _fork() -> dict[str, object]:
    """Two first bundles of one log."""
    signed = []
    for count in (1, 2):
        header = build_header(
            network=NETWORK, bucket="values", announcement=Announcement(BucketRules(), STAMP),
            peer=PEER, epoch=EPOCH, index=1, previous=NO_PREVIOUS, count=count, root=bytes(32),
            log_hlc=Hlc(STAMP + count),
        )  # fmt: skip
        signed.append((header, SIGNER.sign(signed_bytes(header.data))))
    proof = make_fork_proof(signed[0], signed[1])
    return {"bound": proof.bound, "hash": proof.hash.hex(), "data": proof.data.hex()}


LINES = [
    Line("values", ORIGIN, 2, b"headhead", STAMP),
    Line("maps", ORIGIN, 1, b"headhead", STAMP),
    Line("values", origin_of(PeerId(bytes(32)), Epoch(1)), 7, b"tailtail", Hlc(STAMP + 1)),
]


def _lines() -> dict[str, object]:
    tree = LineTree(NETWORK)
    for line in LINES:
        tree.update(line)
    return {
        "lines": [
            [line.bucket, line.origin.hex(), line.index, line.head.hex(), line.hlc]
            for line in LINES
        ],
        "digest_of_none": LineTree(NETWORK).digest().hex(),
        "digest": tree.digest().hex(),
        "ranges": [
            [part.prefix.hex(), part.sum.hex(), part.count]
            for part in tree.children(b"")
            if part.count
        ],
    }


def _tokens() -> dict[str, object]:
    lines = {line_name(line.bucket, line.origin): line.index for line in LINES}
    hlc = max(line.hlc for line in LINES)

    def text(count: int) -> str:
        return write_token(PEER, hlc, dict(list(lines.items())[:count]), NETWORK, TOKEN_KEY)

    return {
        "token_key": TOKEN_KEY.hex(),
        "line_names": [f"{name:016x}" for name in lines],
        "of_one": text(1),
        "of_all": text(len(lines)),
        "of_nothing": text(0),
    }


def build() -> dict[str, object]:
    """The vectors of this build's protocol."""
    signer, other = Identity.of(SIGNER), Identity.of(key_of("other"))
    return {
        "protocol": PROTOCOL_VERSION,
        "provenance": "tests/vectors/generate.py",
        "network": NETWORK.hex(),
        "secret_key": SIGNER.private_bytes_raw().hex(),
        "peer": PEER.hex(),
        "epoch": EPOCH,
        "origin": ORIGIN.hex(),
        "hello": connection.handshake(NETWORK, signer, other),
        "enrolment": connection.enrolment(NETWORK, other),
        "cluster_key": connection.cluster(signer),
        "entries": _entries(),
        "bundles": _bundles(),
        "excerpts": _excerpts(),
        "presence": _presence(),
        "statements": _statements(),
        "fork": _fork(),
        "messages": {name: encode_message(message).hex() for name, message in MESSAGES.items()},
        "lines": _lines(),
        "tokens": _tokens(),
        "archive": connection.archive(
            [make_bundle("values").encode(), encode_piece(excerpt_of("values"))]
        ),
    }


def build_store() -> dict[str, object]:
    """The rows of this build's store format."""
    first = make_bundle("values")
    second = make_bundle("values", 2, first.header.hash)
    pieces = {1: encode_piece(excerpt_of("values")), 2: second.encode()}
    return {
        "format": STORE_FORMAT,
        "provenance": "tests/vectors/generate.py",
        **store_rows.rows(NETWORK, PEER, ORIGIN, pieces),
    }


def text_of(content: dict[str, object]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def released() -> dict[str, str]:
    """SHA-256 of each released file."""
    found: dict[str, str] = json.loads(RELEASED.read_text(encoding="utf-8"))
    return found


def main(arguments: list[str]) -> None:
    files = ((PATH, build), (STORE_PATH, build_store))
    chosen = [(path, make) for path, make in files if arguments or not path.exists()]
    if not chosen:
        names = " and ".join(path.name for path, _ in files)
        sys.exit(f"{names} exist: golden bytes change only with the number (--replace)")
    for path, make in chosen:
        if path.name in released() and arguments != ["--released"]:
            sys.exit(f"{path.name} is released: raise the number, then generate its vectors")
        path.write_text(text_of(make()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
