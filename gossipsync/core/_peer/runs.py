"""Runs: how far one reconciliation has come, and why it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Final

from attrs import define, field

from gossipsync.core.model.ids import LinkId, PeerId
from gossipsync.core.replication.admission import AdmittedPiece
from gossipsync.core.replication.celltree import Found
from gossipsync.core.replication.lines import LineKey

Area = tuple[str, bytes]

_OTHERS_FIRST: Final = 8
"""Turns that others take before one that is about forked logs."""


class Need(IntEnum):
    """Why a member is asked; a greater need includes the lesser ones, but for FORK, which is about forked logs alone."""

    FORK = 0
    """Logs have forked: what have you of branches that we have not seen?"""
    PROBE = 1
    """What do you remember of ended epochs? Only if that is more than we do, the run goes on."""
    REPAIR = 2
    """Our states differ though our vectors are equal."""
    FULL = 3
    """Your logs do not give what we lack."""


Rank = Callable[[LinkId, Need], float | None]
"""How long a member is to wait behind others; None where it is not asked now."""


def _unranked(_link: LinkId, _need: Need) -> float | None:
    return 0.0


@define(eq=False)
class Needs:
    """The members to ask, in turn, and why.

    Members that rest come after all others. Forked logs take a turn of their own, after those of others, so that a member that signs
    many histories does not hold up what honest peers wrote. They do not wait for ever either.
    """

    _turns: dict[tuple[LinkId, bool], Need] = field(factory=dict)
    _others: int = 0
    """Turns of others since a turn about forks has waited."""

    def add(self, link: LinkId, need: Need) -> None:
        """Ask this member, too."""
        turn = (link, need is Need.FORK)
        self._turns[turn] = max(need, self._turns.get(turn, need))

    def take(self, link: LinkId) -> list[Need]:
        """Remove what this member is to be asked for, and return it."""
        found = [self._turns.pop((link, is_fork), None) for is_fork in (False, True)]
        return [need for need in found if need is not None]

    def drop(self, link: LinkId) -> None:
        """Ask it for nothing."""
        for is_fork in (False, True):
            self._turns.pop((link, is_fork), None)

    def begun(self, link: LinkId, need: Need) -> None:
        """A run with this member begins: one that compares states compares branches, too."""
        if need >= Need.REPAIR:
            self._turns.pop((link, True), None)

    def next(self, rank: Rank = _unranked) -> tuple[LinkId, Need] | None:
        """The member whose turn it is; None where none may be asked now."""
        ranks = {turn: rank(turn[0], need) for turn, need in self._turns.items()}
        ready = {turn: wait_s for turn, wait_s in ranks.items() if wait_s is not None}
        if not ready:
            return None
        is_due = self._others >= _OTHERS_FIRST
        turn = min(ready, key=lambda turn: (ready[turn], turn[1] is not is_due))
        is_waiting = any(is_fork for _, is_fork in self._turns)
        self._others = self._others + 1 if is_waiting and not turn[1] else 0
        return turn[0], self._turns.pop(turn)

    def __iter__(self) -> Iterator[tuple[LinkId, Need]]:
        return ((link, need) for (link, _), need in self._turns.items())


@define(eq=False)
class Run:
    """One reconciliation under way."""

    number: int
    link: LinkId
    peer: PeerId
    need: Need
    is_joining: bool
    is_back: bool
    """Have we been out of touch for longer than the horizon?"""
    lines: list[LineKey] = field(factory=list)
    their_wall_ms: int = 0
    """The other's clock when it last told what it has."""
    began_s: float = 0.0
    asked_s: float = 0.0
    asked_bytes: int = 0
    """Bytes that had come over the link when the last question was asked."""
    useful_s: float = 0.0
    """When it last brought anything."""
    has_brought: bool = False
    is_partial: bool = False
    """Was there more to compare than one run may hold? Then it moves no line, and another goes on from what it has brought."""
    step: str = ""
    waits_for: list[LineKey] = field(factory=list)
    heads: dict[LineKey, AdmittedPiece] = field(factory=dict)
    covered: dict[LineKey, int] = field(factory=dict)
    """Lines of ended epochs that the other remembers."""
    bad: set[LineKey] = field(factory=set)
    """Lines that cannot be completed, since something of them was refused."""
    is_sound: bool = True
    theirs: dict[LineKey, int] = field(factory=dict)
    """How far the other said that its lines go, where that is further than ours."""
    wants_dump: bool | None = None
    unmet: int = 0
    """Questions for cells in a row to which no cell came that was asked for."""
    was_surveyed: bool = False
    is_first: bool = False
    """Is the first survey under way, which is about buckets that we do not know, too?"""
    todo: dict[Area, None] = field(factory=dict)
    surveys: dict[Area, int] = field(factory=dict)
    asked: set[tuple[Area, bytes]] = field(factory=set)
    came: set[bytes] = field(factory=set)
    """Names of the cells that were given to us, whether we took them or not."""
    missing: dict[Area, set[bytes]] = field(factory=dict)
    fetching: dict[Area, set[bytes]] = field(factory=dict)
    """Of what is missing, what was asked for last."""
    lonely: dict[Area, dict[bytes, Found]] = field(factory=dict)
    """What the other did not name."""
    doubted: list[tuple[Area, Found]] = field(factory=list)
    held_back: set[LineKey] = field(factory=set)
    """Lines that must not move before others were asked, too."""

    def shrink(self, room: int) -> None:
        """Hold no more than so many ranges to ask about, and ask about none once so many cells were named.

        Of ranges the oldest go: those below them came later, and lead to cells sooner.
        """
        for held in (self.todo, self.surveys):
            while len(held) > room:
                del held[next(iter(held))]
                self.is_partial = True
        if len(self.asked) > room and self.todo:
            self.todo.clear()
            self.is_partial = True

    def wanted(self, room: int) -> tuple[tuple[str, bytes, bytes], ...]:
        """(bucket, prefix, names) of what is missing and is fetched now, so many names at most."""
        rows, self.fetching = [], {}
        for area, names in self.missing.items():
            part = sorted(names)[:room]
            room -= len(part)
            self.fetching[area] = set(part)
            rows.append((*area, b"".join(part)))
            if room <= 0:
                break
        return tuple(rows)
