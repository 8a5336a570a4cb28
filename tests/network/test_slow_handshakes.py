"""Who opens a connection and dawdles: in virtual time, over memory, with real TLS."""

import pytest
import trio
import trio.testing

from gossipsync.runtime.tcp import HandshakeError, HandshakeReason, deadline
from gossipsync.runtime.transport import HANDSHAKE_DEADLINE_S
from gossipsync.runtime.trust import keygen
from tests.network._pairs import memory_pair, transport

KEY = keygen()


async def dawdle(stream: trio.abc.Stream, data: bytes) -> None:
    try:
        for byte in data:
            await stream.send_all(bytes([byte]))
            await trio.sleep(60)
    except trio.BrokenResourceError:
        return


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02\x00" + bytes(512)])
async def test_a_byte_a_minute_ends_at_the_deadline(
    autojump_clock: trio.testing.MockClock, data: bytes
) -> None:
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dawdle, near, data)
        started = trio.current_time()
        with pytest.raises(HandshakeError) as caught, deadline(HANDSHAKE_DEADLINE_S):
            await transport(KEY).negotiate(far, "memory:1", is_dialer=False)
        assert caught.value.reason is HandshakeReason.TIMEOUT
        assert trio.current_time() - started == pytest.approx(HANDSHAKE_DEADLINE_S)
        nursery.cancel_scope.cancel()
    with pytest.raises(trio.ClosedResourceError):
        await far.send_all(b"x")


async def test_tls_without_a_hello_ends_at_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    from gossipsync.runtime.tls import secure

    near, far = trio.testing.memory_stream_pair()
    mute = transport(KEY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: secure(near, mute._tls, is_dialer=True))
        with pytest.raises(HandshakeError) as caught, deadline(HANDSHAKE_DEADLINE_S):
            await transport(KEY).negotiate(far, "memory:1", is_dialer=False)
        assert caught.value.reason is HandshakeReason.TIMEOUT


async def test_a_pair_over_memory_talks() -> None:
    a, b = await memory_pair(transport(KEY, "ada"), transport(KEY, "bea"))
    assert (a.remote.name, b.remote.name) == ("bea", "ada")
    assert (a.leftover, b.leftover) == (b"", b"")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.stream.send_all, b"over memory")
        assert await b.stream.receive_some() == b"over memory"
