"""Fetching: who is asked for which bundles, so that each is asked for once, from several members side by side.

Pull is driven by the receiver: nothing is sent that was not asked for but fresh pushes. A line that others have more of is
*behind*; its missing bundles are asked for in spans, a span from one member, at most two requests to a member at a time.
Bundles that arrive before their predecessors wait, unverified and bounded, until these have come.
A member that does not keep bundles whole any more is not asked for that line for a few seconds, others are at once; a member that
rests (see `sources`) is asked only for lines that no other member has.
Invariant: bundles that wait here have moved no line.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import islice

from attrs import define, field

from gossipsync.core.model.ids import LinkId, PeerId, peer_of
from gossipsync.core.model.limits import Limits
from gossipsync.core.replication.budgets import Budget
from gossipsync.core.replication.deltas import Span
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.logs import LogBook

REQUESTS_PER_LINK = 2
"""One being answered and one on its way keeps a link busy."""
_WINDOW_SPANS = 4
"""How far ahead of a line others are asked, in spans."""
_PATIENCE_SPANS = 4
"""For how many times `wanted_span_s` a slow link may owe an answer, while anything comes over it."""


@define
class _Behind:
    """A line that others have more of."""

    have: dict[LinkId, int] = field(factory=dict)
    """How far each member is known to have it."""


@define
class _Request:
    link: LinkId
    spans: list[Span]
    asked_s: float
    deadline_s: float
    is_late: bool = False
    """Others may be asked for the same; this link is asked for nothing more."""


class Fetcher:
    """What is missing, what has been asked for, and what came early."""

    def __init__(self, logs: LogBook, limits: Limits) -> None:
        self._logs = logs
        self._limits = limits
        self._behind: dict[LineKey, _Behind] = {}
        self._postponed: dict[LineKey, float] = {}
        """Lines that are not asked for before a moment: their next bundle is ahead of the skew bound."""
        self._trimmed: dict[tuple[LinkId, LineKey], float] = {}
        """Lines that a member does not have whole, and the moment from which it is asked again; the earliest first."""
        self._ahead: set[LineKey] = set()
        """Those among them that were ahead of the clock, since they last moved."""
        self._claims: dict[LinkId, int] = {}
        self._requests: dict[int, _Request] = {}
        self._next_request = 1
        self._early: dict[LineKey, dict[int, tuple[LinkId, bytes]]] = {}
        self._budgets: dict[LinkId, Budget] = {}
        self._first_bytes = limits.delta_first_bytes
        """What is asked for first over a new link: less after one that ended owing us an answer."""
        self._is_planned = False
        """Has nothing changed since it was last planned what to ask for? Planning goes through all lines that are behind."""
        self.early_bytes = 0
        self.early_dropped = 0
        """Bundles that came too early to be kept."""
        self.answers_late = 0

    def budget(self, link: LinkId) -> Budget:
        """What a delta asked for over this link may have."""
        budget = self._budgets.get(link)
        if budget is None:
            budget = self._budgets[link] = Budget(self._limits, self._first_bytes, has_trip=True)
        return budget

    @property
    def lines_behind(self) -> int:
        """Lines that some member has more of."""
        return len(self._behind)

    def bundles_behind(self) -> int:
        """Bundles that members say they have and we have not; no line counts for more than one can ask for at a time."""
        window = self._limits.span_bundles * _WINDOW_SPANS
        return sum(
            min(window, max(behind.have.values(), default=0) - self._logs.index(key))
            for key, behind in self._behind.items()
        )

    def goals(self) -> Iterator[tuple[LineKey, int]]:
        """Lines that are behind, and how far any member is known to have them."""
        for key, behind in self._behind.items():
            yield key, max(behind.have.values(), default=0)

    def is_behind(self, key: LineKey) -> bool:
        """Whether any linked member is known to have more of a line."""
        return key in self._behind

    def is_ahead(self, key: LineKey) -> bool:
        """Whether a line waits for the clock: its next bundle is beyond the skew bound."""
        return key in self._ahead

    def note(self, link: LinkId, key: LineKey, index: int) -> bool:
        """A member says that it has a line up to `index`; False where that is no news, or there is no room for it."""
        if index <= self._logs.index(key):
            return False
        behind = self._behind.get(key)
        claims = self._claims.get(link, 0)
        if behind is None or link not in behind.have:
            if claims >= self._limits.lines_per_link or (
                behind is None and len(self._behind) >= self._limits.logs
            ):
                return False
            self._claims[link] = claims + 1
        if behind is None:
            behind = self._behind[key] = _Behind()
        behind.have[link] = max(index, behind.have.get(link, 0))
        self._is_planned = False
        return True

    def claims_of(self, peer: PeerId) -> dict[LineKey, int]:
        """How far any member, or this peer, has each line of one peer."""
        claims = {log.key: log.index for log in self._logs.logs() if peer_of(log.origin) == peer}
        for key, behind in self._behind.items():
            if peer_of(key[1]) == peer:
                claims[key] = max(claims.get(key, 0), *behind.have.values())
        return claims

    def lines_of(self, link: LinkId) -> list[LineKey]:
        """Lines that a member has more of."""
        return [key for key, behind in self._behind.items() if link in behind.have]

    def index_at(self, link: LinkId, key: LineKey) -> int:
        """How far a member is known to have a line; 0 where that is no news."""
        behind = self._behind.get(key)
        return 0 if behind is None else behind.have.get(link, 0)

    def drop_link(self, link: LinkId) -> None:
        """A link has ended: ask others."""
        self._is_planned = False
        for key in [key for key, behind in self._behind.items() if link in behind.have]:
            self._unclaim(link, key)
        self._claims.pop(link, None)
        budget = self._budgets.pop(link, None)
        if budget is not None and any(request.link == link for request in self._requests.values()):
            least = self._limits.delta_least_bytes
            self._first_bytes = max(least, min(self._first_bytes, budget.size_bytes) // 2)
        self._requests = {
            number: request for number, request in self._requests.items() if request.link != link
        }
        self._drop_early_of(link)

    def moved(self, key: LineKey) -> list[LinkId]:
        """A line has moved on: forget it where it has caught up. Those who were known to be ahead."""
        behind = self._behind.get(key)
        if behind is None:
            self._drop_early(key)
            return []
        index = self._logs.index(key)
        self._ahead.discard(key)
        ahead = list(behind.have)
        for link in [link for link, have in behind.have.items() if have <= index]:
            self._unclaim(link, key)
        self._is_planned = False
        return ahead

    def postpone(self, key: LineKey, until_s: float) -> None:
        """Ask for nothing of this line before a moment: its next bundle is ahead of the clock, which is not an error."""
        if key in self._behind:
            self._postponed[key] = until_s
            self._ahead.add(key)

    def trimmed(self, link: LinkId, key: LineKey, until_s: float) -> None:
        """Ask this member for nothing of a line before a moment: it does not keep these bundles whole any more."""
        behind = self._behind.get(key)
        if behind is not None and link in behind.have:
            self._trimmed.pop((link, key), None)
            self._trimmed[link, key] = until_s
            self._is_planned = False

    def resume(self) -> None:
        """Ask for postponed lines again: our clock was set, and they may be early no longer."""
        self._postponed.clear()
        self._is_planned = False

    def give_up(self, link: LinkId, key: LineKey) -> None:
        """This member cannot give us more of a line (its branch, or its data, is not acceptable)."""
        behind = self._behind.get(key)
        if behind is not None and link in behind.have:
            self._unclaim(link, key)
            self._is_planned = False

    def _unclaim(self, link: LinkId, key: LineKey) -> None:
        behind = self._behind[key]
        del behind.have[link]
        self._trimmed.pop((link, key), None)
        self._claims[link] -= 1
        if not behind.have:
            del self._behind[key]
            self._postponed.pop(key, None)
            self._ahead.discard(key)
            self._drop_early(key)

    # -- early bundles ---------------------------------------------------------------------------------------

    def keep_early(self, link: LinkId, key: LineKey, index: int, data: bytes) -> bool:
        """Keep a bundle that came before its predecessors; False where there is no room or it is too far ahead."""
        window = self._limits.span_bundles * _WINDOW_SPANS
        early = self._early.get(key, {})
        if index in early:
            return True
        if (
            index > self._logs.index(key) + window
            or self.early_bytes + len(data) > self._limits.reassembly_bytes
        ):
            self.early_dropped += 1
            return False
        self._early.setdefault(key, {})[index] = (link, data)
        self._is_planned = False
        self.early_bytes += len(data)
        return True

    def take_early(self, key: LineKey) -> tuple[LinkId, bytes] | None:
        """The next bundle of a line, if it came early, and the link that must answer for it."""
        early = self._early.get(key)
        if early is None:
            return None
        kept = early.pop(self._logs.index(key) + 1, None)
        if kept is not None:
            self.early_bytes -= len(kept[1])
            self._is_planned = False
        if not early:
            del self._early[key]
        return kept

    def _drop_early(self, key: LineKey) -> None:
        self.early_bytes -= sum(len(data) for _, data in self._early.pop(key, {}).values())

    def _drop_early_of(self, link: LinkId) -> None:
        """Nobody answers any more for what this link brought."""
        for key, early in list(self._early.items()):
            for index in [index for index, kept in early.items() if kept[0] == link]:
                self.early_bytes -= len(early.pop(index)[1])
            if not early:
                del self._early[key]

    # -- requests --------------------------------------------------------------------------------------------

    def answered(
        self, link: LinkId, number: int, size_bytes: int, now_s: float
    ) -> list[Span] | None:
        """A request was answered: what it asked for; None where this link was not asked."""
        request = self._requests.get(number)
        if request is None or request.link != link:
            return None
        del self._requests[number]
        self._is_planned = False
        budget = self.budget(link)
        budget.settle(request.asked_s, now_s, size_bytes)
        self._first_bytes = min(
            self._limits.delta_first_bytes, max(self._first_bytes, budget.size_bytes)
        )
        return request.spans

    def asked_s(self, number: int) -> float | None:
        """When a request was made; None for one that is not under way."""
        request = self._requests.get(number)
        return None if request is None else request.asked_s

    def expire(
        self,
        now_s: float,
        heard_s: Callable[[LinkId], float],
        late: Callable[[LinkId, float], None] = lambda _link, _asked_s: None,
    ) -> list[LinkId]:
        """Find requests that were not answered in time; the links to give up, which are silent or take too long.

        `heard_s` tells when anything last came over a link: a slow one is at work on its answer, and others may be asked.
        `late` is told of each link with a late request, and when that was made.
        """
        dead = []
        for request in self._requests.values():
            if request.deadline_s > now_s:
                continue
            self._is_planned = False
            self.answers_late += not request.is_late
            late(request.link, request.asked_s)
            self.budget(request.link).cut(request.asked_s, now_s)
            span_s = self._limits.wanted_span_s
            is_alive = heard_s(request.link) > request.deadline_s - span_s
            if is_alive and now_s - request.asked_s < _PATIENCE_SPANS * span_s:
                request.is_late, request.deadline_s = True, now_s + span_s
            else:
                dead.append(request.link)
        for link in dead:
            self.drop_link(link)
        return dead

    def next_deadline(self) -> float | None:
        """When a request will be late, or a postponed line may be asked for again."""
        if not self._requests and not self._postponed and not self._trimmed:
            return None
        moments = [request.deadline_s for request in self._requests.values()]
        moments += self._postponed.values()
        moments += islice(self._trimmed.values(), 1)
        return min(moments, default=None)

    def plan(
        self, now_s: float, rests: Callable[[LinkId], bool] = lambda _link: False
    ) -> list[tuple[LinkId, int, list[Span]]]:
        """The questions to ask now: (link, request number, spans). `rests` tells which links are asked last."""
        while self._trimmed and next(iter(self._trimmed.values())) <= now_s:
            del self._trimmed[next(iter(self._trimmed))]
            self._is_planned = False
        if self._is_planned and not self._postponed:
            return []
        self._is_planned = True
        if not self._behind:
            return []
        busy: dict[LinkId, int] = {}
        taken: dict[LineKey, list[Span]] = {}
        for request in self._requests.values():
            if request.is_late:
                busy[request.link] = REQUESTS_PER_LINK
                continue
            busy[request.link] = busy.get(request.link, 0) + 1
            for span in request.spans:
                taken.setdefault(span.key, []).append(span)
        asked: dict[LinkId, list[Span]] = {}
        for key in [key for key, until_s in self._postponed.items() if until_s <= now_s]:
            del self._postponed[key]
        free = {link for link in self._claims if busy.get(link, 0) < REQUESTS_PER_LINK}
        resting = {link for link in self._claims if rests(link)}
        for key, behind in self._behind.items():
            free = {link for link in free if len(asked.get(link, ())) < self._limits.wanted_lines}
            if not free:
                break  # else every message of a long catch-up would go through all lines that are behind
            if key in self._postponed:
                continue
            links = self._sources_of(key, behind, resting)
            for link, span in self._spans_for(key, links, taken.get(key, []), busy, asked):
                asked.setdefault(link, []).append(span)
        plan = []
        for link, spans in asked.items():
            number = self._next_request
            self._next_request += 1
            deadline_s = now_s + self._limits.wanted_span_s
            self._requests[number] = _Request(link, spans, now_s, deadline_s)
            plan.append((link, number, spans))
        return plan

    def _sources_of(
        self, key: LineKey, behind: _Behind, resting: Collection[LinkId]
    ) -> dict[LinkId, int]:
        """The members to ask for a line, and how far each has it."""
        links = behind.have
        if self._trimmed:
            links = {
                link: index for link, index in links.items() if (link, key) not in self._trimmed
            }
        if not resting:
            return links
        awake = {link: index for link, index in links.items() if link not in resting}
        return awake or links

    def _spans_for(
        self,
        key: LineKey,
        links: dict[LinkId, int],
        taken: list[Span],
        busy: dict[LinkId, int],
        asked: dict[LinkId, list[Span]],
    ) -> list[tuple[LinkId, Span]]:
        """Share a line's missing bundles among the members that have them and have time."""
        spans = []
        position = self._logs.index(key)
        limit = position + self._limits.span_bundles * _WINDOW_SPANS
        # Those with the least to do first, so that several members share a long log.
        for link in sorted(
            links, key=lambda link: (len(asked.get(link, ())), busy.get(link, 0), link)
        ):
            if (
                busy.get(link, 0) >= REQUESTS_PER_LINK
                or len(asked.get(link, ())) >= self._limits.wanted_lines
            ):
                continue
            first, last = self._next_gap(key, position, min(links[link], limit), taken)
            if first > last:
                continue
            span = Span(key[0], key[1], first, last)
            spans.append((link, span))
            taken = [*taken, span]
        return spans

    def _next_gap(
        self, key: LineKey, position: int, limit: int, taken: list[Span]
    ) -> tuple[int, int]:
        """First run of bundles that nobody was asked for and that did not come early; empty where there is none."""
        early = self._early.get(key, {})
        first = position + 1
        blocked = True
        while blocked and first <= limit:
            blocked = False
            while first in early:
                first += 1
                blocked = True
            for span in taken:
                if span.first <= first <= span.last:
                    first = span.last + 1
                    blocked = True
        last = min(limit, first + self._limits.span_bundles - 1)
        for span in taken:
            if first < span.first <= last:
                last = span.first - 1
        for index in sorted(early):
            if first < index <= last:
                last = index - 1
                break
        return first, last
