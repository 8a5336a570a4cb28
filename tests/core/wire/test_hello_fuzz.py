"""Whatever arrives, a handshake raises HelloError or nothing, and holds little."""

from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.model import strict
from gossipsync.core.model.ids import Epoch, NetworkId, PeerId
from gossipsync.core.wire.framing import frame
from gossipsync.core.wire.hello import (
    HELLO_LIMIT_BYTES,
    Handshake,
    HelloError,
    LocalHello,
    Session,
)

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
