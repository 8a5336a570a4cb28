"""Public keys that no peer may have, and why: OpenSSL accepts what their holder never signed."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gossipsync.core.model.identity import check_public_key

P = 2**255 - 19
ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
ORDER_8_TOO = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"

# The list every audit of Ed25519 uses (Chalkias et al. 2020, libsodium's blocklist).
SMALL_ORDER = [
    "01" + "00" * 31,  # the identity
    "ec" + "ff" * 30 + "7f",  # order 2
    "00" * 32,  # order 4
    "00" * 31 + "80",
    ORDER_8,
    ORDER_8[:-2] + "85",
    ORDER_8_TOO,
    ORDER_8_TOO[:-2] + "fa",
    # the same points, not canonically
    "01" + "00" * 30 + "80",
    "ec" + "ff" * 31,
    "ed" + "ff" * 30 + "7f",
    "ed" + "ff" * 31,
    "ee" + "ff" * 30 + "7f",
    "ee" + "ff" * 31,
]


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_small_order_points_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"small order|canonical"):
        check_public_key(bytes.fromhex(key))


@pytest.mark.parametrize("sign", [0, 1 << 255])
@pytest.mark.parametrize("excess", range(19))
def test_every_y_that_is_not_reduced_is_refused(excess: int, sign: int) -> None:
    with pytest.raises(ValueError, match=r"canonical"):
        check_public_key((P + excess | sign).to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        check_public_key(b"\x05" * length)


def test_real_keys_pass() -> None:
    for _ in range(50):
        check_public_key(Ed25519PrivateKey.generate().public_key().public_bytes_raw())


def test_openssl_accepts_a_constant_signature_under_the_identity_point() -> None:
    identity_point = bytes.fromhex(SMALL_ORDER[0])
    base_point = bytes.fromhex("58" + "66" * 31)
    constant = base_point + (1).to_bytes(32, "little")  # R = B, S = 1: S·B = R + h·0
    key = Ed25519PublicKey.from_public_bytes(identity_point)
    key.verify(constant, b"any message")  # returns: it does verify
    key.verify(constant, b"and any other")
