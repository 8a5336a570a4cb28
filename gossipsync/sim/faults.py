"""Faults over time: partitions, cuts in one direction, churn, crashes with or without an old copy of the store, clones, failing disks,
stores that return to an older copy under a running peer, clocks set anew.

Each kind strikes as a Poisson process whose rate is its share of peers a minute, until the quiet phase, if there is one; then all
that is still down comes back and the network is healed. Writers are spared by churn, for what they have not yet told anybody
would be gone with them, and nothing could be said about the mesh. Invariant: after `are_over` nothing fails any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gossipsync.sim.driver import Driver

if TYPE_CHECKING:
    from gossipsync.sim.simulation import Simulation

_DOWN_S: Final = (0.5, 10.0)
"""How long a crashed machine is down."""
_DISK_S: Final = (1.0, 8.0)
"""How long a disk fails."""
_COPY_EVERY_S: Final = 5.0
_CLOSING_S: Final = 0.05
"""Time from the goodbye of a peer that closes to its end."""
_ROLLED_BACK_S: Final = (0.5, 8.0)
"""Shortest and longest time that a peer runs on a store that has returned to an older copy, until it is restarted."""
_BESIDE_S: Final = (2.0, 600.0)
"""How long a machine and its copy run at once: until somebody sees to it, or only until a deployment is over."""
_CUT_S: Final = (1.0, 15.0)
"""How long a cut in one direction lasts: also longer than a link may be silent."""


class Faults:
    """All that goes wrong in one world by itself."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._randomness = simulation.world.randomness.stream("faults")
        self._down: dict[int, Driver] = {}
        self._closing: set[int] = set()
        """Numbers of peers that have said goodbye and have not ended yet."""
        self._rolled_back: set[int] = set()
        """Numbers of peers that run on a store that has returned to an older copy."""
        self._pairs: dict[int, tuple[Driver, Driver]] = {}
        """By the copy's number: a machine and its copy, of which one is to end."""
        self.is_quiet = False
        """Whether the quiet phase has begun, in which nothing fails."""
        self._pending_partition = simulation.options.partition is not None

    @property
    def are_over(self) -> bool:
        """Has everything planned happened, and is everybody back? Churn and crashes without a quiet phase go on for ever."""
        waits_for_quiet = self._simulation.options.quiet is not None and not self.is_quiet
        is_pending = self._pending_partition or self._down or self._closing or self._pairs
        return not (is_pending or self._rolled_back or waits_for_quiet)

    def start(self) -> None:
        """Plan everything, from the first write on."""
        simulation, options = self._simulation, self._simulation.options
        world = simulation.world
        strikes: tuple[tuple[float, Callable[[], None]], ...] = (
            (options.churn, self._replace),
            (options.crashes, self._crash),
            (options.clones, self._clone),
            (options.disk_failures, self._fail_disk),
            (options.clock_steps, self._step_clock),
            (options.cuts, self._cut),
            (options.rollbacks, self._roll_back),
        )
        for share, strike in strikes:
            if share > 0:
                self._again(60 / (share * options.peers), strike, is_first=True)
        if options.restores > 0 or options.rollbacks > 0:
            world.after(_COPY_EVERY_S, self._keep_copies)
        if options.partition is not None:
            at, span, share = options.partition
            world.after(at, self._split, share)
            world.after(at + span, self._heal)
        if options.quiet is not None:
            world.after(options.quiet, self._quieten)

    def _again(self, mean_s: float, strike: Callable[[], None], *, is_first: bool = False) -> None:
        if self.is_quiet:
            return
        if not is_first:
            strike()
        delay_s = mean_s * self._randomness.exponential()
        self._simulation.world.after(delay_s, self._again, mean_s, strike)

    # -- peers -----------------------------------------------------------------------------------------------

    def _victim(self, *, spares_writers: bool) -> Driver | None:
        spared = self._simulation.options.writers if spares_writers else 0
        running = [driver for driver in self._simulation.live if driver.number >= spared]
        return self._randomness.pick(running) if running else None

    def _replace(self) -> None:
        driver = self._victim(spares_writers=True)
        if driver is None:
            return
        simulation = self._simulation
        simulation.stop_driver(driver, leaves=self._randomness.chance(0.5), is_for_good=True)
        simulation.start_driver(simulation.new_driver())

    def _crash(self) -> None:
        driver = self._victim(spares_writers=False)
        if driver is None:
            return
        self._simulation.stop_driver(driver, leaves=False, is_for_good=False)
        self._down[driver.number] = driver
        if self._randomness.chance(self._simulation.options.restores):
            driver.was_restored |= driver.store.restore_copy()
        self._simulation.world.after(self._randomness.between(*_DOWN_S), self._restart, driver)

    def take_down(self, driver: Driver, span_s: float, *, closes: bool) -> None:
        """End a peer, in order or by a kill, and start it again after so long."""
        if driver.number in self._closing:
            return
        if closes:
            driver.close()
            self._closing.add(driver.number)
            self._simulation.world.after(_CLOSING_S, self._closed, driver, driver.run, span_s)
        else:
            self._stop_for(driver, span_s)

    def _closed(self, driver: Driver, run: int, span_s: float) -> None:
        self._closing.discard(driver.number)
        if driver.is_up and driver.run == run:
            self._stop_for(driver, span_s)

    def _stop_for(self, driver: Driver, span_s: float) -> None:
        self._simulation.stop_driver(driver, leaves=False, is_for_good=False)
        self._down[driver.number] = driver
        self._simulation.world.after(span_s, self._restart, driver)

    def _roll_back(self) -> None:
        """A peer's store returns to an older copy while the peer runs; some seconds later an operator restarts the peer."""
        driver = self._victim(spares_writers=False)
        if driver is None or not driver.store.roll_back():
            return
        driver.was_restored = True
        self._rolled_back.add(driver.number)
        span_s = self._randomness.between(*_ROLLED_BACK_S)
        self._simulation.world.after(span_s, self._end_rolled_back, driver, driver.run)

    def _end_rolled_back(self, driver: Driver, run: int) -> None:
        self._rolled_back.discard(driver.number)
        if driver.is_up and driver.run == run:
            self.take_down(driver, self._randomness.between(*_DOWN_S), closes=False)

    def _restart(self, driver: Driver) -> None:
        if self._down.pop(driver.number, None) is not None:
            self._simulation.start_driver(driver)

    def _clone(self) -> None:
        """A second machine starts from an image of one that runs: the same key, and its store as it is now or, as often, as it was."""
        simulation, randomness = self._simulation, self._randomness
        of_pairs = {driver.number for pair in self._pairs.values() for driver in pair}
        single = [
            driver
            for driver in simulation.live
            if driver.number not in of_pairs and not driver.is_rogue
        ]
        if not single:
            return
        driver = randomness.pick(single)
        copy = simulation.new_copy(driver)
        if randomness.chance(simulation.options.restores):
            copy.was_restored |= copy.store.restore_copy()
        simulation.start_driver(copy)
        self._pairs[copy.number] = (driver, copy)
        shortest_s, longest_s = _BESIDE_S
        span_s = shortest_s * (longest_s / shortest_s) ** randomness.random()
        simulation.world.after(span_s, self._end_one, copy.number)

    def _end_one(self, number: int) -> None:
        """Of a machine and its copy one goes for good, by an order or by the plug; writers stay, as they do in churn."""
        pair = self._pairs.pop(number, None)
        if pair is None or not all(each.is_up or each.number in self._down for each in pair):
            return
        driver = self._randomness.pick(pair)
        if driver.number < self._simulation.options.writers:
            driver = pair[1]
        leaves = self._randomness.chance(0.5)
        if self._down.pop(driver.number, None) is None and driver.is_up:
            self._simulation.stop_driver(driver, leaves=leaves, is_for_good=True)

    def _keep_copies(self) -> None:
        for driver in self._simulation.live:
            driver.store.keep_copy()
        if not self.is_quiet:
            self._simulation.world.after(_COPY_EVERY_S, self._keep_copies)

    def _fail_disk(self) -> None:
        driver = self._victim(spares_writers=False)
        if driver is not None:
            driver.store.is_failing = True
            self._simulation.world.after(
                self._randomness.between(*_DISK_S), self._mend_disk, driver
            )

    def _mend_disk(self, driver: Driver) -> None:
        driver.store.is_failing = False

    def _step_clock(self) -> None:
        driver = self._victim(spares_writers=False)
        if driver is not None:
            skew = self._simulation.options.skew
            driver.clock.step(self._randomness.between(-skew, skew) - driver.clock.offset_ms)

    # -- network ---------------------------------------------------------------------------------------------

    def _split(self, share: float) -> None:
        """Cut off a random share; whoever starts later is on the mainland."""
        numbers = [driver.number for driver in self._simulation.drivers]
        away = self._randomness.sample(numbers, round(share * len(numbers)))
        self._simulation.network.split(dict.fromkeys(sorted(away), 1))

    def _heal(self) -> None:
        self._simulation.network.rejoin()
        self._pending_partition = False

    def _cut(self) -> None:
        """One peer is not heard any more by some of the others, or does not hear them."""
        driver = self._victim(spares_writers=False)
        if driver is None:
            return
        randomness, network = self._randomness, self._simulation.network
        others = [other.number for other in self._simulation.live if other is not driver]
        some = randomness.sample(others, randomness.below(len(others) + 1))
        pairs = [(driver.number, other) for other in sorted(some)]
        if randomness.chance(0.5):
            pairs = [(other, one) for one, other in pairs]
        for source, target in pairs:
            network.cut(source, target)
        self._simulation.world.after(randomness.between(*_CUT_S), self._mend_cuts, pairs)

    def _mend_cuts(self, pairs: list[tuple[int, int]]) -> None:
        for source, target in pairs:
            self._simulation.network.mend(source, target)

    def _quieten(self) -> None:
        self.is_quiet = True
        simulation = self._simulation
        simulation.network.calm()
        simulation.network.heal()
        simulation.workload.stop()
        self._pending_partition = False
        for number in list(self._pairs):
            self._end_one(number)
        for driver in list(self._down.values()):
            self._restart(driver)
        for driver in simulation.drivers:
            self._mend_disk(driver)
