"""Discovery of seeds: the configured names, looked up until they resolve and a peer is linked, then once a minute.

A seed is a name that may stand for many peers, or for others tomorrow (a headless service, a round-robin record), so a look-up at the
start alone would strand a peer that starts before its seeds. While a name fails, or no peer is linked, look-ups follow each other
after 1 s, then at growing intervals.

Invariant: a name that cannot be looked up is an event, never an end; the other names are still used, and so is the last answer for it.
"""

from collections.abc import Callable
from socket import SOCK_STREAM
from typing import Final

import trio
from attrs import define, field

from gossipsync.core.model.address import split_address
from gossipsync.runtime.observe import SeedUnresolved
from gossipsync.runtime.tcp import socket_address

__all__ = ["LOOKUP_INTERVAL_S", "SeedLookup"]

LOOKUP_INTERVAL_S: Final = 60.0
"""Interval between look-ups at rest: every name resolves and a peer is linked, seconds."""
_FIRST_RETRY_S: Final = 1.0
_GROWTH: Final = 1.5
_LONGEST_UNLINKED_S: Final = 5.0
"""Longest interval while no peer is linked: a name that begins to resolve must be found within seconds."""
_TICK_S: Final = 1.0
"""Interval at which a wait is checked against the loss of the last link, seconds."""
_TOLD_EVERY_S: Final = 60.0
"""Interval between two events about the same failure of the same seed, seconds."""
_LOOKUP_DEADLINE_S: Final = (
    10.0  # twice what a resolver waits before it asks its second name server
)
_ADDRESSES_PER_SEED: Final = 32  # a service with more instances than this needs no more ways in


@define(eq=False)
class SeedLookup:
    """The look-ups of one peer. `handle` takes the addresses as "ip:port", each once, after every look-up."""

    seeds: tuple[str, ...]
    handle: Callable[[tuple[str, ...]], None]
    observe: Callable[[object], None]
    is_linked: Callable[[], bool]
    _found: dict[str, tuple[str, ...]] = field(factory=dict)
    """Last answer for each seed."""
    _told: dict[str, tuple[str, float]] = field(factory=dict)
    """Last failure of each seed that was told, and when."""

    async def run(self) -> None:
        """Look the seeds up for ever."""
        retry_s = _FIRST_RETRY_S
        while True:
            is_whole = await self.look_up()
            self.handle(self.addresses)
            if is_whole and self.is_linked():
                retry_s = _FIRST_RETRY_S
                await self._rest()
            else:
                await trio.sleep(retry_s)
                longest_s = LOOKUP_INTERVAL_S if self.is_linked() else _LONGEST_UNLINKED_S
                retry_s = min(retry_s * _GROWTH, longest_s)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses behind all seeds, in the order of the settings."""
        return tuple(
            dict.fromkeys(each for seed in self.seeds for each in self._found.get(seed, ()))
        )

    async def look_up(self) -> bool:
        """Look all seeds up side by side. Returns whether every name resolved."""
        failed: list[str] = []

        async def one(seed: str) -> None:
            try:
                with trio.fail_after(_LOOKUP_DEADLINE_S):
                    self._found[seed] = await _addresses(*split_address(seed))
                self._told.pop(seed, None)
            except (OSError, UnicodeError, trio.TooSlowError) as error:
                failed.append(seed)
                self._tell(seed, str(error) or "no answer in time")

        async with trio.open_nursery() as nursery:
            for seed in self.seeds:
                nursery.start_soon(one, seed)
        return not failed

    def _tell(self, seed: str, reason: str) -> None:
        told_reason, told_s = self._told.get(seed, ("", 0.0))
        now_s = trio.current_time()
        if reason != told_reason or now_s - told_s >= _TOLD_EVERY_S:
            self._told[seed] = (reason, now_s)
            self.observe(SeedUnresolved(seed, reason))

    async def _rest(self) -> None:
        """Wait for the interval at rest, or until the last link has gone."""
        for _ in range(round(LOOKUP_INTERVAL_S / _TICK_S)):
            if not self.is_linked():
                return
            await trio.sleep(_TICK_S)


async def _addresses(host: str, port: int) -> tuple[str, ...]:
    answers = await trio.socket.getaddrinfo(host, port, type=SOCK_STREAM)
    names = [socket_address((str(name[0]), port)) for *_, name in answers]
    return tuple(dict.fromkeys(names))[:_ADDRESSES_PER_SEED]
