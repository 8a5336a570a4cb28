"""Application values: plain Python in, canonical-enough CBOR bytes out, and fresh plain Python back.

Allowed: None, bool, int within ±2**63, float, str, bytes, list, dict with str keys, aware datetime; tuples become lists.
Exact types only: a subclass would not come back as what it was. Reads decode under the strict rules of `strict`, but to
mutable containers, with the datetime tag (RFC 8949 §3.4.1) as the one tag allowed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import cbor2

from gossipsync.core.model.strict import NO_TAGS, refuse_tag
from gossipsync.errors import RemoteError, ValueTypeError

MAX_VALUE_DEPTH: Final = 32
"""Nesting of application values: deeper than any sane session, shallow enough for every recursion limit."""

_VALUE_TAGS: Final = {tag: refusal for tag, refusal in NO_TAGS.items() if tag != 0}
_INT_LIMIT: Final = 1 << 63
_LEAVES: Final = frozenset({type(None), bool, float, bytes})


def encode_value(value: object) -> bytes:
    """CBOR of an application value. Raises ValueTypeError, naming the part that cannot be carried."""
    _check(value, 0)
    try:
        return cbor2.dumps(value)
    except (cbor2.CBORError, UnicodeEncodeError, ValueError) as error:
        raise ValueTypeError(f"this value cannot be stored: {error}") from error


def _check(value: object, depth: int) -> None:
    kind = type(value)
    if kind is str or kind in _LEAVES:
        return
    if kind is int:
        if not -_INT_LIMIT <= value < _INT_LIMIT:  # type: ignore[operator]
            raise ValueTypeError(
                "integers must lie within -2**63 and 2**63 - 1; store a larger one as str"
            )
        return
    if depth >= MAX_VALUE_DEPTH:
        raise ValueTypeError(
            f"values may nest {MAX_VALUE_DEPTH} levels deep at most (is this one cyclic?)"
        )
    if isinstance(value, dict) and kind is dict:
        for key, part in value.items():
            if type(key) is not str:
                raise ValueTypeError(f"dict keys must be str, not {type(key).__name__}")
            _check(part, depth + 1)
    elif isinstance(value, (list, tuple)) and kind in (list, tuple):
        for part in value:
            _check(part, depth + 1)
    elif isinstance(value, datetime) and kind is datetime:
        if value.tzinfo is None or value.utcoffset() is None:
            raise ValueTypeError("a datetime needs a time zone: use datetime.now(timezone.utc)")
    else:
        raise ValueTypeError(
            f"a {kind.__name__} cannot be stored; use None, bool, int, float, str, bytes, list, dict with str keys "
            "or an aware datetime"
        )


def decode_value(data: bytes) -> object:
    """A fresh plain copy of a stored value. Raises RemoteError where its origin signed bytes that are no value."""
    try:
        return cbor2.loads(
            data,
            tag_hook=refuse_tag,
            semantic_decoders=_VALUE_TAGS,
            max_depth=MAX_VALUE_DEPTH + 1,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise RemoteError(
            f"a stored value is not valid CBOR ({error}); its origin wrote it so: overwrite or delete it"
        ) from error
