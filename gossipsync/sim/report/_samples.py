"""Samples: once an interval, what share of the updates peers hold, and for how long each has lacked something.

A peer's *lag* is the age of the oldest update that somebody running holds and it does not; 0 where it lacks nothing. What died
with its writer is nobody's lag. Invariant: taking a sample changes nothing in the world.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from math import nan

from attrs import asdict, define, field, frozen

from gossipsync.core.model.ids import Origin
from gossipsync.sim.simulation import Simulation

_Key = tuple[str, Origin]
_Vector = Mapping[_Key, int]


@frozen
class Sample:
    """One moment, over all honest running peers."""

    virtual_s: float
    held_share: float
    """How much of all updates so far the average peer holds; with one update, the share of peers that have it."""
    stale_share: float
    """Peers that lack anything."""
    lag_p50_s: float
    lag_p99_s: float
    lag_max_s: float

    def shown(self) -> dict[str, float]:
        """As a JSON-able map."""
        return asdict(self)


@define
class _Log:
    """When the updates of one line were written, in order."""

    indexes: list[int] = field(factory=list)
    at_s: list[float] = field(factory=list)


class Samples:
    """All samples of one run; `look` is what `sim.run` is given to call."""

    def __init__(self) -> None:
        self.rows: list[Sample] = []
        self.lags: list[array[float]] = []
        """For each sample the lag of each peer by its number; NaN where it did not run."""
        self._logs: dict[_Key, _Log] = {}
        self._read = 0

    def look(self, simulation: Simulation) -> None:
        """Take a sample now."""
        self._read_ledger(simulation)
        now_s = simulation.world.now_s
        vectors = _vectors(simulation)
        newest = _newest(vectors.values())
        views = {digest: self._view(vector, newest, now_s) for digest, vector in vectors.items()}
        lags = array("f", [nan]) * len(simulation.drivers)
        held = 0
        for driver in simulation.honest():
            assert driver.peer is not None, "honest() gives running peers"
            count, lags[driver.number] = views[driver.peer.digest]
            held += count
        present = sorted(lag for lag in lags if lag == lag)  # noqa: PLR0124 - NaN is not itself
        self.lags.append(lags)
        self.rows.append(
            Sample(
                round(now_s - simulation.options.first_write_s, 6),
                held / max(1, len(present) * self._reachable(newest)),
                sum(lag > 0 for lag in present) / max(1, len(present)),
                *(round(_quantile(present, share), 6) for share in (0.5, 0.99, 1.0)),
            )
        )

    def _read_ledger(self, simulation: Simulation) -> None:
        entries = simulation.ledger.entries
        for entry in entries[self._read :]:
            log = self._logs.setdefault((entry.bucket, entry.written.origin), _Log())
            log.indexes.append(entry.written.index)
            log.at_s.append(entry.at_s)
        self._read = len(entries)

    def _reachable(self, newest: _Vector) -> int:
        return sum(bisect_right(log.indexes, newest.get(key, 0)) for key, log in self._logs.items())

    def _view(self, vector: _Vector, newest: _Vector, now_s: float) -> tuple[int, float]:
        """How many updates these lines hold, and the age of the oldest that they lack."""
        count, oldest_s = 0, now_s
        for key, log in self._logs.items():
            held = bisect_right(log.indexes, vector.get(key, 0))
            count += held
            if held < len(log.indexes) and log.indexes[held] <= newest.get(key, 0):
                oldest_s = min(oldest_s, log.at_s[held])
        return count, now_s - oldest_s


def _vectors(simulation: Simulation) -> dict[bytes, _Vector]:
    """The vectors there are, by digest: most peers share one."""
    vectors: dict[bytes, _Vector] = {}
    for driver in simulation.honest():
        if driver.peer is not None and driver.peer.digest not in vectors:
            vectors[driver.peer.digest] = driver.peer.vector()
    return vectors


def _newest(vectors: Iterable[_Vector]) -> dict[_Key, int]:
    newest: dict[_Key, int] = {}
    for vector in vectors:
        for key, index in vector.items():
            if index > newest.get(key, 0):
                newest[key] = index
    return newest


def _quantile(values: list[float], share: float) -> float:
    """The smallest value that at least this share does not exceed; 0 of none."""
    return values[max(0, -(-len(values) * int(share * 100) // 100) - 1)] if values else 0.0
