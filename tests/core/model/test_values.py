"""Values: what goes in comes back equal and of the same types, fresh each time; everything else is refused at the call."""

from __future__ import annotations

import math
from collections import OrderedDict
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.model.values import MAX_VALUE_DEPTH, decode_value, encode_value
from gossipsync.errors import RemoteError, ValueTypeError


class Color(IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


_TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
_ZONES = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours)))
_LEAVES = (
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | _TEXTS
    | st.floats(allow_nan=False) | st.binary(max_size=40) | st.datetimes(timezones=_ZONES)
)  # fmt: skip
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


def same(a: object, b: object) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return a == b


@given(_VALUES)
def test_what_goes_in_comes_back(value: object) -> None:
    assert same(decode_value(encode_value(value)), value)


def test_numbers_at_the_edges_come_back_as_they_were() -> None:
    for number in (-0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, 0.1):
        back = decode_value(encode_value(number))
        assert (type(back), repr(back)) == (float, repr(number))
    nan = decode_value(encode_value(math.nan))
    assert isinstance(nan, float)
    assert math.isnan(nan)
    for number in (-(1 << 63), (1 << 63) - 1):
        assert decode_value(encode_value(number)) == number


def test_tuples_become_lists_and_copies_are_fresh() -> None:
    value = {"a": (1, [2], {"b": ()})}
    data = encode_value(value)
    first, second = decode_value(data), decode_value(data)
    assert first == {"a": [1, [2], {"b": []}]}
    assert isinstance(first, dict)
    first["a"].append("changed")
    assert second == {"a": [1, [2], {"b": []}]}


_CYCLE: list[object] = []
_CYCLE.append(_CYCLE)
_CYCLIC_DICT: dict[str, object] = {}
_CYCLIC_DICT["self"] = [_CYCLIC_DICT]
_DEEP: object = 0
for _ in range(MAX_VALUE_DEPTH + 1):
    _DEEP = [_DEEP]


@pytest.mark.parametrize(
    "value",
    [
        1 << 63, -(1 << 63) - 1, 10**400, 1j, {1, 2}, frozenset(), bytearray(b"x"), memoryview(b"x"),
        Decimal(1), Fraction(1, 2), UUID(int=1), Color.RED, Text("x"), OrderedDict(), range(3),
        datetime(2026, 1, 1),  # noqa: DTZ001
        UTC, timedelta(1), object(), object, len, ..., {1: 1}, {None: 1},
        {b"k": 1}, {Text("k"): 1}, {"k": {1}}, [[{"k": object()}]], "\ud800", ["\udfff"], {"\ud800": 1},
        _CYCLE, _CYCLIC_DICT, _DEEP, Exception("x"), (value for value in ()),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_the_rest_is_refused_at_the_call(value: object) -> None:
    with pytest.raises(ValueTypeError):
        encode_value(value)


def test_the_deepest_value_allowed_comes_back() -> None:
    value: object = 0
    for _ in range(MAX_VALUE_DEPTH):
        value = [value]
    assert decode_value(encode_value(value)) == value


@given(st.binary(max_size=40))
def test_bytes_that_are_no_value_are_their_writers_fault_and_no_foreign_exception(
    data: bytes,
) -> None:
    try:
        decode_value(data)
    except RemoteError:
        pass


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"\xc4\x82\x01\x02", b"\xd8\x1c\x81\xd8\x1d\x00", b"\xa2\x61a\x00\x61a\x00", b"\x9f\xff", b"\x81" * 40 + b"\0"],
)  # fmt: skip
def test_what_others_signed_and_is_no_value(data: bytes) -> None:
    with pytest.raises(RemoteError):
        decode_value(data)
