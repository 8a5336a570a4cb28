"""Entries: the single writes that bundles carry.

An entry is CBOR of `[key, field, op, stamp, expires, value]`:

- key: text, 1–512 bytes of UTF-8
- field: null (the record's value, a tombstone, a touch or a mark), text (a map's field, a set's element), or 40 bytes (the
  origin whose running total in a counter this is)
- op: see Op · stamp: HLC of the write · expires: ms since 1970, or null
- value: byte string holding CBOR of the application value; null unless op is SET

Its **stub** is the entry with a value longer than 32 bytes replaced by the value's SHA-256: what the Merkle tree is built over,
so that a shadow which has lost its value can still be proven. Stub and entry agree on every byte before the value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from hashlib import sha256
from itertools import accumulate
from typing import Final, NamedTuple

import cbor2

from gossipsync.core.model import strict
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import ORIGIN_BYTES

MAX_KEY_BYTES: Final = 512
"""Long enough for any session id or path; short enough that a key never dominates an entry."""
INLINE_VALUE_BYTES: Final = 32
"""Values up to the size of a hash stand in the stub themselves."""
MIN_TIME: Final = 1 << 32
"""Stamps and times lie above this, so that each takes exactly nine bytes and an entry's size follows from its parts."""
MAX_INT: Final = 1 << 63


class Op(IntEnum):
    """What an entry does to its cell."""

    SET = 0
    DELETE = 1
    """With a field: removes it. Without: a tombstone that covers the key's cells stamped up to it."""
    FINAL = 2
    """A tombstone that covers every cell of the key stamped before its `expires` ("until")."""
    TOUCH = 3
    """Extends the life of the record and changes nothing else."""
    MARK = 4
    """The record is there, even with no field in it."""


Field = str | bytes | None


class Entry(NamedTuple):
    """One decoded write, with the bytes it came as."""

    key: str
    field: Field
    op: int
    stamp: Hlc
    expires: int | None
    value: bytes | None
    data: bytes


def encode_entry(
    key: str, field: Field, op: Op, stamp: Hlc, expires: int | None, value: bytes | None
) -> bytes:
    """The bytes of an entry."""
    return cbor2.dumps((key, field, int(op), stamp, expires, value))


def stub_of(data: bytes, value_size: int) -> bytes:
    """The stub of an entry that ends in a value of `value_size` bytes."""
    if value_size <= INLINE_VALUE_BYTES:
        return data
    return data[:-value_size] + sha256(data[-value_size:]).digest()


def entry_like(stub: bytes) -> bytes:
    """A stub whose value was replaced, as an entry that holds the hash in the value's place; it decodes as such.

    Raises strict.MalformedError for anything that is no such stub.
    """
    try:
        at = 1
        for _ in ("key", "field", "op", "stamp", "expires"):
            at = _after(stub, at)
        head = _AFTER_HEAD[stub[at] & 31]
        length = int.from_bytes(stub[at + 1 : at + head], "big")
        fine = stub[at] in (0x58, 0x59, 0x5A) and length > INLINE_VALUE_BYTES
    except (IndexError, KeyError) as error:
        raise strict.MalformedError("not the stub of an entry") from error
    if not fine or _head_size(length) != head or len(stub) != at + head + INLINE_VALUE_BYTES:
        raise strict.MalformedError("not the stub of a long value")
    return stub[:at] + b"\x58\x20" + stub[at + head :]


_AFTER_HEAD: Final = {**dict.fromkeys(range(24), 1), 24: 2, 25: 3, 26: 5, 27: 9}
"""Bytes of a CBOR head by its additional information (RFC 8949 §3)."""


def _after(data: bytes, at: int) -> int:
    """The offset behind the text, bytes, integer or null that begins at an offset."""
    major, info = data[at] >> 5, data[at] & 31
    if major == 7:
        return at + 1
    head = _AFTER_HEAD[info]
    length = info if head == 1 else int.from_bytes(data[at + 1 : at + head], "big")
    return at + head + (length if major in (2, 3) else 0)


def leaf_hash(stub: bytes) -> bytes:
    """RFC 9162 §2.1.1 leaf hash; it also breaks ties between equal stamps of one peer."""
    return sha256(b"\x00" + stub).digest()


_MAX_TEXT_SIZE: Final = MAX_KEY_BYTES + 3

# Size of a CBOR head by the length it announces, and of a head with the text or bytes that it announces.
_HEAD: Final = bytes([1] * 24 + [2] * 232 + [3] * 65280)


def _head_size(length: int) -> int:
    return _HEAD[length] if length < 65536 else 5


def _sized(length: int) -> int:
    return length + (_HEAD[length] if length < 65536 else 5)


def _text_size(text: str) -> int:
    return _sized(len(text) if text.isascii() else len(text.encode()))


def leaves_of(entries: Iterable[Entry]) -> list[bytes]:
    """The leaf hashes of entries; leaf_hash(stub_of(…)) of each, spelled out for speed."""
    leaves: list[bytes] = []
    add = leaves.append
    for entry in entries:
        value, data = entry[5], entry[6]
        if value is not None and len(value) > INLINE_VALUE_BYTES:
            data = data[: -len(value)] + sha256(value).digest()
        add(sha256(b"\x00" + data).digest())
    return leaves


def encode_body(rows: Sequence[bytes]) -> bytes:
    """The array of these entries."""
    return _array_head(len(rows)) + b"".join(rows)


def decode_body(body: bytes, count: int) -> list[Entry]:
    """Decode an array of so many entries. Raises strict.MalformedError if it is not exactly that, in canonical CBOR.

    That it is canonical is proven by sizes: no encoding is shorter than the canonical one, so if all canonical sizes add up to
    the array's length, no entry can have been longer. Each entry then lies where these sizes say.
    """
    head = _array_head(count)
    # An array is as long as it says, before anything in it is looked at: memory is taken for what can be there.
    if not body.startswith(head) or count * _MIN_ENTRY_BYTES > len(body):
        raise strict.MalformedError("the header counts other entries than the body holds")
    try:
        rows = _decoded(body)
        ends = list(accumulate(map(_canonical_size, rows), initial=len(head)))
    except _ERRORS as error:
        raise strict.MalformedError(f"malformed entries: {error}") from error
    if ends[-1] != len(body):
        raise strict.MalformedError(
            "malformed entries: not canonical, or with something behind them"
        )
    return [
        _new_entry(Entry, (*row, body[start:end]))
        for row, start, end in zip(rows, ends, ends[1:], strict=False)
    ]


def decode_entries(datas: tuple[bytes, ...]) -> list[Entry]:
    """Decode entries. Raises strict.MalformedError if any byte string is not exactly one canonical entry.

    All are decoded in one call, as one array, which is three times as fast as one by one.
    """
    try:
        rows = _decoded(encode_body(datas))
        sizes = list(map(_canonical_size, rows))
    except _ERRORS as error:
        raise strict.MalformedError(f"malformed entries: {error}") from error
    if sizes != list(map(len, datas)):
        raise strict.MalformedError("malformed entries: not canonical, or not one")
    return [_new_entry(Entry, (*row, data)) for row, data in zip(rows, datas, strict=True)]


_Row = tuple[str, Field, int, int, int | None, bytes | None]

_ERRORS: Final = (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError)
_MIN_ENTRY_BYTES: Final = 15
"""Heads of array and key, a key of one byte, op, stamp, and null three times."""


def _array_head(count: int) -> bytes:
    """An array's head differs from that of a number in its major type alone (RFC 8949 §3)."""
    head = cbor2.dumps(count)
    return bytes((head[0] | 0x80, *head[1:]))


def _decoded(array: bytes) -> tuple[_Row, ...]:
    decoded: tuple[_Row, ...] = cbor2.loads(
        array,
        tag_hook=strict.refuse_tag,
        semantic_decoders=strict.NO_TAGS,
        max_depth=2,
        allow_indefinite=False,
        allow_duplicate_keys=False,
        strict_hashable_types=True,
        immutable=True,
    )
    return decoded


def _canonical_size(row: _Row) -> int:
    """The size of an entry's encoding. Raises strict.MalformedError, ValueError or TypeError for what is no entry."""
    key, field, op, stamp, expires, value = row
    if type(key) is not str or type(op) is not int or type(stamp) is not int:
        raise strict.MalformedError("key, op or stamp of a wrong type")
    key_size = _text_size(key)
    size = key_size + 11  # with the array's head, op and stamp
    if field is None:
        size += 1
    else:
        size += _field_size(field, op)
    if expires is None:
        size += 1
    elif type(expires) is int and MIN_TIME <= expires < MAX_INT:
        size += 9
    else:
        raise strict.MalformedError("bad expiry")
    if value is None:
        size += 1
    elif type(value) is bytes:
        size += _sized(len(value))
    else:
        raise strict.MalformedError("bad value")
    if not 1 < key_size <= _MAX_TEXT_SIZE or not MIN_TIME <= stamp < MAX_INT:
        raise strict.MalformedError("bad key or stamp")
    if op != 0 or not value:
        _check_op(field, op, expires, value)
    return size


_new_entry = tuple.__new__  # a NamedTuple's own constructor takes three times as long


def _field_size(field: Field, op: int) -> int:
    if type(field) is str:
        size = _text_size(field)
        if size <= _MAX_TEXT_SIZE:
            return size
    elif type(field) is bytes and len(field) == ORIGIN_BYTES and op == Op.SET:
        return 2 + ORIGIN_BYTES
    raise strict.MalformedError("bad field")


def _check_op(field: Field, op: int, expires: int | None, value: bytes | None) -> None:
    """Each op has one shape."""
    if op == Op.SET:
        fine = bool(value)  # no CBOR is empty, and a cell without value bytes would be a shadow
    elif op == Op.DELETE:
        fine = value is None and (field is not None or expires is None)
    elif op == Op.FINAL:
        fine = value is None and field is None and expires is not None
    elif op in (Op.TOUCH, Op.MARK):
        fine = value is None and field is None
    else:
        fine = False
    if not fine:
        raise strict.MalformedError(f"op {op} does not have this shape")
