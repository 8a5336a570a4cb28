"""Builds without a common protocol meet over real TLS: both ends say so in words, and `status` shows it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from attrs import evolve

from gossipsync.core.model import strict
from gossipsync.core.model.ids import Epoch, PeerId
from gossipsync.core.wire.framing import frame
from gossipsync.core.wire.hello import HelloError, HelloReason, LocalHello, Stranger
from gossipsync.core.wire.versions import OWN_PROTOCOLS, Protocols
from gossipsync.runtime.clock import SystemClock
from gossipsync.runtime.engine import Engine
from gossipsync.runtime.settings import Settings
from gossipsync.runtime.strangers import STRANGERS_LIMIT, TOLD_LIMIT, Strangers
from gossipsync.runtime.tls import secure, tls_contexts
from gossipsync.runtime.transport import Transport
from gossipsync.runtime.trust import Identity, credentials_from_cluster_key, keygen
from gossipsync.stores import MemoryStore
from tests.network._pairs import listening, transport, until

KEY = keygen()
LATER = Protocols(OWN_PROTOCOLS.highest + 1, OWN_PROTOCOLS.highest + 2)


def later_build() -> tuple[Transport, list[Stranger]]:
    """A build of the future that has given up our protocols, and the strangers that it met."""
    from collections import Counter

    met: list[Stranger] = []
    hello = LocalHello("later", Epoch(1), "10.0.0.9:7946", "9.0", LATER)
    credentials = credentials_from_cluster_key(KEY, Identity.generate())
    return (
        Transport(credentials, lambda: hello, Counter(), lambda _a, _p, who: met.append(who)),
        met,
    )


async def test_both_ends_say_which_protocols_they_speak() -> None:
    later, met = later_build()
    async with listening(later) as (host, port):
        here = transport(KEY)
        with pytest.raises(HelloError) as caught:
            await here.dial(host, port)
        await until(lambda: later.tally["version"] == 1)
    assert caught.value.reason is HelloReason.VERSION
    assert str(caught.value) == (
        f"version: the peer at 127.0.0.1:{port} speaks protocols {LATER}, this build speaks "
        f"{OWN_PROTOCOLS}: upgrade this one"
    )
    assert [who.protocols for who in met] == [OWN_PROTOCOLS]
    assert here.tally["version"] == 1


def former_hello(session_network: bytes, key: bytes) -> bytes:
    said = {"name": "old", "epoch": 7, "address": "10.0.0.9:7946", "software": "0.1.0"}
    return frame(strict.encode([1, 1, session_network, key, bytes(range(32)), said]))


async def be_former(stream: trio.SocketStream, *, is_dialer: bool) -> bytes:
    """Do as a build of protocol 1 does: send its hello, read ours, and close without a word."""
    credentials = credentials_from_cluster_key(KEY, Identity.generate())
    contexts = tls_contexts(
        credentials.ca_certificate, credentials.certificate, credentials.identity
    )
    secured, _ = await secure(stream, contexts, is_dialer=is_dialer)
    await secured.send_all(former_hello(credentials.network_id, credentials.identity.peer_id))
    heard = bytes(await secured.receive_some(16384))
    await trio.aclose_forcefully(secured)
    return heard


def make_engine(**settings: object) -> Engine:
    base = Settings(name="here", listen="127.0.0.1:0", cluster_key=KEY)
    whole = evolve(base, **settings)
    credentials = credentials_from_cluster_key(KEY, Identity.generate())
    return Engine(whole, credentials, MemoryStore(keeps=False), SystemClock())


@asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        yield
        engine.request_close()


async def test_a_build_of_protocol_1_that_dials_us_is_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = make_engine()
    with caplog.at_level(logging.WARNING, "gossipsync"):
        async with running(engine):
            host, _, port = engine.addresses[0].rpartition(":")
            for _ in range(3):
                heard = await be_former(await trio.open_tcp_stream(host, int(port)), is_dialer=True)
                # Anything but 1 in the second place is `version` to such a build.
                message = strict.decode(heard[4:], 5)
                assert isinstance(message, tuple)
                assert message[:2] == (1, OWN_PROTOCOLS.highest)
            await until(lambda: engine.observer.tally["version"] == 3)
            status = engine.status()
    assert "incompatible" in status.warnings
    assert status.rejected["version"] == 3
    (row,) = engine.incompatible()
    words = f"the peer at 10.0.0.9:7946 speaks protocol 1, this build speaks {OWN_PROTOCOLS}: upgrade it"
    assert (row.address, row.name, row.lowest, row.highest, row.count, row.detail) == (
        "10.0.0.9:7946", "old", 1, 1, 3, words,
    )  # fmt: skip
    warned = [record.getMessage() for record in caplog.records if "incompatible" in record.message]
    assert len(warned) == 1
    assert words in warned[0]


async def test_a_seed_of_protocol_1_is_shown() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]

    async def serve(stream: trio.SocketStream) -> None:
        await be_former(stream, is_dialer=False)

    engine = make_engine(seeds=(f"127.0.0.1:{port}",), gossip_interval=0.1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        async with running(engine):
            await until(lambda: bool(engine.incompatible()))
            (row,) = engine.incompatible()
            warnings = engine.status().warnings
        nursery.cancel_scope.cancel()
    assert row.detail.startswith(f"the peer at 127.0.0.1:{port} speaks protocol 1")
    assert "incompatible" in warnings


def test_strangers_are_told_once_an_hour_and_forgotten_once_they_are_upgraded() -> None:
    strangers = Strangers()
    who, peer = Stranger(Protocols(1, 1)), PeerId(b"p" * 32)
    assert strangers.meet("a:1", peer, who, 100.0) is not None
    assert strangers.meet("a:1", peer, who, 101.0) is None
    assert strangers.meet("b:1", peer, who, 101.0) is not None
    assert strangers.meet("a:1", peer, who, 3699.0) is None
    assert strangers.meet("a:1", peer, who, 3701.0) is not None
    # Another reason is news.
    assert strangers.meet("a:1", peer, Stranger(Protocols(7, 7)), 3702.0) is not None
    assert [row.address for row in strangers.shown(3702.0)] == ["a:1"]
    assert strangers.shown(5000.0) == ()
    strangers.link_up(peer)
    assert strangers.shown(3702.0) == ()


def test_strangers_are_bounded() -> None:
    strangers = Strangers()
    told = 0
    for number in range(STRANGERS_LIMIT + 10):
        who = Stranger(Protocols(1, 1))
        told += strangers.meet(f"h:{number}", PeerId(bytes(32)), who, float(number)) is not None
    assert told == TOLD_LIMIT
    shown = strangers.shown(float(STRANGERS_LIMIT))
    assert len(shown) == STRANGERS_LIMIT
    assert "h:9" not in {row.address for row in shown}
