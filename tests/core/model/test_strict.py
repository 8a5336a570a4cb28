"""Strict CBOR: one encoding of each value, no tags, no depth, and never a foreign exception."""

from __future__ import annotations

from time import perf_counter

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.model import strict

_LEAVES = (
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.binary(max_size=40)
    | st.text(st.characters(codec="utf-8"), max_size=20)
)  # fmt: skip
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(_VALUES)
def test_what_is_encoded_decodes_to_itself(value: object) -> None:
    data = strict.encode(value)
    assert strict.decode(data, 40) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_malformed_or_canonical(data: bytes) -> None:
    try:
        value = strict.decode(data)
    except strict.MalformedError:
        return
    assert strict.encode(value) == data


@given(_VALUES, st.data())
def test_changed_bytes_are_malformed_or_canonical(value: object, data: st.DataObject) -> None:
    encoded = bytearray(strict.encode(value))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] = data.draw(st.integers(0, 255))
    test_any_bytes_are_malformed_or_canonical.hypothesis.inner_test(bytes(encoded))  # type: ignore[attr-defined]


@pytest.mark.parametrize("tag", [*range(40), 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799])
def test_every_tag_is_refused(tag: int) -> None:
    for inner in (0, "2013-03-21T20:04:00Z", b"\x01", [1, 2], [[1, 2], [3]]):
        with pytest.raises(strict.MalformedError):
            strict.decode(cbor2.dumps(cbor2.CBORTag(tag, inner)))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x18\x01", b"\x19\x00\x01", b"\x1b" + bytes(7) + b"\x01", b"\x58\x01x", b"\x98\x01\x00",
        b"\x9f\xff", b"\x5f\xff", b"\xbf\xff", b"\x00\x00", b"\xff", b"\x82\x00", b"\x1c", b"\xf8\x00",
        b"\xa2\x61b\x00\x61a\x00", b"\xa2\x61a\x00\x61a\x00", b"\xa1\x00\x00", b"\xa1\xf6\x00",
        b"\xa1\x80\x00", b"\xfa\x3f\x80\x00\x00", b"\xfb" + bytes(8),
        b"\x62\xc3\x28", b"\x63\xed\xa0\x80", b"\xc2\x49" + b"\xff" * 9,
    ],
)  # fmt: skip
def test_other_encodings_are_refused(data: bytes) -> None:
    with pytest.raises(strict.MalformedError):
        strict.decode(data)


def test_depth_is_bounded_before_anything_is_built() -> None:
    assert strict.decode(b"\x81" * 6 + b"\x00") == ((((((0,),),),),),)
    for levels in (7, 1000, 900_000):
        with pytest.raises(strict.MalformedError):
            strict.decode(b"\x81" * levels + b"\x00")


def test_bombs_do_not_go_off() -> None:
    """A decimal of 1 MiB takes 20 s where it is built; maps whose keys collide take as long."""
    number = b"\xc2\x5a" + (1 << 20).to_bytes(4, "big") + b"\xff" * (1 << 20)
    ints = [b"\x1b" + (key << 46).to_bytes(8, "big") for key in range(1 << 16)]
    arrays = [b"\x82" + key + key for key in ints]
    bombs = [
        b"\xc4\x82\x1a\x00\x0f\x42\x40" + number,
        number,
        b"\x9a\xff\xff\xff\xff",
        b"\x5a\xff\xff\xff\xff",
    ]
    bombs += [
        b"\xba" + len(keys).to_bytes(4, "big") + b"".join(key + b"\0" for key in keys)
        for keys in (ints, arrays)
    ]
    start = perf_counter()
    for bomb in bombs:
        with pytest.raises(strict.MalformedError):
            strict.decode(bomb)
    assert perf_counter() - start < 1.0


def test_a_bool_is_no_int() -> None:
    assert strict.are_ints(0, -1, 1 << 70)
    for part in (True, False, 1.0, "1", None):
        assert not strict.are_ints(0, part)
