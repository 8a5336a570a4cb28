"""Messages: each encodes to one frame that reads as itself, and any other bytes are malformed and nothing worse."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.model import strict
from gossipsync.core.model.bundle import FROZEN
from gossipsync.core.model.now import MAX_WALL_MS
from gossipsync.core.wire import looking, messages
from gossipsync.core.wire.messages import Message, decode_message, encode_message

_COUNTS = st.integers(0, (1 << 63) - 1)
_TIMES = st.integers(0, MAX_WALL_MS - 1)
_INDEXES = st.integers(0, FROZEN)
_SUMS = st.binary(min_size=16, max_size=16)
_ORIGINS = st.binary(min_size=40, max_size=40)
_BUCKETS = st.sampled_from(["b", "another bucket"])
_BYTES = st.lists(st.binary(max_size=20), max_size=3).map(tuple)
_PREFIXES = st.binary(max_size=3).map(lambda raw: bytes(byte & 15 for byte in raw))


def _rows(*parts: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    """Rows as they are after being grouped by bucket."""
    rows = st.lists(st.tuples(_BUCKETS, *parts), max_size=4)
    return rows.map(lambda rows: tuple(sorted(rows, key=lambda row: row[0])))


_LINES = _rows(_ORIGINS, _INDEXES, st.binary(min_size=8, max_size=8), _COUNTS)
_RANGES = st.lists(st.tuples(_PREFIXES, _SUMS, _COUNTS), max_size=3, unique_by=lambda r: r[0])
_SPANS = _rows(_ORIGINS, st.just(5), st.integers(5, 1 << 40))
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(messages.Digest, _COUNTS, _SUMS, st.just(b"") | _SUMS, _TIMES),
    st.builds(messages.Equal, _COUNTS, _TIMES),
    st.builds(
        messages.Compare,
        _COUNTS,
        _RANGES.map(tuple),
        st.booleans(),
        st.lists(_PREFIXES, max_size=3, unique=True).map(tuple),
        _LINES,
        _LINES,
    ),
    st.builds(messages.Want, _COUNTS, _COUNTS, _SPANS),
    st.builds(messages.Delta, _COUNTS, _BYTES),
    st.builds(messages.Push, _BYTES),
    st.builds(messages.Prune, st.lists(_ORIGINS, max_size=3).map(tuple)),
    st.builds(messages.Stored, _rows(_ORIGINS, st.integers(1, FROZEN))),
    st.builds(messages.Presences, _BYTES),
    st.builds(messages.Credentials, _BYTES),
    st.builds(
        looking.Look,
        _COUNTS,
        _BUCKETS,
        st.sampled_from(looking.Aspect),
        st.text(max_size=20),
        st.lists(st.text(max_size=20), max_size=3).map(tuple),
        st.binary(max_size=60),
    ),
    st.builds(
        looking.Shown,
        _COUNTS,
        st.sampled_from(looking.Outcome),
        st.booleans(),
        st.binary(max_size=60),
        _BYTES,
        st.lists(st.tuples(st.text(max_size=20), _COUNTS), max_size=3).map(tuple),
    ),
)


@given(MESSAGES)
def test_every_message_reads_as_itself(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(MESSAGES, st.data())
def test_changed_bytes_are_another_message_or_malformed(
    message: Message, data: st.DataObject
) -> None:
    payload = bytearray(encode_message(message))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode_message(bytes(payload))
    except strict.MalformedError:
        return
    assert decode_message(encode_message(read)) == read


@given(
    st.recursive(
        _COUNTS | _BYTES | st.text(max_size=3) | st.none() | st.booleans(),
        lambda x: st.lists(x, max_size=8).map(tuple),
    )
)
def test_any_canonical_value_is_a_message_or_malformed(value: object) -> None:
    try:
        decode_message(strict.encode(value))
    except strict.MalformedError:
        pass
