"""Seeds are looked up at the start and every minute; a name that fails is an event, not an end."""

from socket import AF_INET, SOCK_STREAM, gaierror
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gossipsync.runtime.discovery import keep_seeds, resolve
from gossipsync.runtime.observe import SeedUnresolved


class Resolver(trio.abc.HostnameResolver):
    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}

    async def getaddrinfo(self, host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host == b"slow":
            await trio.sleep_forever()
        try:
            found = self.names[host.decode()]
        except KeyError:
            raise gaierror(-2, "Name or service not known") from None
        return [(AF_INET, SOCK_STREAM, 6, "", (each, port)) for each in found]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture
async def resolver() -> Resolver:
    made = Resolver()
    trio.socket.set_custom_hostname_resolver(made)  # for this trio run only
    return made


async def test_a_name_may_stand_for_many(resolver: Resolver, autojump_clock: MockClock) -> None:
    resolver.names = {"mesh": ["10.0.0.1", "10.0.0.2"], "other": ["10.0.0.2"]}
    seen: list[object] = []
    found = await resolve(("mesh:7", "other:7", "gone:7", "127.0.0.1:9", "[::1]:9"), seen.append)
    assert found == ("10.0.0.1:7", "10.0.0.2:7", "127.0.0.1:9", "[::1]:9")
    (event,) = seen
    assert isinstance(event, SeedUnresolved)
    assert event.seed == "gone:7"


async def test_a_resolver_that_hangs(resolver: Resolver, autojump_clock: MockClock) -> None:
    seen: list[object] = []
    assert await resolve(("slow:7", "127.0.0.1:9"), seen.append) == ("127.0.0.1:9",)
    assert seen == [SeedUnresolved("slow:7", "no answer in time")]


async def test_looked_up_again_every_minute(resolver: Resolver, autojump_clock: MockClock) -> None:
    resolver.names = {"mesh": ["10.0.0.1"]}
    seen: list[tuple[float, tuple[str, ...]]] = []

    def handle(addresses: tuple[str, ...]) -> None:
        seen.append((trio.current_time(), addresses))
        resolver.names = {"mesh": ["10.0.0.9"]}

    began = trio.current_time()
    with trio.move_on_after(61):
        await keep_seeds(("mesh:7",), handle, lambda event: None)
    assert [(at - began, what) for at, what in seen] == [
        (0, ("10.0.0.1:7",)),
        (60, ("10.0.0.9:7",)),
    ]
