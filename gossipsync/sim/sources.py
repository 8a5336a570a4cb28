"""False sources: members that say they have data and deliver none of it.

Each habit alters the answers that a correct peer is about to send. The answers stay well formed, so nothing in one message proves
the fault. Invariant to test: a joiner that is also linked to one honest ready member becomes ready, in bounded time.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve

from gossipsync.core.wire.looking import Shown
from gossipsync.core.wire.messages import Compare, Delta, Message, WireLine
from gossipsync.core.wire.reconciling import (
    SUM_BYTES,
    Covered,
    Findings,
    Parts,
    Verdict,
    WireNames,
)
from gossipsync.sim.randomness import Randomness

SOURCE_HABITS: Final = (
    "trim",
    "stall",
    "starve",
    "inflate",
    "repeat",
    "cut",
    "unready",
    "differ",
    "invent",
    "conceal",
)
_AHEAD: Final = 1 << 20
"""Bundles that an inflated line claims beyond its true end."""
_INVENTED: Final = 8
"""Names of cells that do not exist, for each range."""


class FalseSource:
    """One member's false answers.

    - trim: every Want is answered `trimmed`; Survey, Dump, Fetch, Heads and Doubt stay unanswered
    - stall: no answer to any question about data, Want and Look included
    - starve: every Want is answered with no bundles; reconciliations stay unanswered
    - inflate: lines far beyond their true end, and Wants answered `trimmed`
    - repeat: every answer with pieces is the first one again, and cut; cut: no pieces, and cut
    - unready: "I am joining myself", for ever; differ: sums that always differ; invent: names of cells that are never given
    - conceal: a complete reconciliation in which nothing is shown and everything of the asker's is called deleted
    """

    def __init__(self, habit: str, randomness: Randomness) -> None:
        assert habit in SOURCE_HABITS, f"no such habit: {habit}"
        self.habit = habit
        self._randomness = randomness
        self._first: tuple[bytes, ...] = ()

    def alter(self, message: Message) -> list[Message]:
        """The messages that go out in place of one."""
        match message:
            case Delta():
                return self._delta(message)
            case Compare() if self.habit == "inflate":
                return [evolve(message, lines=_far(message.lines), answers=_far(message.answers))]
            case Shown() if self.habit in ("trim", "stall", "starve"):
                return []
            case Findings() | Parts() | Covered() | Verdict():
                return self._answer(message)
            case _:
                return [message]

    def _delta(self, message: Delta) -> list[Message]:
        if self.habit == "stall":
            return []
        return [evolve(message, bundles=(), is_trimmed=self.habit != "starve")]

    def _answer(self, message: Findings | Parts | Covered | Verdict) -> list[Message]:
        match self.habit, message:
            case (("trim" | "stall" | "starve"), _):
                return []
            case "repeat", Parts():
                self._first = self._first or message.pieces[:1]
                return [evolve(message, is_cut=True, pieces=self._first)]
            case "cut", Parts():
                return [evolve(message, is_cut=True, pieces=())]
            case "unready", Findings():
                return [evolve(message, is_ready=False, sums=(), names=())]
            case "differ", Findings():
                return [self._different(message)]
            case "invent", Findings():
                names = tuple((*area[:2], self._bytes(_INVENTED)) for area in _areas(message))
                return [evolve(message, sums=(), names=names)]
            case "conceal", Findings():
                nothing: tuple[WireNames, ...] = tuple((*area[:2], b"") for area in _areas(message))
                return [evolve(message, sums=(), names=nothing)]
            case "conceal", Parts():
                return [evolve(message, is_cut=False, pieces=())]
            case "conceal", Verdict():
                return [evolve(message, bits=b"\x01" * len(message.bits))]
            case _:
                return [message]

    def _different(self, message: Findings) -> Findings:
        """Sums of the ranges below each range: no range is ever small enough to name its cells."""
        areas = _areas(message)
        deep = tuple((*area[:2], self._bytes(_INVENTED)) for area in areas if len(area[1]) >= 4)
        sums = tuple((*area[:2], self._bytes(16)) for area in areas if len(area[1]) < 4)
        return evolve(message, sums=sums, names=deep)

    def _bytes(self, count: int) -> bytes:
        return self._randomness.getrandbits(8 * SUM_BYTES * count).to_bytes(SUM_BYTES * count)


def _areas(message: Findings) -> list[WireNames]:
    return [*message.sums, *message.names]


def _far(lines: tuple[WireLine, ...]) -> tuple[WireLine, ...]:
    return tuple(
        (bucket, origin, min(index + _AHEAD, (1 << 40) - 2), head, hlc)
        for bucket, origin, index, head, hlc in lines
    )
