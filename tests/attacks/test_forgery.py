"""Forgery: flipped bytes, signatures borrowed from elsewhere, keys that accept anything, encodings, false trees."""

from hashlib import sha256

import pytest

from gossipsync.core.model import strict
from gossipsync.core.model.bucket import Announcement, BucketRules, Kind
from gossipsync.core.model.entry import Op, encode_body, encode_entry, leaf_hash
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.reasons import SENDERS_FAULT, Reason
from gossipsync.core.replication.merkle import merkle_root
from gossipsync.core.wire.messages import Credentials, Presences, Push
from tests.attacks._marks import Victim, one_entry
from tests.core._world import OTHER_NETWORK, START_MS, Author, entry, identity

IDENTITY_POINT = bytes([1]) + bytes(31)
ANY_MESSAGE = bytes([1]) + bytes(63)
"""A signature that naive verification accepts over every message under the identity point."""


def rogue_author() -> Author:
    return Author("rogue", wall_ms=START_MS)


def test_every_flipped_byte_of_a_sealed_bundle_is_refused() -> None:
    """Exhaustive over bytes; the flipped bit goes round."""
    author = Author("honest", wall_ms=START_MS - 1)
    sealed = author.bundle(
        [entry("own", "x" * 40, at=author.tick()), entry("k", 7, at=author.tick())]
    )
    victim = Victim()
    before = victim.peer.digest
    allowed = {*SENDERS_FAULT, Reason.NO_CREDENTIAL, Reason.GAP, Reason.SKEW}
    for position in range(len(sealed)):
        flipped = bytearray(sealed)
        flipped[position] ^= 1 << position % 8
        rogue = victim.link("rogue")
        counted = sum(victim.refused.values())
        rogue.says(Push((bytes(flipped),)))
        reasons = victim.counted
        assert set(reasons) <= allowed, position
        kept = victim.peer.gossip_info(victim.now)["queues"]["early_bytes"]  # type: ignore[index]
        assert sum(victim.refused.values()) == counted + 1 or kept, position
        assert victim.peer.digest == before, position
        rogue.leaves()
    assert victim.is_unmoved()
    assert victim.counted[Reason.SIGNATURE] >= 64 + 32 + 32
    assert victim.counted[Reason.MERKLE] > 50
    assert victim.serves_the_honest()


@pytest.mark.parametrize("position", [0, 31, 32, 63])
def test_a_signature_that_is_not_its_origins(position: int) -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    signature = bytearray(strict.decode(author.wrong(one_entry(author)))[1])  # type: ignore[index]
    signature[position] ^= 1
    rogue.says(Push((author.wrong(one_entry(author), signature=bytes(signature)),)))
    victim.withstood(rogue, Reason.SIGNATURE)


def test_a_member_signs_in_the_name_of_another() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    theirs = identity("honest").peer
    rogue.says(Push((author.wrong(one_entry(author), peer=theirs),)))
    victim.withstood(rogue, Reason.SIGNATURE)


def test_a_genuine_signature_moved_to_another_bundle_of_the_same_author() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    borrowed = strict.decode(author.wrong([entry("a", 1, at=author.tick())]))[1]  # type: ignore[index]
    rogue.says(Push((author.wrong(one_entry(author), signature=borrowed),)))
    victim.withstood(rogue, Reason.SIGNATURE)


def test_a_signature_of_another_type() -> None:
    """A presence's signature over the very same bytes is none of a bundle."""
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    header = strict.decode(author.wrong(one_entry(author)))[0]  # type: ignore[index]
    domain = b"gossipsync presence v1" + len(header).to_bytes(8, "big")
    for message in (domain + header, header, sha256(header).digest()):
        remote = victim.link("rogue")
        signature = identity("rogue").sign(message)
        remote.says(Push((author.wrong(one_entry(author), signature=signature),)))
        assert remote.hung_up == Reason.SIGNATURE
    assert rogue.hung_up == "duplicate"
    assert victim.is_unmoved()
    assert victim.serves_the_honest()


def test_a_bundle_of_another_network() -> None:
    victim = Victim()
    author = Author("rogue", wall_ms=START_MS, network=OTHER_NETWORK)
    rogue = victim.link("rogue")
    rogue.says(Push((author.wrong(one_entry(author)),)))
    victim.withstood(rogue, Reason.NETWORK)


def test_a_small_order_key_with_its_constant_signature() -> None:
    """Even where an authority could be brought to certify such a key."""
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    rogue.says(Credentials((victim.authority.issue(IDENTITY_POINT),)))  # type: ignore[arg-type]
    forged = author.wrong(one_entry(author), peer=IDENTITY_POINT, signature=ANY_MESSAGE)
    rogue.says(Push((forged,)))
    assert set(victim.counted) & {Reason.SIGNATURE, Reason.KEY, Reason.NO_CREDENTIAL}
    assert victim.is_unmoved()
    assert victim.serves_the_honest()


def _array(*parts: bytes) -> bytes:
    return bytes([0x80 | len(parts)]) + b"".join(parts)


GOOD = encode_entry("own", None, Op.SET, Hlc((START_MS << 16) + 9), None, b"\x01")
STAMP = GOOD[7:16]
BAD_ENTRIES = {
    "empty": b"",
    "not an array": b"\x00",
    "trailing byte": GOOD + b"\x00",
    "cut": GOOD[:-1],
    "key of two bytes' head": _array(b"\x78\x03own", b"\xf6", b"\0", STAMP, b"\xf6", b"\x41\x01"),
    "op of two bytes": _array(b"\x63own", b"\xf6", b"\x18\0", STAMP, b"\xf6", b"\x41\x01"),
    "indefinite array": b"\x9f" + GOOD[1:] + b"\xff",
    "indefinite key": _array(b"\x7f\x63own\xff", b"\xf6", b"\0", STAMP, b"\xf6", b"\x41\x01"),
    "tagged key": _array(b"\xc1\x63own", b"\xf6", b"\0", STAMP, b"\xf6", b"\x41\x01"),
    "shared value": _array(b"\x63own", b"\xf6", b"\0", STAMP, b"\xf6", b"\xd8\x1c\x41\x01"),
    "cyclic": _array(b"\x63own", b"\xf6", b"\0", STAMP, b"\xf6", b"\xd8\x1c\x81\xd8\x1d\0"),
    "map as field": _array(b"\x63own", b"\xa2\0\0\0\0", b"\0", STAMP, b"\xf6", b"\x41\x01"),
    "float stamp": _array(b"\x63own", b"\xf6", b"\0", b"\xfb" + bytes(8), b"\xf6", b"\x41\x01"),
    "true as op": _array(b"\x63own", b"\xf6", b"\xf5", STAMP, b"\xf6", b"\x41\x01"),
    "unknown op": _array(b"\x63own", b"\xf6", b"\x05", STAMP, b"\xf6", b"\xf6"),
    "set without a value": _array(b"\x63own", b"\xf6", b"\0", STAMP, b"\xf6", b"\xf6"),
    "set to no bytes at all": _array(b"\x63own", b"\xf6", b"\0", STAMP, b"\xf6", b"\x40"),
    "delete with a value": _array(b"\x63own", b"\xf6", b"\x01", STAMP, b"\xf6", b"\x41\x01"),
    "final without an end": _array(b"\x63own", b"\xf6", b"\x02", STAMP, b"\xf6", b"\xf6"),
    "touch of a field": _array(b"\x63own", b"\x61f", b"\x03", STAMP, b"\xf6", b"\xf6"),
    "empty key": _array(b"\x60", b"\xf6", b"\0", STAMP, b"\xf6", b"\x41\x01"),
    "key too long": _array(
        b"\x79\x02\x01" + b"k" * 513, b"\xf6", b"\0", STAMP, b"\xf6", b"\x41\x01"
    ),
    "key of broken text": _array(b"\x63\xed\xa0\x80", b"\xf6", b"\0", STAMP, b"\xf6", b"\x41\x01"),
    "stamp of an hour after 1970": _array(
        b"\x63own", b"\xf6", b"\0", b"\x1a\0\0\0\x01", b"\xf6", b"\x41\x01"
    ),
    "negative expiry": _array(
        b"\x63own", b"\xf6", b"\0", STAMP, b"\x3b\0\0\0\1\0\0\0\0", b"\x41\x01"
    ),
    "total of another origin": _array(
        b"\x63own", b"\x58\x28" + bytes(40), b"\0", STAMP, b"\xf6", b"\x41\x01"
    ),
    "stamped after its bundle": encode_entry(
        "own", None, Op.SET, Hlc((START_MS << 16) + (1 << 40)), None, b"\x01"
    ),
}


@pytest.mark.parametrize("bad", BAD_ENTRIES.values(), ids=BAD_ENTRIES.keys())
def test_a_bad_entry_under_a_good_signature(bad: bytes) -> None:
    """A member may sign what it likes; it is refused all the same, and with it the entry beside it."""
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    fine = entry("fine", 1, at=author.tick())
    log_hlc = Hlc((START_MS << 16) + 100)
    root = merkle_root([leaf_hash(fine), leaf_hash(bad)])
    rogue.says(
        Push(
            (
                author.wrong(
                    [fine], body=encode_body([fine, bad]), count=2, root=root, log_hlc=log_hlc
                ),
            )
        )
    )
    victim.withstood(rogue, Reason.MALFORMED)


BAD_BODIES = {
    "empty": b"",
    "no array": GOOD,
    "one entry of two": b"\x81" + GOOD,
    "three entries": b"\x83" + GOOD * 3,
    "half an entry": b"\x82" + GOOD + GOOD[: len(GOOD) // 2],
    "an entry behind the array": b"\x82" + GOOD * 3,
    "a longer head": b"\x98\x02" + GOOD * 2,
    "an endless array": b"\x9f" + GOOD * 2 + b"\xff",
    "byte strings": strict.encode([GOOD, GOOD]),
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_bad_body_under_a_good_signature(body: bytes) -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    log_hlc = Hlc((START_MS << 16) + 100)
    rogue.says(Push((author.wrong([GOOD, GOOD], body=body, log_hlc=log_hlc),)))
    victim.withstood(rogue, Reason.MALFORMED)


def test_a_body_that_announces_more_than_there_can_be() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    many = (1 << 32) - 1
    body = b"\x9a" + many.to_bytes(4, "big") + GOOD
    rogue.says(Push((author.wrong([GOOD], count=many, body=body),)))
    victim.withstood(rogue, Reason.MALFORMED)


ODD_HEADERS: dict[str, dict[str, object]] = {
    "format 2": {"form": 2},
    "format true": {"form": True},
    "short network": {"network": bytes(31)},
    "bucket that is no text": {"bucket": b"b"},
    "empty bucket": {"bucket": ""},
    "bucket with a newline": {"bucket": "b\n"},
    "bucket too long": {"bucket": "b" * 129},
    "short key": {"peer": bytes(31)},
    "epoch 0": {"epoch": 0},
    "epoch 2**63": {"epoch": 1 << 63},
    "epoch true": {"epoch": True},
    "index 0": {"index": 0},
    "index -1": {"index": -1},
    "index 2**63": {"index": 1 << 63},
    "index 2**64 - 1": {"index": (1 << 64) - 1},
    "index true": {"index": True},
    "short previous": {"previous": b""},
    "count 0": {"count": 0},
    "count 2": {"count": 2},
    "count true": {"count": True},
    "short root": {"root": bytes(16)},
    "log HLC below every clock": {"log_hlc": 1},
    "log HLC 2**63": {"log_hlc": 1 << 63},
    "control version 1": {"control": 1},
    "control version false": {"control": False},
    "encoding 1": {"encoding": 1},
    "announcement of an unknown kind": {"announcement": (9, 0, None, None, 1)},
    "announcement of kind true": {"announcement": (True, 0, None, None, 1)},
    "announcement of final deletes without a ttl": {"announcement": (0, 1, None, None, 1)},
    "announcement with ttl 0": {"announcement": (0, 0, 0, None, 1)},
    "announcement with ttl 2**60": {"announcement": (0, 0, 1 << 60, None, 1)},
    "announcement before all time": {"announcement": (0, 0, None, None, -1)},
    "announcement with a part more": {"announcement": (0, 0, None, None, 1, 1)},
    "no announcement": {"announcement": None},
}


@pytest.mark.parametrize("parts", ODD_HEADERS.values(), ids=ODD_HEADERS.keys())
def test_a_bad_header_under_a_good_signature(parts: dict[str, object]) -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    rogue.says(Push((author.wrong(one_entry(author), **parts),)))
    victim.withstood(rogue, Reason.MALFORMED)


def test_a_leaf_offered_as_a_node() -> None:
    """The tree over two leaves, claimed for one entry whose bytes are the two hashes, and the other way round."""
    author = rogue_author()
    leaves = [
        leaf_hash(entry("a", 1, at=author.tick())),
        leaf_hash(entry("b", 2, at=author.tick())),
    ]
    own = entry("own", "stolen", at=author.tick())
    for root in (
        merkle_root(leaves),
        sha256(own).digest(),
        sha256(b"\x01" + own).digest(),
        merkle_root([leaf_hash(own)] * 2),
    ):
        victim = Victim()
        rogue = victim.link("rogue")
        rogue.says(Push((author.wrong([own], root=root),)))
        victim.withstood(rogue, Reason.MERKLE)


def test_a_last_leaf_twice() -> None:
    """Trees that pad by doubling the last leaf take three entries and four for the same (CVE-2012-2459)."""
    author = rogue_author()
    three = [entry(key, 1, at=author.tick()) for key in "abc"]
    root = merkle_root([leaf_hash(data) for data in [*three, three[-1]]])
    for entries, root_of in (
        (three, root),
        ([*three, three[-1]], merkle_root(list(map(leaf_hash, three)))),
    ):
        victim = Victim()
        rogue = victim.link("rogue")
        rogue.says(Push((author.wrong(entries, root=root_of),)))
        victim.withstood(rogue, Reason.MERKLE)


def test_entries_in_another_order_than_signed() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    entries = [entry(key, 1, at=author.tick()) for key in "ab"]
    rogue.says(Push((author.wrong(entries, body=encode_body(entries[::-1])),)))
    victim.withstood(rogue, Reason.MERKLE)


def test_a_presence_forged() -> None:
    victim = Victim()
    body = strict.encode(
        [1, b"n" * 32, identity("honest").peer, 1, 1, 2, "honest", [], "", "0", {}]
    )
    rogue = victim.link("rogue")
    rogue.says(Presences((strict.encode([body, bytes(64)]),)))
    victim.withstood(rogue, Reason.MALFORMED)  # of another network

    members = {member.name: member.state for member in victim.peer.members(victim.now)}
    assert members["honest"] == "alive"


def test_a_presence_signed_by_somebody_else() -> None:
    from tests.core._world import NETWORK

    victim = Victim()
    body = strict.encode(
        [1, NETWORK, identity("honest").peer, START_MS + 10**6, 1, 2, "honest", [], "", "0", {}]
    )
    signed = identity("rogue").sign(b"gossipsync presence v1" + len(body).to_bytes(8, "big") + body)
    rogue = victim.link("rogue")
    rogue.says(Presences((strict.encode([body, signed]),)))
    victim.withstood(rogue, Reason.SIGNATURE)
    assert victim.peer.status(victim.now).members["alive"] >= 2


def test_rules_are_those_announced_first() -> None:
    """A later announcement changes nothing; it is shown as a mismatch."""
    victim, author = Victim(), rogue_author()
    author.announcement = Announcement(BucketRules(Kind.SET), Hlc((START_MS + 1000) << 16))
    rogue = victim.link("rogue")
    rogue.says(Push((author.bundle([entry("k", 1, at=author.tick(), field="f")]),)))
    assert victim.peer.replicas["b"].rules.kind is Kind.VALUE
    assert "bucket-mismatch" in victim.peer.status(victim.now).warnings
    assert victim.serves_the_honest()
