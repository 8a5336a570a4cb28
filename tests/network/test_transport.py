"""Connections over real sockets on loopback, and everything that is not one of ours."""

import ssl
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

from gossipsync.core.wire.hello import HelloError, HelloReason
from gossipsync.errors import TransportError
from gossipsync.runtime.tcp import HandshakeError, HandshakeReason
from gossipsync.runtime.transport import HALF_OPEN_PER_ADDRESS_LIMIT, Connection
from gossipsync.runtime.trust import keygen
from tests.network._pairs import listening, transport, until

KEY = keygen()


async def test_two_peers_of_one_network_come_up_and_talk() -> None:
    a, b = transport(KEY, "ada"), transport(KEY, "bea")
    seen: list[Connection] = []

    async def echo(connection: Connection) -> None:
        seen.append(connection)
        async for data in connection.stream:
            await connection.stream.send_all(data)

    async with listening(b, echo) as (host, port):
        connection = await a.dial(host, port)
        await connection.stream.send_all(b"hello" * 10_000)
        received = b""
        while len(received) < 50_000:
            received += await connection.stream.receive_some()
        assert received == b"hello" * 10_000
        await connection.stream.aclose()
    assert connection.remote.peer_id == b.credentials.identity.peer_id
    assert (connection.remote.name, connection.is_dialer) == ("bea", True)
    assert seen[0].remote.peer_id == a.credentials.identity.peer_id
    assert (seen[0].remote.name, seen[0].is_dialer) == ("ada", False)
    assert seen[0].certificate == a.credentials.certificate
    assert connection.stream.version() == "TLSv1.3"
    assert not a.tally
    assert not b.tally


async def test_another_cluster_key_gets_nowhere() -> None:
    a, stranger = transport(KEY), transport(keygen())
    async with listening(a) as (host, port):
        with pytest.raises(HandshakeError) as caught:
            await stranger.dial(host, port)
        assert caught.value.reason is HandshakeReason.CERTIFICATE
        await until(lambda: a.tally["certificate"] == 1)


async def test_dialling_oneself_is_named() -> None:
    a = transport(KEY)
    async with listening(a) as (host, port):
        with pytest.raises(HelloError) as caught:
            await a.dial(host, port)
    assert caught.value.reason is HelloReason.SELF


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x10" + bytes(16), b"SSH-2.0-x\r\n"]
)
async def test_plain_text_on_the_tls_port_is_counted(data: bytes) -> None:
    a = transport(KEY)
    async with listening(a) as (host, port):
        stream = await trio.open_tcp_stream(host, port)
        await stream.send_all(data)
        await stream.aclose()
        await until(lambda: a.tally["plain-text"] == 1)


async def test_dialling_something_that_is_no_peer_is_named() -> None:
    async def speak_plainly(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example ESMTP\r\n")
        await stream.receive_some()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, speak_plainly, [listener])
        with pytest.raises(HandshakeError) as caught:
            await transport(KEY).dial("127.0.0.1", listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()
    assert caught.value.reason is HandshakeReason.PLAIN_TEXT


async def test_tls_1_2_is_refused() -> None:
    a = transport(KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listening(a) as (host, port):
        tcp = await trio.open_tcp_stream(host, port)
        with pytest.raises(trio.BrokenResourceError):
            await trio.SSLStream(tcp, context).do_handshake()
        await tcp.aclose()
        await until(lambda: a.tally["tls-version"] == 1)


async def test_no_certificate_is_refused() -> None:
    a = transport(KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with listening(a) as (host, port):
        tcp = await trio.open_tcp_stream(host, port)
        stream = trio.SSLStream(tcp, context)
        await stream.do_handshake()  # TLS 1.3: the refusal comes with the first bytes
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await tcp.aclose()
        await until(lambda: a.tally["certificate"] == 1)


async def test_hanging_up_early_is_counted() -> None:
    a = transport(KEY)
    async with listening(a) as (host, port):
        stream = await trio.open_tcp_stream(host, port)
        await stream.aclose()
        await until(lambda: a.tally["closed"] == 1)


async def test_half_open_handshakes_are_few_and_their_end_makes_room() -> None:
    a, b = transport(KEY), transport(KEY)
    async with listening(a) as (host, port):
        idle = [await trio.open_tcp_stream(host, port) for _ in range(HALF_OPEN_PER_ADDRESS_LIMIT)]
        await trio.testing.wait_all_tasks_blocked(0.05)
        with pytest.raises(HandshakeError) as caught:
            await b.dial(host, port)
        assert caught.value.reason is HandshakeReason.CLOSED
        assert a.tally["half-open"] == 1
        for stream in idle:
            await stream.aclose()
        await until(lambda: a.tally["closed"] == len(idle))
        connection = await b.dial(host, port)
        await connection.stream.aclose()


async def test_established_connections_hold_no_half_open_slot() -> None:
    a, b = transport(KEY), transport(KEY)
    async with listening(a) as (host, port), AsyncExitStack() as stack:
        for _ in range(HALF_OPEN_PER_ADDRESS_LIMIT * 2):
            connection = await b.dial(host, port)
            stack.push_async_callback(trio.aclose_forcefully, connection.stream)
    assert a.tally["half-open"] == 0


async def test_nobody_there_is_named() -> None:
    a = transport(KEY)
    listener = await a.listen("127.0.0.1", 0)
    port = int(listener.addresses[0].rpartition(":")[2])
    await listener.aclose()
    with pytest.raises(HandshakeError) as caught:
        await a.dial("127.0.0.1", port)
    assert caught.value.reason is HandshakeReason.REFUSED
    assert a.tally["refused"] == 1


async def test_a_port_in_use_is_told() -> None:
    a = transport(KEY)
    listener = await a.listen("127.0.0.1", 0)
    with pytest.raises(TransportError, match="cannot listen on"):
        await a.listen("127.0.0.1", int(listener.addresses[0].rpartition(":")[2]))
    await listener.aclose()
