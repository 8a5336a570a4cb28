"""`run`: one world from beginning to end, watched by the checkers.

Time is virtual; how long it took in real life is measured with a clock that the caller hands in, if at all.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from attrs import evolve, frozen

from gossipsync.sim.checkers import Checks
from gossipsync.sim.options import Options
from gossipsync.sim.result import Result, Violation
from gossipsync.sim.series import KINDS, Series
from gossipsync.sim.simulation import Simulation

_SHARES: Final = (50, 99, 100)
_SHOWN_LINES: Final = 40
_SELDOM: Final = (100_000, 10, 10)
"""Thresholds of the collector: a world is millions of objects that all live to its end, and to look through them for cycles time and again takes as long as to run it."""


@frozen
class Progress:
    """How far a run is."""

    virtual_s: float
    end_s: float
    equal_share: float
    events: int


Watch = Callable[[Progress], None]
Clock = Callable[[], float]
Look = Callable[[Simulation], None]
Make = Callable[..., Simulation]
"""Makes the world: `make(options, keeps_trace=…)`. A scenario may hand in a kind of its own."""


def run(
    options: Options | None = None,
    *,
    clock: Clock | None = None,
    watch: Watch | None = None,
    stop: Callable[[], bool] | None = None,
    look: Look | None = None,
    make: Make = Simulation,
    **changes: object,
) -> Result:
    """Run one world. Keywords are options: `run(peers=1000, seed=7)`. Raises ConfigError for impossible ones.

    `clock` gives real seconds, for `wall_s`; `watch` is told of the progress about once an interval; `stop` is asked as often
    whether to end early; `look` is shown the world as often, and must not touch it. Where an invariant breaks, the world is run again up to there, for the end of its trace.
    """
    options = (options or Options()).replaced(**changes).check()
    began = clock() if clock is not None else None
    with _seldom_collecting():
        runner = _Runner(options, watch, stop, look, make)
        runner.go()
        result = runner.result()
        if result.violations:
            result = evolve(result, violations=_traced(options, result.violations, make))
    if clock is not None and began is not None:
        result = evolve(result, wall_s=round(clock() - began, 3))
    return result


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Runner:
    def __init__(
        self,
        options: Options,
        watch: Watch | None = None,
        stop: Callable[[], bool] | None = None,
        look: Look | None = None,
        make: Make = Simulation,
        *,
        keeps_trace: bool = False,
    ) -> None:
        self.simulation = make(options, keeps_trace=keeps_trace)
        self.checks = Checks(self.simulation)
        self._series = Series(self.simulation)
        self._watch = watch
        self._stop = stop
        self._look = look
        self._is_cut_short = False

    def go(self, events: int | None = None) -> None:
        """Run to the end, or until so many inputs have been given or an invariant breaks."""
        simulation = self.simulation
        options, world = simulation.options, simulation.world
        simulation.start()
        end_s = options.first_write_s + options.end
        next_row_s = options.first_write_s
        while (due_s := world.next_s()) is not None and due_s <= end_s:
            while next_row_s < due_s:
                self._row(next_row_s, end_s)
                next_row_s += options.interval
            world.step()
            if options.until is None and simulation.is_settled:
                break
            if self.checks.violations or (events is not None and simulation.trace.count >= events):
                break
            if self._is_cut_short:
                break
        else:
            world.run_until(min(end_s, world.now_s) if options.until is None else end_s)
        self._take()
        self.checks.finish()

    def _row(self, at_s: float, end_s: float) -> None:
        simulation = self.simulation
        simulation.world.run_until(at_s)
        self._take()
        self.checks.look()
        if self._watch is not None:
            share = self._series.rows[-1].equal_share
            self._watch(Progress(at_s, end_s, share, simulation.world.events))
        if self._stop is not None and self._stop():
            self._is_cut_short = True

    def _take(self) -> None:
        self._series.take()
        if self._look is not None:
            self._look(self.simulation)

    def result(self) -> Result:
        simulation = self.simulation
        options = simulation.options
        traffic = self._series.traffic()
        kinds = {
            kind: sum(traffic[f"sent_{name}_bytes"] for name in names)
            for kind, names in KINDS.items()
        }
        network = simulation.network
        return Result(
            options=options,
            converged=simulation.is_settled,
            rounds_to=self._rounds(),
            virtual_s=round(simulation.world.now_s, 6),
            wall_s=None,
            exchanges=traffic["exchanges"],
            messages=network.frames,
            bytes_total=network.bytes,
            bytes_per_peer=round(network.bytes / options.peers, 1),
            digest_bytes=kinds["digest"],
            delta_bytes=kinds["delta"],
            payload_bytes=self._payload_bytes(),
            violations=tuple(self.checks.violations),
            trace_hash=simulation.trace.hash(),
            is_cut_short=self._is_cut_short,
            traffic=dict(traffic),
            rows=tuple(self._series.rows),
        )

    def _rounds(self) -> dict[str, int | None]:
        """Rounds until a share of the peers had all updates: all that the run ended with."""
        simulation, observer = self.simulation, self.simulation.observer
        first_s, interval = simulation.options.first_write_s, simulation.options.interval
        vectors = {
            driver.number: observer.vector_of(driver.peer)
            for driver in simulation.honest()
            if driver.peer is not None
        }
        newest: dict[object, int] = {}
        for vector in vectors.values():
            for key, index in vector.items():
                newest[key] = max(index, newest.get(key, 0))
        complete = sorted(
            observer.changed_s[number] for number, vector in vectors.items() if vector == newest
        )
        rounds: dict[str, int | None] = {}
        for share in _SHARES:
            needed = -(-len(observer) * share // 100)
            is_reached = simulation.workload.left == 0 and 0 < needed <= len(complete)
            rounds[str(share)] = (
                _round_of(complete[needed - 1] - first_s, interval) if is_reached else None
            )
        return rounds

    def _payload_bytes(self) -> int:
        simulation = self.simulation
        held = [
            (driver, driver.peer.vector())
            for driver in simulation.honest()
            if driver.peer is not None
        ]
        sizes: dict[object, list[tuple[int, int]]] = {}
        for entry in simulation.ledger.entries:
            key = (entry.bucket, entry.written.origin)
            size = len(entry.key.encode()) + len(str("" if entry.value is None else entry.value))
            sizes.setdefault(key, []).append((entry.written.index, size))
        total = 0
        for driver, vector in held:
            for key, index in vector.items():
                if key[1][:32] != driver.identity.peer:
                    total += sum(size for at, size in sizes.get(key, ()) if at <= index)
        return total


def _round_of(span_s: float, interval: float) -> int:
    """The number of the round in which something happened; rounds begin at whole intervals after the first write."""
    return 0 if span_s <= 0 else int(span_s / interval) + 1


def _traced(
    options: Options, violations: tuple[Violation, ...], make: Make
) -> tuple[Violation, ...]:
    """The first violation with the end of the trace that leads to it."""
    first = violations[0]
    again = _Runner(options, make=make, keeps_trace=True)
    again.go(first.events)
    lines = [
        line
        for line in again.simulation.trace.lines()
        if first.peer is None or line.split()[2] == str(first.peer)
    ]
    return (evolve(first, trace=tuple(lines[-_SHOWN_LINES:])), *violations[1:])
