"""Entries: whatever bytes come, exactly what encodes to the same bytes within the same borders is accepted."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.model import strict
from gossipsync.core.model.entry import (
    MIN_TIME,
    Op,
    decode_body,
    decode_entries,
    encode_body,
    encode_entry,
    leaf_hash,
    leaves_of,
    stub_of,
)
from gossipsync.core.model.hlc import Hlc

_TIMES = st.integers(MIN_TIME, (1 << 63) - 1)
_TEXTS = st.text(st.characters(codec="utf-8"), max_size=40).filter(
    lambda text: len(text.encode()) <= 512
)
_KEYS = _TEXTS.filter(bool)


@st.composite
def entries(draw: st.DrawFn) -> bytes:
    """Any well-formed entry."""
    op = draw(st.sampled_from(Op))
    field: str | bytes | None = None
    expires = draw(st.none() | _TIMES)
    value = None
    if op is Op.SET:
        field = draw(st.none() | _TEXTS | st.binary(min_size=40, max_size=40))
        value = draw(st.binary(min_size=1, max_size=300))
    elif op is Op.DELETE:
        field = draw(st.none() | _TEXTS)
        expires = None if field is None else expires
    elif op is Op.FINAL:
        expires = draw(_TIMES)
    return encode_entry(draw(_KEYS), field, op, Hlc(draw(_TIMES)), expires, value)


@given(st.lists(entries(), max_size=5))
def test_well_formed_entries_are_accepted_as_they_came(datas: list[bytes]) -> None:
    decoded = decode_entries(tuple(datas))
    assert [entry.data for entry in decoded] == datas
    again = [encode_entry(e.key, e.field, Op(e.op), e.stamp, e.expires, e.value) for e in decoded]
    assert again == datas


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, ...]:
    """Entries with a few bytes changed, put in or left out, and perhaps cut elsewhere than between two."""
    datas = draw(st.lists(entries(), min_size=1, max_size=3))
    whole = bytearray(b"".join(datas))
    for _ in range(draw(st.integers(0, 3))):
        position = draw(st.integers(0, len(whole)))
        match draw(st.sampled_from(["change", "insert", "drop"])):
            case "change":
                whole[position : position + 1] = draw(st.binary(min_size=1, max_size=1))
            case "insert":
                whole[position:position] = draw(st.binary(min_size=1, max_size=9))
            case _:
                del whole[position : position + draw(st.integers(1, 9))]
    borders = [len(b"".join(datas[:n])) for n in range(1, len(datas))]
    borders = [max(0, border + draw(st.sampled_from([0, 0, 0, -1, 1]))) for border in borders]
    cuts = sorted({0, *(min(border, len(whole)) for border in borders), len(whole)})
    return tuple(bytes(whole[a:b]) for a, b in pairwise(cuts))


@given(mutated() | st.lists(st.binary(max_size=40), max_size=3).map(tuple))
def test_what_is_accepted_encodes_to_the_same_bytes_within_the_same_borders(
    datas: tuple[bytes, ...],
) -> None:
    try:
        decoded = decode_entries(datas)
    except strict.MalformedError:
        return
    assert len(decoded) == len(datas)
    for entry, data in zip(decoded, datas, strict=True):
        assert entry.data == data
        parts = (entry.key, entry.field, entry.op, entry.stamp, entry.expires, entry.value)
        assert strict.encode(parts) == data
        assert [type(part) for part in parts[2:4]] == [int, int]
        assert Op(entry.op) in Op


@given(st.lists(entries(), max_size=30))
def test_a_body_is_the_canonical_array_of_its_entries(datas: list[bytes]) -> None:
    body = encode_body(datas)
    assert body == strict.encode(tuple(strict.decode(data) for data in datas))
    assert [entry.data for entry in decode_body(body, len(datas))] == datas
    for count in (len(datas) - 1, len(datas) + 1):
        if count >= 0:
            with pytest.raises(strict.MalformedError):
                decode_body(body, count)


@pytest.mark.parametrize("count", [0, 1, 23, 24, 255, 256, 65_535, 65_536])
def test_bodies_of_every_size_of_head(count: int) -> None:
    data = encode_entry("k", None, Op.TOUCH, Hlc(MIN_TIME), None, None)
    body = encode_body([data] * count)
    assert len(decode_body(body, count)) == count
    assert len(body) == len(data) * count + len(strict.encode(count))


@given(mutated() | st.binary(max_size=40).map(lambda data: (data,)), st.integers(0, 4))
def test_what_is_accepted_as_a_body_encodes_to_the_same_bytes(
    datas: tuple[bytes, ...], count: int
) -> None:
    for body in (encode_body(datas), b"".join(datas), bytes((0x80 | count,)) + b"".join(datas)):
        try:
            decoded = decode_body(body, count)
        except strict.MalformedError:
            continue
        parts = [(e.key, e.field, e.op, e.stamp, e.expires, e.value) for e in decoded]
        assert strict.encode(tuple(parts)) == body
        assert encode_body([entry.data for entry in decoded]) == body
        assert len(decoded) == count


def test_a_body_takes_no_memory_for_what_it_only_announces() -> None:
    data = encode_entry("k", None, Op.TOUCH, Hlc(MIN_TIME), None, None)
    for count in (1 << 32) - 1, 1 << 62:
        with pytest.raises(strict.MalformedError):
            decode_body(b"\x9a\xff\xff\xff\xff" + data, count)


@given(entries())
def test_an_entry_cut_or_lengthened_anywhere_is_refused(data: bytes) -> None:
    for size in range(len(data)):
        with pytest.raises(strict.MalformedError):
            decode_entries((data[:size],))
    with pytest.raises(strict.MalformedError):
        decode_entries((data + b"\0",))


@given(entries())
def test_a_stub_and_its_entry_agree_before_the_value_and_have_one_leaf(data: bytes) -> None:
    (entry,) = decode_entries((data,))
    size = -1 if entry.value is None else len(entry.value)
    stub = stub_of(data, size)
    if size <= 32:
        assert stub == data
    else:
        assert stub[:-32] == data[:-size]
        assert stub[-32:] == sha256(entry.value or b"").digest()
    assert leaves_of([entry]) == [leaf_hash(stub)]
    assert stub_of(stub, 0) == stub


@pytest.mark.parametrize("size", [1, 23, 24, 255, 256, 65535, 65536, 70000])
def test_values_of_every_size_of_head(size: int) -> None:
    data = encode_entry("k", None, Op.SET, Hlc(MIN_TIME), None, bytes(size))
    assert decode_entries((data,))[0].value == bytes(size)


@pytest.mark.parametrize("size", [1, 23, 24, 255, 256, 512])
def test_keys_of_every_size_of_head(size: int) -> None:
    for key in ("k" * size, ("é" * size)[: size // 2] or "k"):
        data = encode_entry(key, None, Op.TOUCH, Hlc(MIN_TIME), None, None)
        assert decode_entries((data,))[0].key == key
    with pytest.raises(strict.MalformedError):
        decode_entries((encode_entry("k" * 513, None, Op.TOUCH, Hlc(MIN_TIME), None, None),))
