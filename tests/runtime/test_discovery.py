"""Seeds are looked up until they resolve and a peer is linked, then every minute; a name that fails is an event, not an end."""

from itertools import pairwise
from socket import AF_INET, SOCK_STREAM, gaierror
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gossipsync.runtime.discovery import SeedLookup
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


class Lookups:
    """A look-up whose answers are noted with the seconds at which they came."""

    def __init__(self, *seeds: str, is_linked: bool = True) -> None:
        self.began_s = trio.current_time()
        self.events: list[object] = []
        self.seen: list[tuple[float, tuple[str, ...]]] = []
        self.is_linked = is_linked
        self.lookup = SeedLookup(seeds, self._handle, self.events.append, lambda: self.is_linked)

    @property
    def now_s(self) -> float:
        return round(trio.current_time() - self.began_s, 2)

    def _handle(self, addresses: tuple[str, ...]) -> None:
        self.seen.append((self.now_s, addresses))

    async def run(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.lookup.run()


async def test_a_name_may_stand_for_many(resolver: Resolver, autojump_clock: MockClock) -> None:
    resolver.names = {"mesh": ["10.0.0.1", "10.0.0.2"], "other": ["10.0.0.2"]}
    lookups = Lookups("mesh:7", "other:7", "gone:7", "127.0.0.1:9", "[::1]:9")
    assert not await lookups.lookup.look_up()
    assert lookups.lookup.addresses == ("10.0.0.1:7", "10.0.0.2:7", "127.0.0.1:9", "[::1]:9")
    (event,) = lookups.events
    assert isinstance(event, SeedUnresolved)
    assert event.seed == "gone:7"


async def test_a_resolver_that_hangs(resolver: Resolver, autojump_clock: MockClock) -> None:
    lookups = Lookups("slow:7", "127.0.0.1:9")
    assert not await lookups.lookup.look_up()
    assert lookups.lookup.addresses == ("127.0.0.1:9",)
    assert lookups.events == [SeedUnresolved("slow:7", "no answer in time")]


async def test_at_rest_looked_up_every_minute(
    resolver: Resolver, autojump_clock: MockClock
) -> None:
    resolver.names = {"mesh": ["10.0.0.1"]}
    lookups = Lookups("mesh:7")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lookups.run, 61)
        await trio.sleep(30)
        resolver.names = {"mesh": ["10.0.0.9"]}
    assert lookups.seen == [(0, ("10.0.0.1:7",)), (60, ("10.0.0.9:7",))]


@pytest.mark.parametrize("is_linked", [False, True])
async def test_a_name_that_resolves_later_is_found_within_seconds(
    resolver: Resolver, autojump_clock: MockClock, is_linked: bool
) -> None:
    lookups = Lookups("mesh:7", is_linked=is_linked)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lookups.run, 30)
        await trio.sleep(9)
        resolver.names = {"mesh": ["10.0.0.1"]}
    found_s = next(at for at, addresses in lookups.seen if addresses)
    assert 9 <= found_s <= 14
    assert len(lookups.seen) < 12  # the intervals grow
    assert len(lookups.events) == 1  # told once, not at each look-up


async def test_no_link_keeps_look_ups_a_few_seconds_apart(
    resolver: Resolver, autojump_clock: MockClock
) -> None:
    resolver.names = {"mesh": ["10.0.0.1"]}
    lookups = Lookups("mesh:7", is_linked=False)
    await lookups.run(120)
    times = [at for at, _ in lookups.seen]
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps[0] == 1
    assert 4.9 < max(gaps) < 5.1
    assert not lookups.events


async def test_the_loss_of_the_last_link_ends_the_rest(
    resolver: Resolver, autojump_clock: MockClock
) -> None:
    resolver.names = {"mesh": ["10.0.0.1"]}
    lookups = Lookups("mesh:7")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lookups.run, 40)
        await trio.sleep(20.5)
        lookups.is_linked = False
        resolver.names = {"mesh": ["10.0.0.9"]}
    assert lookups.seen[1] == (21, ("10.0.0.9:7",))


async def test_a_name_that_fails_later_keeps_its_last_answer_and_is_told_rarely(
    resolver: Resolver, autojump_clock: MockClock
) -> None:
    resolver.names = {"mesh": ["10.0.0.1"]}
    lookups = Lookups("mesh:7")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lookups.run, 300)
        await trio.sleep(1)
        resolver.names = {}
    assert {addresses for _, addresses in lookups.seen} == {("10.0.0.1:7",)}
    assert 3 <= len(lookups.events) <= 4
