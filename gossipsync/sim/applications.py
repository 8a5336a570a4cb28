"""Applications that wait: for the acks of what they wrote, and, at another peer, for what a token names.

Whoever wrote may wait until so many members have stored it (`Options.ack`). A share of writes goes on as a token, as a cookie does
with a browser that turns to another instance: that one waits until it has seen what the token names, then reads. Nobody waits
longer than `_PATIENCE_S`; whose process ends waits no more. Invariant: waiting for a token changes nothing, and is drawn from a
stream of its own, so a world is the same with and without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from gossipsync.core import Peer
from gossipsync.core.model.acks import Ack
from gossipsync.errors import TokenError
from gossipsync.sim.driver import Driver
from gossipsync.sim.ledger import Entry
from gossipsync.sim.options import MIXED_ACKS, Options
from gossipsync.sim.world import World

ACKS: Final[tuple[Ack, ...]] = (1, 2, "majority", "all", "zones")
"""What `ack="mixed"` draws from."""
_PATIENCE_S: Final = 20.0
_READ_SHARE: Final = 0.25
_ON_ITS_WAY_S: Final = 0.1
"""Mean time that a token is on its way from one instance to the other."""


class Witness(Protocol):
    """Whoever wants to know what applications were told."""

    def confirmed(self, driver: Driver, peer: Peer, entry: Entry, ack: Ack) -> None:
        """A writer was told that its write is stored as widely as it asked."""
        ...

    def read(self, driver: Driver, peer: Peer, entry: Entry) -> None:
        """A reader was told that its peer has seen a write, and is about to read."""
        ...


class Applications:
    """All that wait in one world."""

    def __init__(self, world: World, options: Options, readers: Callable[[], list[Driver]]) -> None:
        self.confirmed = self.read = self.refused = 0
        """Waits that ended well, and tokens that a reader's peer took for none."""
        self.witnesses: list[Witness] = []
        self._world = world
        self._levels = ACKS if options.ack == MIXED_ACKS else (options.ack_level,)
        self._readers = readers
        self._randomness = world.randomness.stream("applications")

    def wrote(self, driver: Driver, entry: Entry) -> None:
        """Somebody wrote; see who waits for it."""
        if self._levels != ("self",):
            self._await_acks(driver, entry)
        if self._randomness.chance(_READ_SHARE):
            delay_s = _ON_ITS_WAY_S * self._randomness.exponential()
            self._world.after(delay_s, self._hand_over, entry)

    def _await_acks(self, driver: Driver, entry: Entry) -> None:
        ack = self._randomness.pick(self._levels)
        until_s = self._world.now_s + _PATIENCE_S

        def wait(peer: Peer) -> bool:
            if self._world.now_s > until_s:
                return True
            if not peer.seek_acks(entry.written, ack, driver.now()):
                return False
            self.confirmed += 1
            for witness in self.witnesses:
                witness.confirmed(driver, peer, entry, ack)
            return True

        driver.waits.append(wait)

    def _hand_over(self, entry: Entry) -> None:
        """Give a token to another peer, where there is one."""
        others = [driver for driver in self._readers() if driver.number != entry.writer]
        if not others:
            return
        driver = self._randomness.pick(others)
        peer = driver.peer
        assert peer is not None, "readers run"
        try:
            token = peer.parse_token(entry.token, driver.now())
        except TokenError:
            self.refused += 1
            return
        until_s = self._world.now_s + _PATIENCE_S

        def wait(peer: Peer) -> bool:
            if self._world.now_s > until_s:
                return True
            if not peer.is_satisfied(token):
                return False
            self.read += 1
            for witness in self.witnesses:
                witness.read(driver, peer, entry)
            return True

        if not wait(peer):
            driver.waits.append(wait)
