"""Finding the mesh: the configured seeds, looked up again every minute.

A seed is a name that may stand for many peers, or for others tomorrow (a headless service, a round-robin
record), so a look-up at the start alone would strand whoever starts first.

Invariant: a name that cannot be looked up is an event, never an end; the others are still used.
"""

from collections.abc import Callable
from socket import SOCK_STREAM
from typing import Final

import trio

from gossipsync.runtime.observe import SeedUnresolved
from gossipsync.runtime.tcp import socket_address, split_address

__all__ = ["LOOKUP_INTERVAL_S", "keep_seeds", "resolve"]

LOOKUP_INTERVAL_S: Final = 60.0
_LOOKUP_DEADLINE_S: Final = (
    10.0  # twice what a resolver waits before it asks its second name server
)
_ADDRESSES_PER_SEED: Final = 32  # a service with more instances than this needs no more ways in


async def keep_seeds(
    seeds: tuple[str, ...],
    handle: Callable[[tuple[str, ...]], None],
    observe: Callable[[object], None],
) -> None:
    """Look the seeds up now and every minute; hand on what was found, as "ip:port"."""
    while True:
        handle(await resolve(seeds, observe))
        await trio.sleep(LOOKUP_INTERVAL_S)


async def resolve(seeds: tuple[str, ...], observe: Callable[[object], None]) -> tuple[str, ...]:
    """The addresses behind all seeds, each once, looked up side by side."""
    found: dict[str, tuple[str, ...]] = {}

    async def look_up(seed: str) -> None:
        try:
            with trio.fail_after(_LOOKUP_DEADLINE_S):
                found[seed] = await _addresses(*split_address(seed))
        except (OSError, UnicodeError, trio.TooSlowError) as error:
            observe(SeedUnresolved(seed, str(error) or "no answer in time"))

    async with trio.open_nursery() as nursery:
        for seed in seeds:
            nursery.start_soon(look_up, seed)
    return tuple(dict.fromkeys(each for seed in seeds for each in found.get(seed, ())))


async def _addresses(host: str, port: int) -> tuple[str, ...]:
    answers = await trio.socket.getaddrinfo(host, port, type=SOCK_STREAM)
    names = [socket_address((str(name[0]), port)) for *_, name in answers]
    return tuple(dict.fromkeys(names))[:_ADDRESSES_PER_SEED]
