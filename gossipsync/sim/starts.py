"""Starts and meetings: peers that live apart and meet, restarts soon after a meeting, newcomers that come at once.

Peers that live apart have no seeds. When they meet, each either learns of the seeds while it runs, or is closed or killed and starts
again with them, as in the first deployment of several instances that had been run singly. Everything is drawn from a stream of
its own, so a world without these options is the same world as before. Invariant: after `are_over` no meeting or start is due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from gossipsync.sim.driver import Driver
from gossipsync.sim.world import Act

if TYPE_CHECKING:
    from gossipsync.sim.simulation import Simulation

_MEETING_S: Final = 2.0
"""Longest time from the moment of the meeting until a peer has the seeds."""
_AFTER_MEETING_S: Final = (0.01, 10.0)
"""Shortest and longest time from a first link to the end of that run."""
_DOWN_S: Final = (0.1, 3.0)
"""Shortest and longest time that a restart takes."""
_AT_ONCE_S: Final = 0.05
"""Longest time between the starts of newcomers that start at once."""
_RUNS_ON: Final = (0.0, 0.5, 1.0)
"""Shares of peers that learn of the seeds while they run, of which a world draws one."""


class Starts:
    """How the peers of one world start and meet."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._randomness = simulation.world.randomness.stream("starts")
        self._met_run: dict[int, int] = {}
        """By number, the run in which a peer's first link was last seen."""
        self._due = 0
        """Meetings and starts that are planned and have not happened yet."""
        if simulation.options.restart_after_meeting:
            simulation.observer.meetings.append(self._linked)

    @property
    def are_over(self) -> bool:
        """Whether every planned meeting and start has happened."""
        return not self._due

    def start(self) -> None:
        """Plan the meeting and the newcomers, from the first write on."""
        options = self._simulation.options
        if options.apart:
            self._plan(options.apart, self._meet)
        if options.joiners is not None:
            self._plan(options.joiners[1], self._join)

    # -- meetings --------------------------------------------------------------------------------------------

    def _meet(self) -> None:
        """Give every peer the seeds; peers that start later have them from the start."""
        simulation, randomness = self._simulation, self._randomness
        simulation.are_apart = False
        runs_on = randomness.pick(_RUNS_ON)
        for driver in list(simulation.drivers):
            driver.config = evolve(driver.config, seeds=simulation.seeds)
            if driver.is_up:
                delay_s = randomness.between(0, _MEETING_S)
                restarts = not randomness.chance(runs_on)
                self._plan(delay_s, self._introduce, driver, driver.run, restarts)

    def _introduce(self, driver: Driver, run: int, restarts: bool) -> None:
        if not driver.is_up or driver.run != run:
            return  # it has restarted meanwhile, with the seeds
        if restarts:
            self._restart(driver)
        else:
            driver.learn_seeds(driver.config.seeds)

    def _linked(self, driver: Driver) -> None:
        """A peer has a link: after the first of a run, that run may be about to end."""
        is_first = self._met_run.get(driver.number) != driver.run
        self._met_run[driver.number] = driver.run
        if not is_first or self._simulation.faults.is_quiet:
            return
        if self._randomness.chance(self._simulation.options.restart_after_meeting):
            shortest_s, longest_s = _AFTER_MEETING_S
            span_s = shortest_s * (longest_s / shortest_s) ** self._randomness.random()
            self._plan(span_s, self._end_run, driver, driver.run)

    def _end_run(self, driver: Driver, run: int) -> None:
        if driver.is_up and driver.run == run and not self._simulation.faults.is_quiet:
            self._restart(driver)

    def _restart(self, driver: Driver) -> None:
        """End a peer in order or by a kill, and start it again."""
        span_s = self._randomness.between(*_DOWN_S)
        self._simulation.faults.take_down(driver, span_s, closes=self._randomness.chance(0.5))

    # -- newcomers -------------------------------------------------------------------------------------------

    def _join(self) -> None:
        simulation = self._simulation
        assert simulation.options.joiners is not None, "planned only where there are some"
        for _ in range(simulation.options.joiners[0]):
            driver = simulation.new_driver()
            self._plan(
                self._randomness.between(0, _AT_ONCE_S), self._simulation.start_driver, driver
            )

    # -- plans -----------------------------------------------------------------------------------------------

    def _plan(self, delay_s: float, act: Act, *arguments: object) -> None:
        self._due += 1
        self._simulation.world.after(delay_s, self._happen, act, arguments)

    def _happen(self, act: Act, arguments: tuple[object, ...]) -> None:
        self._due -= 1
        act(*arguments)
