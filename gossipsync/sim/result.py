"""What a run gives back: the figures of the contract, the time series, and violations with the way to see them again."""

from __future__ import annotations

from attrs import field, frozen

from gossipsync.sim.options import Options
from gossipsync.sim.series import Row

SCHEMA = 1
Figure = int | float | str | None


@frozen
class Violation:
    """An invariant that did not hold."""

    checker: str
    detail: str
    peer: int | None
    virtual_s: float
    events: int
    """Inputs that peers had got when it showed: the shortest prefix of the trace."""
    trace: tuple[str, ...] = ()
    """The last lines of that prefix, where it was run again for them."""

    def shown(self) -> dict[str, object]:
        """As a JSON-able map."""
        return {
            "checker": self.checker,
            "detail": self.detail,
            "peer": self.peer,
            "virtual_s": self.virtual_s,
            "events": self.events,
            "trace": list(self.trace),
        }


@frozen(kw_only=True)
class Result:
    """One finished run; attributes equal the JSON keys of the contract."""

    options: Options
    converged: bool
    rounds_to: dict[str, int | None]
    virtual_s: float
    wall_s: float | None
    """Measured by whoever called: the simulator has no clock."""
    exchanges: int
    messages: int
    bytes_total: int
    bytes_per_peer: float
    digest_bytes: int
    delta_bytes: int
    payload_bytes: int
    """Keys and values of the updates, once for each peer that got them from another."""
    violations: tuple[Violation, ...]
    trace_hash: str
    is_cut_short: bool = False
    """Was it stopped before its end?"""
    traffic: dict[str, int] = field(factory=dict)
    rows: tuple[Row, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: dict[str, Figure] = field(factory=dict)
    """What a scenario measures beside."""

    @property
    def seed(self) -> int:
        """The seed of the world."""
        return self.options.seed

    @property
    def peers(self) -> int:
        """Peers at the start."""
        return self.options.peers

    @property
    def config(self) -> dict[str, object]:
        """All options."""
        return self.options.shown()

    @property
    def is_fine(self) -> bool:
        """Did it converge, and did no invariant break?"""
        return self.converged and not self.violations

    def document(self) -> dict[str, object]:
        """What `-o json` prints."""
        return {
            "schema": SCHEMA,
            "seed": self.seed,
            "peers": self.peers,
            "converged": self.converged,
            "rounds_to": self.rounds_to,
            "virtual_s": self.virtual_s,
            "wall_s": self.wall_s,
            "exchanges": self.exchanges,
            "messages": self.messages,
            "bytes_total": self.bytes_total,
            "bytes_per_peer": self.bytes_per_peer,
            "digest_bytes": self.digest_bytes,
            "delta_bytes": self.delta_bytes,
            "payload_bytes": self.payload_bytes,
            "violations": [violation.shown() for violation in self.violations],
            "trace_hash": self.trace_hash,
            "config": self.config,
            "cut_short": self.is_cut_short,
            "traffic": dict(sorted(self.traffic.items())),
            "figures": dict(self.figures),
        }
