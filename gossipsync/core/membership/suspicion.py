"""Suspicion: who doubts that a member lives, when that becomes a verdict, and how much we trust our own eyes.

Das, Gupta, Motivala, "SWIM" (DSN 2002): a member that does not answer is suspect first, and down only if it has not refuted that in
time. Dadgar, Phillips, Currey, "Lifeguard: Local Health Awareness for More Accurate Failure Detection" (2018): that time shrinks
with every member that doubts independently, and whoever finds its own probes failing gives others more time, since the fault may
be its own.

Invariant: a verdict needs our own failed probe, or `ENOUGH` members that each signed a doubt; and a presence newer than what
all of them have bound themselves to ends it.
"""

from __future__ import annotations

from math import log
from typing import Final

from attrs import define, field

from gossipsync.core.membership.statements import Statement
from gossipsync.core.model.ids import PeerId

ENOUGH: Final = 3
"""Members whose doubts together need no probe of our own; SWIM's and Lifeguard's K. More are neither kept nor passed on."""
LONGEST: Final = 4.0
"""Probe intervals that a suspect has to refute what a single member doubts."""
SHORTEST: Final = 1.25
"""Probe intervals that it has however many doubt: news and answer cross a mesh of thousands in less."""
_TRUST_FIRST: Final = 10.0
"""Probe intervals for which a dial that failed is no reason to doubt whoever has just refuted a doubt; twice that after the next."""
_TRUST_LAST: Final = 320.0
"""And at most: those linked with it look after it all the time."""
_WORST_HEALTH: Final = 8
"""As in Lifeguard's evaluation: patience grows to nine times."""


def patience(doubters: int) -> float:
    """Probe intervals from the first doubt to the verdict: Lifeguard's logarithmic fall from LONGEST to SHORTEST."""
    share = min(1.0, log(max(1, doubters)) / log(ENOUGH))
    return LONGEST - (LONGEST - SHORTEST) * share


@define
class Trust:
    """How often a member has refuted what was said of it: where it lives and yet cannot be dialled, doubting it again and again is idle."""

    refutations: int = 0
    refuted_s: float = float("-inf")

    def refute(self, now_s: float) -> None:
        """A doubt was refuted. Doubts that several had at once count as one."""
        since_s = now_s - self.refuted_s
        if since_s > 2 * _TRUST_LAST:
            self.refutations = 0
        if since_s > _TRUST_FIRST:
            self.refutations += 1
        self.refuted_s = now_s

    def lasts(self, now_s: float, probe_interval_s: float) -> bool:
        """Is a dial that failed no reason to doubt it?"""
        intervals = min(_TRUST_LAST, _TRUST_FIRST * 2.0 ** (self.refutations - 1))
        return now_s - self.refuted_s < intervals * probe_interval_s


@define
class LocalHealth:
    """Lifeguard's local health multiplier: 0 while all is well, up to 8 while our own probes fail."""

    score: int = 0

    @property
    def factor(self) -> int:
        """By how much to stretch our own probing."""
        return self.score + 1

    def better(self) -> None:
        """A probe was answered."""
        self.score = max(0, self.score - 1)

    def worse(self, by: int = 1) -> None:
        """Probes failed, those whom we asked did not even answer us, or somebody doubted us."""
        self.score = min(_WORST_HEALTH, self.score + by)


@define(eq=False)
class Suspicion:
    """The doubts about one member that stand."""

    since_s: float
    own: Statement | None = None
    """Our own doubt: we have probed it in vain."""
    doubts: dict[PeerId, Statement] = field(factory=dict)
    """Others', by who made them."""
    is_concluded: bool = False
    """Is the verdict spoken: down?"""
    not_before_s: float = 0.0
    """No verdict before this moment, whoever doubts."""

    def is_news(self, doubt: Statement) -> bool:
        """Would another's doubt count?"""
        former = self.doubts.get(doubt.by)
        return len(self.doubts) < ENOUGH if former is None else doubt.bound > former.bound

    @property
    def statements(self) -> list[Statement]:
        """All doubts, to be told to others."""
        return [*self.doubts.values()] if self.own is None else [self.own, *self.doubts.values()]

    @property
    def bound(self) -> int:
        """The highest bound of these doubts."""
        return max((doubt.bound for doubt in self.statements), default=-1)

    def end_before(self, stamp: int) -> bool:
        """Drop what a presence with this stamp refutes; True if nothing is left."""
        if self.own is not None and self.own.bound < stamp:
            self.own = None
        self.doubts = {by: doubt for by, doubt in self.doubts.items() if doubt.bound >= stamp}
        return self.own is None and not self.doubts

    def due_s(self, probe_interval_s: float) -> float:
        """When to decide."""
        due = self.since_s + patience(len(self.statements)) * probe_interval_s
        return max(due, self.not_before_s)

    def may_conclude(self, *, is_linked: bool) -> bool:
        """Do these doubts suffice? Others' never outweigh a link of our own that answers."""
        return self.own is not None or (not is_linked and len(self.doubts) >= ENOUGH)
