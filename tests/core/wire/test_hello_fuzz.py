"""Any bytes: a handshake raises HelloError or nothing, and holds little."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.model import strict
from gossipsync.core.model.ids import Epoch, NetworkId, PeerId
from gossipsync.core.wire.framing import frame
from gossipsync.core.wire.hello import (
    HELLO_LIMIT_BYTES,
    Handshake,
    HelloError,
    HelloReason,
    LocalHello,
    Session,
)
from gossipsync.core.wire.versions import Protocols
from tests.core.wire.test_hello import pair

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.binary(max_size=40) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
STREAMS = st.lists(st.binary(max_size=200) | VALUES.map(lambda value: frame(strict.encode(value))))


@given(STREAMS)
def test_no_foreign_error_and_no_link(chunks: list[bytes]) -> None:
    session = Session(
        True,
        NetworkId(b"n" * 32),
        PeerId(b"a" * 32),
        PeerId(b"b" * 32),
        bytes(32),
        bytes(32),
        b"1" * 32,
    )
    hello = LocalHello("ada", Epoch(1), None, "test")
    end = Handshake(session, hello, sign=lambda _: bytes(64), verify=lambda *_: False)
    for chunk in chunks:
        try:
            end.receive(chunk)
        except HelloError:
            break
    assert end.remote is None
    assert end._reader.buffered <= HELLO_LIMIT_BYTES + 4 + 200


RANGES = st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda pair: (min(pair), max(pair)))


@given(RANGES, RANGES)
def test_both_ends_agree_on_one_protocol_or_both_refuse(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    a, b = pair(one, other)
    common = set(range(one[0], one[1] + 1)) & set(range(other[0], other[1] + 1))
    if common:
        a_auth, b_auth = a.receive(b.start()), b.receive(a.start())
        a.receive(b_auth)
        b.receive(a_auth)
        assert a.remote is not None
        assert b.remote is not None
        assert a.remote.protocol == b.remote.protocol == max(common)
        return
    for end, heard, theirs in ((a, b.start(), other), (b, a.start(), one)):
        with pytest.raises(HelloError) as caught:
            end.receive(heard)
        assert caught.value.reason is HelloReason.VERSION
        assert caught.value.stranger is not None
        assert caught.value.stranger.protocols == Protocols(*theirs)
        assert end.remote is None


@given(st.integers(0, 7), VALUES)
def test_no_part_of_a_hello_raises_but_hello_errors(place: int, value: object) -> None:
    said = {"name": "ada", "epoch": 7, "address": None, "software": "0.1.0"}
    message: list[object] = [1, 2, 2, b"n" * 32, b"a" * 32, b"2" * 32, said, {}]
    message[place] = value
    a, _ = pair((2, 2), (2, 2))
    with suppress(HelloError):
        a.receive(frame(strict.encode(message)))
    assert a.remote is None
