"""The Verifier port: nothing foreign is believed, nothing raises."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from gossipsync.core.model.ids import PeerId
from gossipsync.runtime.trust import Identity, X509Verifier
from gossipsync.runtime.trust.certificates import (
    FOREVER,
    EnrolTerms,
    Validity,
    issue_authority,
    issue_invite,
    issue_member,
)
from gossipsync.runtime.trust.reading import read_invite

CA_KEY = Ed25519PrivateKey.from_private_bytes(b"c" * 32)
AUTHORITY = issue_authority(CA_KEY, "demo")
VERIFIER = X509Verifier(AUTHORITY.public_bytes(Encoding.DER))
PEER = Identity.generate()


def member(ca_key: Ed25519PrivateKey = CA_KEY, **changes: object) -> bytes:
    terms = {"name": "p", "globs": ("a*",), "may_write": False, "validity": FOREVER} | changes
    return issue_member(ca_key, AUTHORITY, PEER.peer_id, **terms).public_bytes(Encoding.DER)  # type: ignore[arg-type]


def test_signatures() -> None:
    signature = PEER.sign(b"message")
    assert VERIFIER.verify(PEER.peer_id, signature, b"message")
    assert not VERIFIER.verify(PEER.peer_id, signature, b"other")
    assert not VERIFIER.verify(PEER.peer_id, signature[:-1], b"message")
    assert not VERIFIER.verify(PEER.peer_id, b"", b"message")
    assert not VERIFIER.verify(b"", signature, b"message")
    assert not VERIFIER.verify(b"\x02" + bytes(31), signature, b"message")  # not on the curve


def test_the_identity_point_signs_nothing() -> None:
    constant = bytes.fromhex("58" + "66" * 31) + (1).to_bytes(32, "little")
    assert not VERIFIER.verify(b"\x01" + bytes(31), constant, b"message")


def test_a_members_certificate_gives_key_and_rights() -> None:
    end = datetime(2030, 1, 1, tzinfo=UTC)
    der = member(validity=Validity(end - timedelta(days=1), end))
    credential = VERIFIER.read_credential(der)
    assert credential is not None
    peer_id, capability = credential
    assert peer_id == PEER.peer_id
    assert (capability.globs, capability.may_write) == (("a*",), False)
    assert capability.not_after_ms == int(end.timestamp() * 1000)


def test_the_authority_certificate_is_the_same_everywhere() -> None:
    again = issue_authority(CA_KEY, "demo")
    assert again.public_bytes(Encoding.DER) == AUTHORITY.public_bytes(Encoding.DER)


def test_foreign_certificates_are_none() -> None:
    own = PEER.private_key
    assert VERIFIER.read_credential(b"") is None
    assert VERIFIER.read_credential(b"\x30\x82" + bytes(100)) is None
    assert VERIFIER.read_credential(bytes(1 << 20)) is None
    assert VERIFIER.read_credential(AUTHORITY.public_bytes(Encoding.DER)) is None
    assert VERIFIER.read_credential(member(ca_key=own)) is None
    assert VERIFIER.read_credential(issue_authority(own, "demo").public_bytes(Encoding.DER)) is None
    assert VERIFIER.read_credential(member() + b"\x00") is None


def test_an_invites_certificate_is_no_members() -> None:
    terms = EnrolTerms(bytes(16), 1, None, ("*",), True)
    certificate = issue_invite(CA_KEY, AUTHORITY, PEER.private_key.public_key(), terms, FOREVER)
    der = certificate.public_bytes(Encoding.DER)
    assert VERIFIER.read_credential(der) is None
    assert read_invite(der, AUTHORITY)[0] == terms
    with pytest.raises(ValueError, match="purpose"):
        read_invite(member(), AUTHORITY)


def test_every_altered_byte_of_a_certificate_is_none() -> None:
    der = member()
    for place, mask in product(range(len(der)), (0x01, 0x80, 0xFF)):
        altered = bytearray(der)
        altered[place] ^= mask
        assert VERIFIER.read_credential(bytes(altered)) is None, f"byte {place}"


def test_unused_bits_of_the_signature_are_not_free() -> None:
    """X.509 parsers keep quiet about them where the last bits of the signature happen to be zero."""
    certificates = (member(name=f"peer {number}") for number in range(100))
    even = next(der for der in certificates if not der[-1] & 1)
    altered = even[:-65] + b"\x01" + even[-64:]
    assert VERIFIER.read_credential(even) is not None
    assert VERIFIER.read_credential(altered) is None


def test_no_certificate_for_a_small_order_key() -> None:
    with pytest.raises(ValueError, match="small order"):
        issue_member(
            CA_KEY,
            AUTHORITY,
            PeerId(b"\x01" + bytes(31)),
            name="p",
            globs=("*",),
            may_write=True,
            validity=FOREVER,
        )
