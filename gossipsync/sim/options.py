"""What a simulation is told, and what of it is impossible.

Defaults are the contract's: one update by one writer, rounds of one second in step, one partner a round, no pushes, no faults.
Invariant: options that `check` has let pass describe a world that can be run.
"""

from __future__ import annotations

from typing import Final

from attrs import asdict, evolve, frozen

from gossipsync.core.model.acks import ACKS_TOLD, Ack, is_ack
from gossipsync.errors import ConfigError
from gossipsync.sim.latency import SPREADS

MAX_PEERS: Final = 50_000
ORDERINGS: Final = ("mixed", "depth", "breadth", "precise")
WORKLOADS: Final = ("burst", "poisson", "sessions", "hot", "counters", "sets")
MEMBERSHIPS: Final = ("off", "on")
STARTS: Final = ("warm", "cold")
MAX_JOINERS: Final = 1_000
MIXED_ACKS: Final = "mixed"
"""Each write draws its own level."""
_SHARES: Final = (
    *("loss", "drops", "duplicates", "reorders"),
    *("rogues", "silent", "endless", "restart_after_meeting"),
)
_LONGEST_S: Final = 366 * 86_400
_PATIENCE_ROUNDS: Final = 200
"""Rounds after the last write and the last fault, after which a world that has not converged is given up."""


@frozen(kw_only=True)
class Options:
    """One world. Times in virtual seconds, shares between 0 and 1."""

    peers: int = 100
    seed: int = 0
    updates: int = 1
    writers: int = 1
    workload: str = "burst"
    """"burst": all updates at once; the others spread them over time, see sim.workload."""
    rate: float = 10.0
    """Updates a second, where the workload spreads them."""
    value_bytes: int = 100
    interval: float = 1.0
    fanout: int = 1
    jitter: float = 0.0
    """Share of the interval by which rounds vary; 0: all peers march in step, as in the literature's model."""
    latency: float = 0.005
    """Median one-way latency."""
    spread: str = "constant"
    """How latencies spread around the median: see sim.latency."""
    loss: float = 0.0
    drops: float = 0.0
    duplicates: float = 0.0
    reorders: float = 0.0
    bandwidth: int | None = None
    """Bytes a second of each direction of a link."""
    partition: tuple[float, float, float] | None = None
    """(at, for, share cut off)."""
    cuts: float = 0.0
    """Share of peers a minute that go unheard by some others, or do not hear them, for a while: one direction only."""
    churn: float = 0.0
    """Share of peers replaced a minute."""
    crashes: float = 0.0
    """Share of peers that crash a minute, and come back from their store."""
    restores: float = 0.0
    """Share of those that come back from an old copy of their store."""
    clones: float = 0.0
    """Share of peers a minute beside whom a second machine starts from a copy of their store, key included; one of both ends later."""
    disk_failures: float = 0.0
    """Share of peers whose disk fails a minute, for a while."""
    rollbacks: float = 0.0
    """Share of peers a minute whose store returns to an older copy of its data while they run."""
    rogues: float = 0.0
    """Share of peers that alter what they send."""
    silent: float = 0.0
    """Share of peers that claim to have trimmed every log and answer no question of a joining peer."""
    endless: float = 0.0
    """Share of peers that claim the same and answer a joining peer for ever, with nothing new."""
    skew: float = 0.0
    """Milliseconds by which clocks are off, at most, either way."""
    clone_skew: float = 0.0
    """Milliseconds by which the clocks of clones are off, at most, either way, beside `skew`."""
    clock_steps: float = 0.0
    """Share of peers whose clock is set anew a minute, anywhere within `skew`."""
    max_skew: float = 60.0
    """How far ahead a stamp may be; what is further waits."""
    horizon: float = 3600.0
    """The longest absence after which a peer returns with its data: so long, and twice `max_skew`, deletes are remembered."""
    trim_after: float = 60.0
    """How long what has lost stays in its bundle."""
    budget: int | None = None
    """Bytes a delta."""
    ordering: str = "mixed"
    ack: str = "self"
    """What applications wait for after a write: see core.model.acks; or "mixed"."""
    push: bool = False
    membership: str = "off"
    """"off": everybody reads one directory; "on": presence is gossiped, from a few seeds on."""
    start: str = "warm"
    """With membership "on": "warm": a mesh in operation, in which all know each other's presence; "cold": everybody knows the seeds alone."""
    apart: float = 0.0
    """Seconds from the first write for which every peer lives alone, without seeds, before all meet."""
    restart_after_meeting: float = 0.0
    """Probability that a peer is killed or closed within ten seconds of the first link of a run, and starts again."""
    joiners: tuple[int, float] | None = None
    """(empty newcomers that start at once, seconds after the first write)."""
    warmup: float | None = None
    """Seconds from the start to the first write; None: as long as links and members need to be known."""
    quiet: float | None = None
    """From then on nothing fails and nobody writes: the liveness phase. None: faults go on."""
    until: float | None = None
    """How long to run; None: until all peers have all."""

    @property
    def first_write_s(self) -> float:
        """When the first write is due, after the start."""
        if self.warmup is not None:
            return self.warmup
        return 5 * self.interval if self.push or self.membership == "on" else 0.0

    @property
    def end(self) -> float:
        """When to give up, in virtual seconds after the first write."""
        if self.until is not None:
            return self.until
        last = max(self.writing_s, self.quiet or 0.0)
        if self.partition is not None:
            last = max(last, self.partition[0] + self.partition[1])
        if self.joiners is not None:
            last = max(last, self.joiners[1])
        last = max(last, self.apart)
        return last + _PATIENCE_ROUNDS * max(self.interval, 8 * self.latency)

    @property
    def writing_s(self) -> float:
        """When the last write is due at the latest, after the first."""
        return 0.0 if self.workload == "burst" else self.updates / self.rate

    @property
    def ack_level(self) -> Ack:
        """What `ack` says to the core."""
        return int(self.ack) if self.ack.isdecimal() else self.ack

    def check(self) -> Options:
        """These options. Raises ConfigError with one line that says what to change."""
        for fault in (*self._counts(), *self._spans(), *self._starts(), *self._choices()):
            raise ConfigError(fault)
        return self

    def _counts(self) -> list[str]:
        faults = []
        if not 1 <= self.peers <= MAX_PEERS:
            faults.append(f"--peers is 1 to {MAX_PEERS:,}, not {self.peers}")
        if self.updates < 0:
            faults.append(f"--updates cannot be negative, as {self.updates} is")
        if not 1 <= self.writers <= self.peers:
            faults.append(
                f"--writers is 1 to the number of peers, {self.peers}, not {self.writers}"
            )
        if self.fanout < 1:
            faults.append(f"--fanout is at least 1, not {self.fanout}")
        if self.budget is not None and self.budget < 1:
            faults.append(f"--budget is at least 1 byte, not {self.budget}")
        if self.bandwidth is not None and self.bandwidth < 1:
            faults.append(f"--bandwidth is at least 1 byte a second, not {self.bandwidth}")
        if not 0 <= self.value_bytes <= 1 << 17:
            faults.append(f"--value-bytes is 0 to {1 << 17:,}, not {self.value_bytes}")
        if not 0 <= self.seed < 1 << 63:
            faults.append(f"--seed is 0 to 2^63 - 1, not {self.seed}")
        faults += [
            f"--{name.replace('_', '-')} is a share from 0 to 1, not {getattr(self, name)}"
            for name in _SHARES
            if not 0 <= getattr(self, name) <= 1
        ]
        shares = (self.rogues, self.silent, self.endless)
        if sum(round(share * self.peers) for share in shares) > self.peers - self.writers:
            named = "--rogues" if self.rogues else "--silent" if self.silent else "--endless"
            faults.append(f"{named} leaves no honest writer: make it smaller")
        return faults

    def _spans(self) -> list[str]:
        faults = []
        if not 0.001 <= self.interval <= 86_400:
            faults.append(f"--interval is 1 ms to a day, not {self.interval} s")
        if not 0 <= self.latency <= 60:
            faults.append(f"--latency is 0 to 60 s, not {self.latency}")
        if not self.rate > 0:
            faults.append(f"--rate is above 0 updates a second, not {self.rate}")
        if not 0 <= self.jitter < 1:
            faults.append(f"--jitter is a share from 0 to below 1, not {self.jitter}")
        if self.until is not None and not self.until > 0:
            faults.append(f"--until is above 0 s, or `converged`, not {self.until}")
        for name, least in (("max_skew", 0.001), ("horizon", 1), ("trim_after", 0)):
            if not least <= getattr(self, name) <= _LONGEST_S:
                shown = name.replace("_", "-")
                faults.append(f"--{shown} is {least:g} s to a year, not {getattr(self, name)}")
        if self.warmup is not None and not 0 <= self.warmup <= 86_400:
            faults.append(f"--warmup is 0 s to a day, not {self.warmup}")
        for name in (
            "churn",
            "cuts",
            "crashes",
            "clones",
            "disk_failures",
            "rollbacks",
            "clock_steps",
            "restores",
            "skew",
            "clone_skew",
        ):
            if not 0 <= getattr(self, name) <= (1e9 if "skew" in name else 60):
                shown = name.replace("_", "-")
                faults.append(f"--{shown} is out of its bounds: {getattr(self, name)}")
        return [*faults, *self._partition()]

    def _partition(self) -> list[str]:
        if self.partition is None:
            return []
        at, span, share = self.partition
        if not at >= 0 or not span > 0:
            return [f"--partition begins at 0 s or later and lasts, unlike {at:g}:{span:g}"]
        if not 0 < share < 1:
            return [f"--partition cuts off a share between 0 and 1, not {share:g}"]
        if self.until is not None and at >= self.until:
            return [f"--partition begins at {at:g} s, after the end at {self.until:g} s (--until)"]
        return []

    def _starts(self) -> list[str]:
        """Faults of options about how peers start and meet."""
        faults = []
        last = self.quiet if self.until is None else self.until
        if not 0 <= self.apart <= 86_400:
            faults.append(f"--apart is 0 s to a day, not {self.apart}")
        elif self.apart and (self.membership, self.start) != ("on", "cold"):
            faults.append(
                "--apart needs --membership on --start cold: otherwise all know each other"
            )
        elif last is not None and self.apart and self.apart >= last:
            named = "--quiet" if self.until is None else "--until"
            faults.append(f"--apart {self.apart:g} s must end before {named}, {last:g} s")
        if self.restart_after_meeting and self.quiet is None:
            faults.append(
                "--restart-after-meeting needs --quiet: otherwise peers restart without end"
            )
        if self.joiners is None:
            return faults
        count, at_s = self.joiners
        if not 1 <= count <= MAX_JOINERS or not at_s >= 0:
            faults.append(
                f"--joiners is 1 to {MAX_JOINERS:,} at 0 s or later, not {count}@{at_s:g}"
            )
        elif last is not None and at_s >= last:
            named = "--quiet" if self.until is None else "--until"
            faults.append(f"--joiners come at {at_s:g} s, which must be before {named}, {last:g} s")
        return faults

    def _choices(self) -> list[str]:
        choices = {
            "ordering": ORDERINGS,
            "workload": WORKLOADS,
            "membership": MEMBERSHIPS,
            "start": STARTS,
            "spread": tuple(SPREADS),
        }
        faults = [
            f"--{name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}"
            for name, allowed in choices.items()
            if getattr(self, name) not in allowed
        ]
        if self.ack != MIXED_ACKS and not is_ack(self.ack_level):
            faults.append(f'--ack is {ACKS_TOLD}, or "{MIXED_ACKS}", not {self.ack!r}')
        return faults

    def replaced(self, **changes: object) -> Options:
        """A copy with some options changed."""
        return evolve(self, **changes)  # type: ignore[arg-type]  # attrs types each keyword by its field

    def shown(self) -> dict[str, object]:
        """As plain JSON-able values."""
        return asdict(self)

    def command(self) -> str:
        """The command line that runs this world again."""
        return " ".join(["gossipsync sim run", *self.arguments(evolve(_DEFAULT, peers=0))])

    def _text(self, name: str, value: object) -> str:
        if name == "joiners" and self.joiners is not None:
            count, at_s = self.joiners
            return f"{count}@{at_s!r}"
        return _shown(value)

    def arguments(self, usual: Options) -> list[str]:
        """What a command line has to say where others are usual; the seed in any case."""
        arguments = []
        for name, value in self.shown().items():
            if name == "seed" or value != getattr(usual, name):
                arguments.append(f"--{name.replace('_', '-')} {self._text(name, value)}")
        return arguments


def _shown(value: object) -> str:
    if value is None:
        return "converged"  # of those that may be None only --until can be set so by hand
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ":".join(f"{part:g}" for part in value)
    return repr(value) if isinstance(value, float) else str(value)


_DEFAULT: Final = Options()
