"""One simulated mesh: peers with their machines, a network, a workload and faults, put together from options.

Invariant: whatever happens in it is drawn from the seed, so the same options give the same trace.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from gossipsync.core import Limits, PeerConfig
from gossipsync.core.model.ids import PeerId
from gossipsync.sim.acquaintance import acquaint
from gossipsync.sim.clocks import Clock
from gossipsync.sim.driver import Driver
from gossipsync.sim.faults import Faults
from gossipsync.sim.identities import Authority
from gossipsync.sim.latency import Latency
from gossipsync.sim.ledger import Ledger
from gossipsync.sim.network import Conditions, Network
from gossipsync.sim.observer import Observer
from gossipsync.sim.options import Options
from gossipsync.sim.rogues import HABITS, SOURCES, Rogue
from gossipsync.sim.roster import Roster
from gossipsync.sim.starts import Starts
from gossipsync.sim.trace import Trace
from gossipsync.sim.workload import Workload
from gossipsync.sim.world import World

_SEEDS = 3
"""Peers that everybody knows the addresses of, where membership is gossiped."""


class Simulation:
    """A mesh in virtual time."""

    def __init__(self, options: Options, *, keeps_trace: bool = False) -> None:
        self.options = options.check()
        self.trace = Trace(keeps=keeps_trace)
        self.world = World(options.seed, self.trace)
        self.authority = Authority(options.seed)
        self.network = Network(self.world, _conditions(options))
        self.observer = Observer(self.world)
        self.roster = Roster() if options.membership == "off" else None
        self.ledger = Ledger()
        self.drivers: list[Driver] = []
        """Everybody who ever was there, by number."""
        self.copies: list[Driver] = []
        """Machines that were started from copies of others, of these."""
        self.machines: dict[PeerId, list[Driver]] = {}
        """By their keys: several where there are copies."""
        self.are_apart = options.apart > 0
        """Whether peers start without seeds, because they have not met yet."""
        self.beside_s: dict[PeerId, float] = {}
        """When two machines with one key last began or ceased to run at once."""
        self._newest: tuple[float, int] = (-1.0, 0)
        self._randomness = self.world.randomness.stream("simulation")
        self._clone_clocks = self.world.randomness.stream("clone clocks")
        rogues = self._rogues()
        for number in range(options.peers):
            self.new_driver(rogue=rogues.get(number))
        self.workload = Workload(self.world, options, self.writers, self.honest, self.ledger)
        self.faults = Faults(self)
        self.starts = Starts(self)

    def _rogues(self) -> dict[int, Rogue]:
        """Rogues are drawn from those who do not write."""
        options, randomness = self.options, self._randomness
        candidates = list(range(options.writers, options.peers))
        chosen = randomness.sample(candidates, round(options.rogues * options.peers))
        rogues = {
            number: Rogue(randomness.pick(HABITS), randomness.stream("rogue", number))
            for number in sorted(chosen)
        }
        # From a stream of their own, so that worlds without them stay the same.
        sources = self.world.randomness.stream("sources")
        for habit, share in zip(SOURCES, (options.silent, options.endless), strict=True):
            left = [number for number in candidates if number not in rogues]
            for number in sources.sample(left, min(len(left), round(share * options.peers))):
                rogues[number] = Rogue(habit, sources.stream("rogue", number))
        return rogues

    def new_driver(self, *, rogue: Rogue | None = None) -> Driver:
        """A machine that has not been started yet."""
        number = len(self.drivers)
        driver = Driver(
            number,
            self.authority.identity(number),
            self._config(number),
            self.world,
            self.network,
            self.authority,
            self.roster,
            self.observer,
            clock=self._clock(),
            rogue=rogue,
        )
        self.drivers.append(driver)
        self.machines[driver.identity.peer] = [driver]
        if rogue is not None:
            self.observer.rogues.add(driver.identity.peer)
        return driver

    def new_copy(self, original: Driver) -> Driver:
        """A second machine from an image of one that runs: its key, its name and its store; its own address and clock."""
        number = len(self.drivers)
        copy = Driver(
            number,
            original.identity,
            evolve(self._config(number), name=original.config.name),
            self.world,
            self.network,
            self.authority,
            self.roster,
            self.observer,
            clock=self._clone_clock(),
            store=original.store.twin(),
            was_restored=original.was_restored,
        )
        self.drivers.append(copy)
        self.machines[copy.identity.peer].append(copy)
        self.copies.append(copy)
        return copy

    def _config(self, number: int) -> PeerConfig:
        options = self.options
        is_open = options.membership == "on"
        full_mesh, view = (12, None) if options.push or is_open else (0, 0)
        limits = Limits(trim_after_s=options.trim_after)
        if options.budget is not None:
            limits = evolve(limits, delta_bytes=options.budget)
        return PeerConfig(
            network=self.authority.network,
            name=f"peer-{number}",
            addresses=(_address(number),),
            seeds=() if self.are_apart else self.seeds,
            gossip_interval_s=options.interval,
            fanout=options.fanout,
            max_skew_ms=round(1000 * options.max_skew),
            horizon_ms=round(1000 * options.horizon),
            push=options.push,
            round_jitter=options.jitter,
            full_mesh=full_mesh,
            view=view,
            ordering=options.ordering,
            limits=limits,
        )

    @property
    def seeds(self) -> tuple[str, ...]:
        """The addresses that all peers know, where membership is gossiped."""
        is_open = self.options.membership == "on"
        return tuple(map(_address, range(min(_SEEDS, self.options.peers)))) if is_open else ()

    def _clone_clock(self) -> Clock:
        """The clock of a copy's machine: wrong in its own way."""
        clock, skew = self._clock(), self.options.clone_skew
        if skew:
            clock.step(self._clone_clocks.between(-skew, skew))
        return clock

    def _clock(self) -> Clock:
        skew, randomness = self.options.skew, self._randomness
        if not skew:
            return Clock()
        return Clock(randomness.between(-skew, skew), randomness.between(-5e-5, 5e-5))

    # -- life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start everybody; write for the first time before the first round."""
        randomness, interval = self._randomness, self.options.interval
        for driver in self.drivers:
            if self.roster is not None:
                self.roster.add(driver.identity.peer, driver.address)
        if self.options.membership == "on" and self.options.start == "warm":
            acquaint(self.drivers)
            for driver in self.drivers:
                # Known and not there yet would be down: the mesh would begin with everybody suspected.
                self.network.listen(driver.address, driver)
        for driver in self.drivers:
            is_stepwise = self.options.membership == "on"
            self.world.after(
                randomness.between(0, interval) if is_stepwise else 0.0, self.start_driver, driver
            )
        self.world.at(self.options.first_write_s, self._begin)

    def _begin(self) -> None:
        self.workload.start()
        self.faults.start()
        self.starts.start()

    def start_driver(self, driver: Driver) -> None:
        """Run a machine's peer, and count it."""
        driver.start()
        self._note_beside(driver)
        if self.roster is not None:
            self.roster.add(driver.identity.peer, driver.address)
        self.observer.came(driver)

    def stop_driver(self, driver: Driver, *, leaves: bool, is_for_good: bool) -> None:
        """End a machine's peer, by a crash or in order."""
        self.observer.gone(driver)
        self._note_beside(driver)
        if leaves:
            driver.leave()
        else:
            driver.crash()
        if is_for_good and self.roster is not None:
            self.roster.remove(driver.identity.peer)
            for other in self.beside(driver):
                self.roster.add(other.identity.peer, other.address)

    def _note_beside(self, driver: Driver) -> None:
        if self.beside(driver):
            self.beside_s[driver.identity.peer] = self.world.now_s

    # -- queries ---------------------------------------------------------------------------------------------

    def honest(self) -> list[Driver]:
        """Peers that run and alter nothing."""
        return [
            driver for driver in self.drivers if driver.peer is not None and not driver.is_rogue
        ]

    def writers(self) -> list[Driver]:
        """Peers that applications write at: the first ones and their copies, as far as they run."""
        count = self.options.writers
        keys = {driver.identity.peer for driver in self.drivers[:count]} if self.copies else set()
        chosen = self.drivers[:count] + [copy for copy in self.copies if copy.identity.peer in keys]
        running = [driver for driver in chosen if driver.peer is not None]
        return running or self.honest()[:count]

    def beside(self, driver: Driver) -> list[Driver]:
        """Who else runs with its key."""
        return [
            other
            for other in (self.drivers if self.copies else ())
            if other.identity is driver.identity and other is not driver and other.is_up
        ]

    def was_copied(self, driver: Driver) -> bool:
        """Whether another machine has, or had, the same key."""
        return len(self.machines[driver.identity.peer]) > 1

    def newest_ms(self) -> int:
        """The latest that any machine's clock shows, or ever showed; looked at once a moment."""
        now_s = self.world.now_s
        if self._newest[0] != now_s:
            shown = (
                max(driver.newest_ms, driver.clock.read(now_s).wall_ms) for driver in self.drivers
            )
            self._newest = (now_s, max(shown))
        return self._newest[1]

    @property
    def has_old_lives(self) -> bool:
        """May a log be written from two stores, of which one does not know how far the other went?"""
        options = self.options
        return options.restores > 0 or options.clones > 0 or options.rollbacks > 0

    @property
    def has_lone_cells(self) -> bool:
        """Whether a peer may hold cells of bundles that no peer is left to hold. Data of rogues may differ for ever."""
        return self.has_old_lives and not self.observer.rogues

    @property
    def forks_differ(self) -> bool:
        """Have honest peers not healed a fork alike? Who met a branch after a horizon goes by the majority: then by proofs only."""
        return self.observer.forks_differ(with_entries=self.are_branches_young)

    @property
    def are_branches_young(self) -> bool:
        """Does the horizon outlive this world?"""
        return self.options.horizon > self.options.end + self.options.first_write_s

    @property
    def is_settled(self) -> bool:
        """Whether everything planned has happened, all peers have the same, and all are ready."""
        return self.observer.are_equal and self.are_ready and self.is_equal

    @property
    def are_ready(self) -> bool:
        """Whether no peer is joining any more and links lead from each to each.

        Asked only where faults end and members are gossiped: under a directory links come and go by the round.
        """
        if self.roster is not None or self.options.quiet is None:
            return True
        honest = self.honest()
        if len({driver.key for driver in honest}) < 2:
            return True
        is_ready = all(driver.peer is None or driver.peer.state == "ready" for driver in honest)
        return is_ready and not self.unreached()

    def unreached(self) -> list[int]:
        """Honest peers to which no links lead from the first of them, through honest peers."""
        honest = self.honest()
        reached = {honest[0].number: honest[0]} if honest else {}
        waiting = list(reached.values())
        while waiting:
            for number in waiting.pop().neighbours.values():
                other = self.drivers[number]
                if number not in reached and not other.is_rogue:
                    reached[number] = other
                    waiting.append(other)
        return [driver.number for driver in honest if driver.number not in reached]

    @property
    def is_equal(self) -> bool:
        """Whether everything planned has happened and all peers have the same."""
        return (
            self.workload.left == 0
            and self.faults.are_over
            and self.starts.are_over
            and self.observer.are_equal
            and self.world.now_s >= self.options.first_write_s
            and not any(map(_is_hollow, self.honest()))
            and not self.forks_differ
            and not (self.has_lone_cells and self.observer.states_differ())
        )

    @property
    def live(self) -> Sequence[Driver]:
        """Everybody who runs, rogues too."""
        return [driver for driver in self.drivers if driver.peer is not None]


def _is_hollow(driver: Driver) -> bool:
    """Does it lack values of keys that live on by a late write?"""
    return driver.peer is not None and any(
        replica.hollow() for replica in driver.peer.replicas.values()
    )


def _address(number: int) -> str:
    return f"host-{number}:1"


def _conditions(options: Options) -> Conditions:
    return Conditions(
        Latency(options.latency, options.spread),
        loss=options.loss,
        drops=options.drops,
        duplicates=options.duplicates,
        reorders=options.reorders,
        bytes_per_s=options.bandwidth,
    )
