"""Strict, canonical CBOR: the only way untrusted bytes become Python objects.

cbor2's defaults accept trailing bytes, non-shortest integers, duplicate keys, cyclic structures and tags whose decoding burns
seconds of CPU. Here every tag is refused before its decoder runs, depth and key types are bounded while decoding, and the
result must encode to the very bytes it came from (RFC 8949 §4.2), which rules out everything non-canonical at once.
Invariant: `encode(decode(data)) == data` for all data that decode() accepts.
"""

from __future__ import annotations

from typing import Final, NoReturn

import cbor2

MAX_DEPTH: Final = 6
"""Nesting of protocol messages; the deepest one (a vector of lines inside a message) needs four."""

# Every tag for which cbor2 has a decoder of its own; any other tag reaches `tag_hook`.
_BUILT_IN_TAGS: Final = (
    *(0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100),
    *(256, 258, 260, 261, 1004, 43000, 55799),
)


class MalformedError(ValueError):
    """The bytes are not one canonical CBOR item of the promised shape. Their producer's fault; nothing was kept."""


def refuse_tag(*_: object) -> NoReturn:
    """Decoder for every tag that is not allowed."""
    raise MalformedError("a CBOR tag where none is allowed")


NO_TAGS: Final = dict.fromkeys(_BUILT_IN_TAGS, refuse_tag)


def encode(obj: object) -> bytes:
    """Canonical CBOR of plain ints, bytes, str, bool, None, tuples, lists and dicts with str or bytes keys."""
    return cbor2.dumps(obj, canonical=True)


def are_ints(*parts: object) -> bool:
    """Is each exactly an int? `True` passes for 1 in comparisons and patterns, and is another encoding."""
    return all(type(part) is int for part in parts)


def decode(data: bytes, max_depth: int = MAX_DEPTH) -> object:
    """One canonical item as immutable Python values (tuple, frozendict, int, str, bytes, bool, None, float).

    Raises MalformedError for anything else, trailing bytes included.
    """
    try:
        obj: object = cbor2.loads(
            data,
            tag_hook=refuse_tag,
            semantic_decoders=NO_TAGS,
            max_depth=max_depth,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
            immutable=True,
        )
        canonical = encode(obj) == data
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedError(f"not one strict CBOR item: {error}") from error
    if not canonical:
        raise MalformedError("not in canonical form, or trailing bytes")
    return obj
