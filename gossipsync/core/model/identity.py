"""Which 32 bytes may be the public key of a peer.

A peer is known by its Ed25519 public key, so two encodings of one point must not be two peers, and
no key may accept a signature that its holder did not make. Under a point of small order OpenSSL
accepts one constant signature over *any* message, and it accepts encodings whose y is not reduced;
both are therefore refused wherever a key enters.

Invariant: a key that passed `check_public_key` is the only encoding of its point, and the point's
order is not a divisor of 8. That the bytes decode to a point at all is left to verification, which
fails for those that do not.
"""

__all__ = ["PUBLIC_KEY_BYTES", "check_public_key"]

PUBLIC_KEY_BYTES = 32

_P = 2**255 - 19  # the field of Curve25519 (RFC 8032, section 5.1)
_SIGN_BIT = 1 << 255

# The eight points whose order divides 8 have these five y-coordinates: the identity (1), the point of
# order 2 (-1), two of order 4 (0), four of order 8. Either sign bit is refused: where x = 0 the set
# bit is a second encoding of the same point.
_Y_OF_ORDER_8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER_Y = frozenset({0, 1, _P - 1, _Y_OF_ORDER_8, _P - _Y_OF_ORDER_8})


def check_public_key(key: bytes) -> None:
    """Raise ValueError unless `key` is a canonical Ed25519 encoding of no small-order point.

    See RFC 8032 section 5.1.3, and Chalkias et al., "Taming the many EdDSAs" (2020).
    """
    if len(key) != PUBLIC_KEY_BYTES:
        raise ValueError(f"an Ed25519 public key has {PUBLIC_KEY_BYTES} bytes, not {len(key)}")
    y = int.from_bytes(key, "little") & ~_SIGN_BIT
    if y >= _P:
        raise ValueError("the public key is not canonically encoded")
    if y in _SMALL_ORDER_Y:
        raise ValueError("the public key is a point of small order")
