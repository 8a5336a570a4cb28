"""A peer joins a mesh that holds 100,000 keys while 1,000 updates a second flow: how long until it has all?

Nine peers know everything when, five seconds into the flow, a tenth starts with nothing. It pulls the long logs from several
members side by side, in spans, and the fresh updates come beside; the others should not notice.

How to read it: `joined_after_s` is when it first had all 100,000 keys, `caught_up_after_s` when it first lacked nothing at all
that the others had, both from its start and in virtual seconds: latency and bandwidth count, CPU does not (`wall_s` shows
that). `joiner_received_bytes` is up to then; the keys and values alone are about 12 MB.
"""

from gossipsync.core import Written
from gossipsync.core.replication.lines import LineKey
from gossipsync.sim.driver import Driver
from gossipsync.sim.ledger import Entry
from gossipsync.sim.options import Options
from gossipsync.sim.result import Figure
from gossipsync.sim.simulation import Simulation

OPTIONS = {
    "peers": 9,
    "writers": 4,
    "workload": "poisson",
    "rate": 1000.0,
    "updates": 10_000,
    "value_bytes": 100,
    "push": True,
    "jitter": 0.2,
    "bandwidth": 12_500_000,
}
SWEEP = {"bandwidth": (1_250_000, 12_500_000, 125_000_000)}
KEYS = 100_000
A_BATCH = 250
JOINS_S = 5.0


class LateJoiner(Simulation):
    """The usual mesh, with keys from before the first write, and one peer that starts late."""

    def __init__(self, options: Options, *, keeps_trace: bool = False) -> None:
        super().__init__(options, keeps_trace=keeps_trace)
        self.joined_s: float | None = None
        self.caught_up_s: float | None = None
        self.joined_bytes: int | None = None
        self._joiner: Driver | None = None
        self._began_s = 0.0
        self._last_early: Written | None = None

    def _begin(self) -> None:
        self._write_keys()
        super()._begin()
        self.world.after(JOINS_S, self._join)

    def _write_keys(self) -> None:
        driver = self.drivers[0]
        peer, now = driver.peer, driver.now()
        assert peer is not None, "all run when the first write is due"
        peer.open_bucket("data", now)
        value = "v" * self.options.value_bytes
        for first in range(0, KEYS, A_BATCH):
            draft = peer.draft("data", now)
            keys = [f"early-{number}" for number in range(first, min(KEYS, first + A_BATCH))]
            for key in keys:
                draft.put(key, value)
            written = peer.commit_draft(draft, now)
            for key in keys:
                number = len(self.ledger.entries)
                self.ledger.add(
                    Entry(number, self.world.now_s, 0, "data", key, "put", value, written)
                )
            self._last_early = written
        driver.pump()

    def _join(self) -> None:
        self._joiner = self.new_driver()
        self.start_driver(self._joiner)
        self._began_s = self.world.now_s
        self.observer.listeners.append(self._watch)

    def _watch(self, driver: Driver) -> None:
        early, peer = self._last_early, driver.peer
        if driver is not self._joiner or peer is None or early is None:
            return
        mine, after_s = peer.vector(), self.world.now_s - self._began_s
        if self.joined_s is None and mine.get((early.bucket, early.origin), 0) >= early.index:
            self.joined_s, self.joined_bytes = after_s, peer.traffic["received_bytes"]
        if self.caught_up_s is None and self.joined_s is not None and not self._lacks(mine):
            self.caught_up_s = after_s

    def _lacks(self, mine: dict[LineKey, int]) -> bool:
        """Is there anything that all the others have?"""
        others = [
            driver.peer.vector()
            for driver in self.honest()
            if driver.peer is not None and driver is not self._joiner
        ]
        return any(
            mine.get(key, 0) < min(other.get(key, 0) for other in others) for key in others[0]
        )


make = LateJoiner


def figures(simulation: LateJoiner) -> dict[str, Figure]:
    """What the run was for, beside what every run reports."""
    return {
        "joined_after_s": _rounded(simulation.joined_s),
        "caught_up_after_s": _rounded(simulation.caught_up_s),
        "joiner_received_bytes": simulation.joined_bytes,
    }


def _rounded(span_s: float | None) -> float | None:
    return None if span_s is None else round(span_s, 3)
