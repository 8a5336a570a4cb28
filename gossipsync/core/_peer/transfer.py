"""First transfer: all pieces of a state, drawn from several members at once.

Pieces have one order (bucket, origin, index), which is the same at every member. The order is cut into sections, and each section
is asked from one member at a time, answer by answer. A member that has finished takes a free section, or half of the longest one
that another is still at, so the load follows the speed of the members and one that is silent delays only its own section.

Correctness: a transfer brings verified cells into the state, as fresh bundles do, and proves nothing. No line moves by it. The
survey that follows compares the whole state with the one member whose lines the run takes over, and fetches all that a section
lacked. A section can therefore be given up at any moment, at the cost of time alone, and a transfer outlives the run that began
it: a join whose source fails goes on where it stood.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from attrs import define, field

from gossipsync.core.model.ids import LinkId, Origin
from gossipsync.core.replication.lines import LineKey

Place = tuple[str, bytes, int]

_START: Final[Place] = ("", b"", 0)
_LEAST: Final = 64
"""Bundles in a section: fewer are not worth a second member."""
_SLOW_S: Final = 2.0
"""Time after which a section that is too short to be halved may be taken over from the member that was asked for it."""


@define(eq=False)
class Section:
    """The pieces behind one place, up to another; None is the beginning, or the end."""

    after: Place | None
    until: Place | None
    link: LinkId | None = None
    """The member that was asked for the next pieces; None while there is none."""
    asked_s: float = 0.0
    tried: set[LinkId] = field(factory=set)
    """Members that have shown nothing of it."""

    def reached(self, place: Place) -> bool:
        """A piece has come. False if it is not behind the last one: such an answer does not get on."""
        if self.after is not None and place <= self.after:
            return False
        self.after = place
        return True


class Transfer:
    """The sections that are left, and the members that are asked for them."""

    def __init__(self, lines: dict[LineKey, int], members: int) -> None:
        self._keys = sorted(lines)
        self._ends: list[int] = []
        """Bundles up to the end of each line, in the order of places."""
        total = 0
        for key in self._keys:
            total += lines[key]
            self._ends.append(total)
        count = max(1, min(members, total // _LEAST))
        borders = [None, *(self._place(total * n // count) for n in range(1, count)), None]
        self.sections = [Section(*ends) for ends in pairwise(borders)]
        self.members: list[LinkId] = []
        self.left_out: set[LinkId] = set()
        """Members that take no part in this run any more."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to ask for."""
        return not self.sections

    def begin(self, members: Iterable[LinkId]) -> None:
        """A run begins, or goes on, with these members."""
        self.members = list(members)
        self.left_out.clear()
        for section in self.sections:
            section.link = None
            section.tried.clear()

    def of(self, link: LinkId) -> Section | None:
        """The section that a member was asked for."""
        return next((section for section in self.sections if section.link == link), None)

    def assign(self, link: LinkId, now_s: float) -> Section | None:
        """The section to ask a member for that has none; None if nothing is left for it."""
        for section in self.sections:
            if section.link is None and link not in section.tried:
                break
        else:
            taken = [section for section in self.sections if section.link is not None]
            longest = max(taken, key=self._length, default=None)
            if longest is None:
                return None
            if self._length(longest) >= 2 * _LEAST:
                section = self._halve(longest)
            elif now_s - longest.asked_s > _SLOW_S and link not in longest.tried:
                section = longest
            else:
                return None
        section.link, section.asked_s = link, now_s
        return section

    def is_at_end(self, section: Section) -> bool:
        """Whether a section has been shown up to its end."""
        return section.until is not None and (section.after or _START) >= section.until

    def finish(self, section: Section) -> None:
        """Nothing more of a section is asked for."""
        self.sections.remove(section)

    def showed_nothing(self, section: Section) -> None:
        """A member that is not the run's source had no piece of a section: another is asked for it."""
        if section.link is not None:
            section.tried.add(section.link)
            section.link = None

    def drop(self, link: LinkId) -> None:
        """A member is asked for nothing more."""
        self.members = [member for member in self.members if member != link]
        self.left_out.add(link)
        for section in self.sections:
            if section.link == link:
                section.link = None

    def next_deadline(self, now_s: float, patience_s: float, source: LinkId) -> float | None:
        """When a member other than the source will be late, or a slow one may be relieved of a section."""
        busy = {section.link for section in self.sections}
        is_idle = any(link not in busy for link in self.members)
        moments = []
        for section in self.sections:
            if section.link is not None and is_idle:
                moments.append(section.asked_s + _SLOW_S)
            if section.link is not None and section.link != source:
                moments.append(section.asked_s + patience_s)
        return min((moment for moment in moments if moment > now_s), default=None)

    # -- places ----------------------------------------------------------------------------------------------

    def _halve(self, section: Section) -> Section:
        first, last = self._bounds(section)
        middle = self._place((first + last) // 2)
        half = Section(middle, section.until)
        section.until = middle
        self.sections.append(half)
        return half

    def _length(self, section: Section) -> int:
        first, last = self._bounds(section)
        return last - first

    def _bounds(self, section: Section) -> tuple[int, int]:
        last = self._ends[-1] if self._ends else 0
        first = 0 if section.after is None else self._number(section.after)
        return first, last if section.until is None else self._number(section.until)

    def _number(self, place: Place) -> int:
        """Bundles up to a place."""
        at = bisect_right(self._keys, (place[0], Origin(place[1]))) - 1
        if at < 0:
            return 0
        before = self._ends[at - 1] if at else 0
        is_in = self._keys[at] == place[:2]
        return min(self._ends[at], before + place[2]) if is_in else self._ends[at]

    def _place(self, number: int) -> Place:
        """The place of a bundle by its number."""
        at = bisect_left(self._ends, max(1, number))
        bucket, origin = self._keys[at]
        return (bucket, origin, max(1, number) - (self._ends[at - 1] if at else 0))
