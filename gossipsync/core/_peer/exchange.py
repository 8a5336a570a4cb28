"""Exchanges: two peers compare what they have, and each pulls what it lacks.

Three depths: equal sums end it at once; lines changed since both were last equal; sums over ranges of the origins, descending
where they differ. Comparing alternates strictly, so each step has one answer, and a step that asks for nothing is the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context, Exchange, Link
from gossipsync.core._peer.forks import Forks
from gossipsync.core._peer.ingest import Ingest
from gossipsync.core.model.bundle import FROZEN
from gossipsync.core.model.ids import LinkId, Origin, peer_of
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.deltas import Span, build_delta
from gossipsync.core.replication.lines import DEPTH, Line, LineKey, Range, whole_sum
from gossipsync.core.wire.messages import Compare, Delta, Digest, Equal, Push, Want

PATIENCE: Final = 5.0
"""Gossip intervals (at least as many seconds) that an exchange may take before another is begun, and a silent link counts as dead."""

_LATEST: Final = 8
"""How many times as long what comes of an exchange is still as good."""
_OFFSET_ERROR_MS: Final = 1000
"""A digest tells the other's clock but for its time on the way; an answer is better, unless clocks have moved since."""
_TRIMMED_S: Final = 5.0
"""How long a member that does not have a line whole any more is not asked for it again: others are, and a reconciliation is under way."""
_SLOW_S: Final = 2.0
"""Time after which an answer that is small, and not all that was asked for, counts as none."""
_ANSWER_ROOM: Final = 4
"""Deltas that fit a link's queue when it is too full for pushes: whoever was not pushed something asks for it just then."""


@define
class _Step:
    """A comparing step being put together, bounded in lines."""

    limit: int
    room: int = field(init=False)
    is_cut: bool = False
    """Was there more to compare than one step holds?"""
    ranges: list[Range] = field(factory=list)
    asked: list[bytes] = field(factory=list)
    lines: list[Line] = field(factory=list)
    answers: list[Line] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.room = self.limit

    def descend(self, ranges: list[Range]) -> None:
        if len(self.ranges) + len(ranges) <= self.limit:
            self.ranges += ranges
        else:
            self.is_cut = True

    def ask(self, prefix: bytes, lines: list[Line]) -> None:
        if len(lines) <= self.room and len(self.asked) < self.limit:
            self.room -= len(lines)
            self.asked.append(prefix)
            self.lines += lines
        else:
            self.is_cut = True

    def answer(self, lines: Iterable[Line]) -> None:
        for line in lines:
            if self.room <= 0:
                self.is_cut = True
                return
            self.room -= 1
            self.answers.append(line)

    def message(self, number: int, *, is_since_base: bool = False) -> Compare:
        return Compare(
            number,
            tuple(self.ranges),
            is_since_base,
            tuple(self.asked),
            tuple(self.lines),
            tuple(self.answers),
            self.is_cut,
        )


class Exchanges:
    """All conversations of one peer. `stored(key)` says how far our own store has a line.

    `compared(link)` is called when an exchange has shown all that the other has, `trimmed(link)` when it cannot give whole
    what we lack.
    """

    def __init__(
        self,
        ctx: Context,
        ingest: Ingest,
        forks: Forks,
        stored: Callable[[LineKey], int],
        covered_sum: Callable[[], bytes],
        compared: Callable[[Link, bool], None],
        trimmed: Callable[[Link], None],
    ) -> None:
        self._ctx = ctx
        self._ingest = ingest
        self._forks = forks
        self._stored = stored
        self._covered_sum = covered_sum
        self._compared = compared
        self._trimmed = trimmed

    def start(self, link: Link) -> None:
        """Open an exchange, unless one of ours is under way on this link."""
        ctx = self._ctx
        if link.is_closing or self.is_comparing(link):
            return
        # The dialer's numbers are odd and the listener's even, so that one number never means two exchanges.
        link.next_exchange += 2
        number = link.next_exchange + link.is_dialer
        total, lines = ctx.logs.lines.digest(), ctx.logs.lines
        link.exchanges[number] = Exchange(
            number, ctx.now.mono_s, True, ctx.now.wall_ms, total, lines.seq
        )
        ctx.traffic["exchanges"] += 1
        ctx.send(link, Digest(number, total, link.base, ctx.now.wall_ms, self._covered_sum()))

    def is_comparing(self, link: Link) -> bool:
        """Is an exchange of ours under way on this link?"""
        return any(x.is_mine and not x.is_late for x in link.exchanges.values())

    def timed_out(self, link: Link) -> bool:
        """Has this link left an exchange unanswered, with nothing heard since?"""
        patience_s = max(PATIENCE, PATIENCE * self._ctx.config.gossip_interval_s)
        is_silent = False
        for number, exchange in list(link.exchanges.items()):
            age_s = self._ctx.now.mono_s - exchange.started_s
            if age_s > _LATEST * patience_s:
                del link.exchanges[number]
            elif age_s > patience_s:
                # Another may begin, and what still comes of this one is as good as it would have been in time.
                exchange.is_late = True
                is_silent |= exchange.is_mine and link.heard_s < exchange.started_s
        return is_silent

    # -- comparing -------------------------------------------------------------------------------------------

    def on_digest(self, link: Link, message: Digest) -> None:
        """Somebody opens an exchange."""
        ctx, lines = self._ctx, self._ctx.logs.lines
        offset_ms = message.wall_ms - ctx.now.wall_ms
        if link.offset_ms is None or abs(offset_ms - link.offset_ms) > _OFFSET_ERROR_MS:
            link.offset_ms = offset_ms  # whose clock parks everything is never equal to anybody
            link.clock_ms = message.wall_ms - 1000 * ctx.now.mono_s
        if message.sum == lines.digest():
            link.covered = message.covered
            ctx.send(link, Equal(message.exchange, ctx.now.wall_ms, self._covered_sum()))
            self._equal(link, message.sum, lines.seq, whole_sum(message.sum, message.covered))
            return
        if self._is_same_in_all(message):
            # Lines of ended epochs have left one digest before the other: there is nothing to learn, and no base to go on from.
            link.covered = self._covered_sum()
            ctx.send(link, Equal(message.exchange, ctx.now.wall_ms, message.covered))
            link.whole = whole_sum(message.sum, message.covered)
            link.goals.clear()
            link.compared()
            self._compared(link, True)
            return
        theirs = sum(not (x.is_mine or x.is_late) for x in link.exchanges.values())
        if theirs >= ctx.config.limits.exchanges_per_link or message.exchange in link.exchanges:
            ctx.refuse(link, Reason.LIMIT, "too many exchanges at once")
            return
        link.covered = message.covered
        late = [number for number, x in link.exchanges.items() if x.is_late and not x.is_mine]
        if len(late) > ctx.config.limits.exchanges_per_link:
            del link.exchanges[late[0]]
        link.exchanges[message.exchange] = Exchange(message.exchange, ctx.now.mono_s, False)
        ctx.send(link, self._first_step(link, message))

    def _is_same_in_all(self, message: Digest) -> bool:
        """Have both the same lines, counting those that they only remember?"""
        mine = self._ctx.logs.lines.digest()
        return whole_sum(message.sum, message.covered) == whole_sum(mine, self._covered_sum())

    def _first_step(self, link: Link, message: Digest) -> Compare:
        lines, limits = self._ctx.logs.lines, self._ctx.config.limits
        step = _Step(limits.digest_lines)
        is_known = message.base == link.base and link.base_seq >= lines.removed_seq
        if message.base and is_known:
            changed = list(islice(lines.changed_since(link.base_seq), limits.digest_lines + 1))
            if len(changed) <= limits.digest_lines:
                step.lines = changed
                return step.message(message.exchange, is_since_base=True)
        if len(lines) <= limits.leaf_lines:
            step.ask(b"", lines.lines_in(b""))
        else:
            step.descend(lines.children(b""))
        return step.message(message.exchange)

    def on_equal(self, link: Link, message: Equal) -> None:
        """The other has the same as we had when we asked."""
        exchange = link.exchanges.pop(message.exchange, None)
        if exchange is None or not exchange.is_mine:
            self._ctx.refuse(link, Reason.UNSOLICITED, "an answer to no digest")
            return
        middle_ms = (exchange.sent_wall_ms + self._ctx.now.wall_ms) // 2
        link.offset_ms = message.wall_ms - middle_ms
        link.clock_ms = link.offset_ms + self._ctx.now.wall_ms - 1000 * self._ctx.now.mono_s
        link.covered = message.covered
        self._equal(link, exchange.sum, exchange.seq, whole_sum(exchange.sum, message.covered))

    def _equal(self, link: Link, total: bytes, seq: int, whole: int) -> None:
        """Both had the same at that moment: the base for the next comparison."""
        link.base = total
        link.base_seq = seq
        link.whole = whole
        link.goals.clear()
        link.compared()
        self._compared(link, True)

    def on_compare(self, link: Link, message: Compare) -> None:
        """One step: note where the other is ahead, answer where we are, and descend where sums differ."""
        ctx = self._ctx
        exchange = link.exchanges.get(message.exchange)
        if exchange is None:
            ctx.refuse(link, Reason.UNSOLICITED, "a comparison in no exchange")
            return
        limit = ctx.config.limits.digest_lines
        if (
            max(len(message.lines) + len(message.answers), len(message.ranges), len(message.asked))
            > limit
        ):
            ctx.refuse(link, Reason.OVERSIZE, "too much in one comparison")
            return
        theirs: dict[LineKey, int] = {}
        contested = []
        for line in (*message.lines, *message.answers):
            key = (line[0], Origin(line[1]))
            theirs[key] = line[2]
            if self._forks.is_news(key, line[2], line[3]):
                contested.append((*key, line[2]))
            elif line[2] < FROZEN:
                exchange.is_cut |= not self._note(link, key, line[2])
        self._forks.contest(link, contested)
        step = _Step(limit)
        self._answer_asked(link, message, theirs, step)
        for prefix, total, count in message.ranges:
            self._compare_range(Range(prefix, total, count), step)
        answer = step.message(message.exchange)
        if not message.is_last:
            ctx.send(link, answer)
        exchange.is_cut |= step.is_cut or message.is_cut
        if message.is_last or answer.is_last:
            del link.exchanges[message.exchange]
            # What did not fit one step is compared in a later exchange: until then we cannot know what we lack.
            if not exchange.is_cut:
                link.compared(is_stale=exchange.is_stale)
                self._compared(link, False)
            if exchange.is_stale:
                self.start(link)

    def _answer_asked(
        self, link: Link, message: Compare, theirs: dict[LineKey, int], step: _Step
    ) -> None:
        lines = self._ctx.logs.lines
        asked: Iterable[Line] = ()
        if message.is_since_base:
            asked = lines.changed_since(link.base_seq)
        else:
            asked = (line for prefix in message.asked for line in lines.lines_in(prefix))
        step.answer(line for line in asked if line.index > theirs.get(line.key, 0))
        # A line that we only remember is in no sum: whoever is behind on it would not hear of it otherwise.
        logs = self._ctx.logs
        remembered = (logs.find(key) for key in theirs)
        step.answer(
            log.line()
            for log in remembered
            if log is not None and log.is_covered and log.index > theirs[log.key]
        )

    def _compare_range(self, theirs: Range, step: _Step) -> None:
        lines, leaf = self._ctx.logs.lines, self._ctx.config.limits.leaf_lines
        mine = lines.range_at(theirs.prefix)
        if mine.sum == theirs.sum:
            return
        if theirs.count == 0:
            step.answer(lines.lines_in(mine.prefix))
        elif mine.count == 0 or max(mine.count, theirs.count) <= leaf or len(mine.prefix) == DEPTH:
            step.ask(mine.prefix, lines.lines_in(mine.prefix))
        else:
            step.descend(lines.children(mine.prefix))

    def _note(self, link: Link, key: LineKey, index: int) -> bool:
        """The other has a line up to `index`. False if that is news for which there is no room."""
        if self._ctx.fetcher.note(link.id, key, index):
            link.goals[key] = index
            return True
        return index <= self._ctx.logs.index(key)

    # -- pulling ---------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Ask for what is missing."""
        ctx = self._ctx
        for link_id, number, spans in ctx.fetcher.plan(ctx.now.mono_s, self._rests):
            link = ctx.links.get(link_id)
            if link is not None:
                link.pruned.difference_update(span.origin for span in spans)
                budget = ctx.fetcher.budget(link_id)
                ctx.send(link, Want(number, budget.size_bytes, tuple(spans)))

    def expire(self) -> None:
        """Note the links that owe bundles for long, and hang up on those that are silent."""
        ctx = self._ctx
        for link_id in ctx.fetcher.expire(ctx.now.mono_s, ctx.heard_s, self._late):
            if (link := ctx.links.get(link_id)) is not None:
                ctx.hang_up(link, "unresponsive")

    def _rests(self, link_id: LinkId) -> bool:
        ctx = self._ctx
        return ctx.holders.rests_until_s(ctx.links[link_id].peer) > ctx.now.mono_s

    def _late(self, link_id: LinkId, asked_s: float) -> None:
        """A member delivered none of the bundles that it was asked for."""
        ctx = self._ctx
        link = ctx.links.get(link_id)
        if link is not None and ctx.holders.failed(link.peer, asked_s, ctx.now.mono_s):
            ctx.counters["fetch-failed"] += 1

    def on_want(self, link: Link, message: Want) -> None:
        """Answer with what fits the smaller of both budgets."""
        ctx, limits = self._ctx, self._ctx.config.limits
        room = limits.link_queue_bytes + _ANSWER_ROOM * limits.delta_bytes
        if len(message.spans) > limits.wanted_lines or link.queued_bytes > room:
            ctx.refuse(link, Reason.LIMIT, "asks for too much at once")
            return
        asked = [
            self._sendable(Span(bucket, Origin(origin), first, last))
            for bucket, origin, first, last in message.spans
        ]
        spans = [span for span in asked if self._is_whole(span)]
        budget = min(message.budget_bytes, link.giving.size_bytes)
        bundles = build_delta(ctx.logs, spans, budget, ctx.config.ordering)
        for span in spans:
            is_held = ctx.logs.find(span.key) is not None
            if is_held and peer_of(span.origin) not in (ctx.peer_id, link.peer):
                # It did not get this by push: from now on push it what is fresh of this origin.
                link.eager.add(span.origin)
                link.lazy.discard(span.origin)
        ctx.tell_credentials(link, {peer_of(origin) for origin, _ in bundles})
        is_trimmed = len(spans) < len(asked)
        ctx.send(link, Delta(message.request, tuple(data for _, data in bundles), is_trimmed))

    def _is_whole(self, span: Span) -> bool:
        """Do we still have these bundles as they were received? What we never had is no reason to say that we have not."""
        log = self._ctx.logs.find(span.key)
        return (
            log is None
            or span.first >= log.whole_from
            or span.first > log.index
            or log.fork is not None
        )

    def _sendable(self, span: Span) -> Span:
        """What is ours leaves this peer only after its commit; to whoever asks before that, we do not have it yet."""
        if peer_of(span.origin) != self._ctx.peer_id:
            return span
        return span._replace(last=min(span.last, self._stored(span.key)))

    def on_delta(self, link: Link, message: Delta) -> None:
        """What we asked for, or the beginning of it."""
        ctx = self._ctx
        size_bytes = sum(map(len, message.bundles))
        asked_s = ctx.fetcher.asked_s(message.request)
        spans = ctx.fetcher.answered(link.id, message.request, size_bytes, ctx.now.mono_s)
        if spans is None or asked_s is None:
            ctx.refuse(link, Reason.UNSOLICITED, "a delta that was not asked for")
            return
        self._accept(link, message.bundles, is_fresh=False)
        if message.is_trimmed:
            for span in spans:
                if ctx.logs.index(span.key) < span.last:
                    ctx.fetcher.trimmed(link.id, span.key, ctx.now.mono_s + _TRIMMED_S)
            self._trimmed(link)
        elif not message.bundles:
            for span in spans:
                ctx.fetcher.give_up(link.id, span.key)
                link.goals.pop(span.key, None)
        self._rate(link, spans, asked_s, size_bytes, message)

    def _rate(
        self, link: Link, spans: list[Span], asked_s: float, size_bytes: int, message: Delta
    ) -> None:
        """Whether an answer was worth its time: a member that delivers drops, slowly, holds up what others would deliver at once."""
        ctx = self._ctx
        is_slow = ctx.now.mono_s - asked_s > _SLOW_S
        is_short = size_bytes < ctx.config.limits.delta_least_bytes and len(message.bundles) < sum(
            span.last - span.first + 1 for span in spans
        )
        if is_short and (is_slow or not (message.bundles or message.is_trimmed)):
            self._late(link.id, asked_s)
        elif any(ctx.logs.index(span.key) >= span.first for span in spans):
            ctx.holders.delivered(link.peer)

    def on_push(self, link: Link, message: Push) -> None:
        """Fresh bundles."""
        self._accept(link, message.bundles, is_fresh=True)

    def _accept(self, link: Link, bundles: tuple[bytes, ...], *, is_fresh: bool) -> None:
        for data in bundles:
            if link.is_closing:
                return  # one forgery is proof enough: the rest is not worth a verification each
            self._ingest.accept(link, data, is_fresh=is_fresh)
