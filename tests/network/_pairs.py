"""Two ends with real TLS between them: over memory (virtual time) or over loopback (real sockets)."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
import trio.testing

from gossipsync.core.model.address import split_address
from gossipsync.core.model.ids import Epoch
from gossipsync.core.wire.hello import LocalHello
from gossipsync.runtime.transport import Connection, Transport
from gossipsync.runtime.trust import Credentials, Identity, credentials_from_cluster_key

Handle = Callable[[Connection], Awaitable[None]]


def transport(credentials: Credentials | str, name: str = "peer") -> Transport:
    """A transport with a tally of its own; a str is a cluster key, under which a new peer is made."""
    if isinstance(credentials, str):
        credentials = credentials_from_cluster_key(credentials, Identity.generate())
    hello = LocalHello(name, Epoch(1), "10.0.0.1:7946", "test")
    return Transport(credentials, lambda: hello, Counter())


async def memory_pair(dialer: Transport, listener: Transport) -> tuple[Connection, Connection]:
    """Both ends of one connection, with TLS and hello, without a socket."""
    near, far = trio.testing.memory_stream_pair()
    ends: dict[bool, Connection] = {}

    async def bring_up(end: Transport, stream: trio.abc.Stream, is_dialer: bool) -> None:
        ends[is_dialer] = await end.negotiate(stream, "memory:1", is_dialer=is_dialer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bring_up, dialer, near, True)
        nursery.start_soon(bring_up, listener, far, False)
    return ends[True], ends[False]


@asynccontextmanager
async def listening(
    end: Transport, handle: Handle | None = None, port: int = 0
) -> AsyncIterator[tuple[str, int]]:
    """The transport accepts on loopback while the block runs; gives host and port."""

    async def hold(_: Connection) -> None:
        await trio.sleep_forever()

    listener = await end.listen("127.0.0.1", port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve, handle or hold)
        yield split_address(listener.addresses[0])
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds, for what another task does without telling; fail after 5 s."""
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 — what counts, counts without telling
            await trio.sleep(0.005)
