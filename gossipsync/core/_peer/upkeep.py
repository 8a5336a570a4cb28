"""Upkeep: what a peer does now and then so that it stays small and in agreement with the others.

It trims logs, takes the lines of ended epochs out of the digest, and compares sums of states with members whose vectors are equal,
since these show what no vector can: what a relay withheld, or a fault lost.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.disputes import Disputes
from gossipsync.core._peer.reconciling import Reconciler
from gossipsync.core._peer.runs import Need
from gossipsync.core._peer.standing import Standing, State
from gossipsync.core.model.hlc import hlc_ms
from gossipsync.core.model.ids import LinkId, epoch_of
from gossipsync.core.replication.keeping import Keeper
from gossipsync.core.replication.lines import LineKey, whole_sum
from gossipsync.core.replication.logs import Log
from gossipsync.core.wire.reconciling import StateSum

_CHECK_EVERY: Final = 30
"""Rounds between comparisons of states."""
_FILL_EVERY: Final = 3
"""Rounds between requests for values that are lacking: a late write is soon known to whoever may be asked."""
_GROWN_AT_ONCE: Final = 4096
"""Keys taken into a bucket's tree in one round: some twenty milliseconds."""
_TIDIED_AFTER: Final = 30
"""Rounds from the first removal to the quiet moment in which the store may give back what it does not need."""
_LOOKED_AT: Final = 32
"""Logs looked at in one round for whether their epoch has ended: work does not grow with the mesh."""
_SETTLED: Final = 5.0
"""Presence renewals that news surely takes through a mesh."""
_TOUCH_SHARE: Final = 16
"""How often in a horizon it is stored that we are in touch."""
_MISMATCHES: Final = 2
"""Times that states must differ before they are repaired: once may be a matter of moments."""
TOUCHED_HEAD: Final = "touched"


@define(eq=False)
class Upkeep:
    """The slow part of one peer's rounds."""

    _ctx: Context
    _standing: Standing
    _keeper: Keeper
    _commits: Commits
    _disputes: Disputes
    _reconciler: Reconciler
    _count: int = 0
    _is_grown: bool = False
    _differs: dict[LinkId, int] = field(factory=dict)
    _touched_ms: int = 0
    _untidied: int = 0
    """Rounds since something was first taken out of the store that it may not have given back."""
    _lines: list[LineKey] = field(factory=list)
    """Lines still to be looked at for whether their epoch has ended."""

    def round(self) -> None:
        """One round's share."""
        ctx = self._ctx
        self._count += 1
        for replica in ctx.replicas.values():
            if replica.has_ended(ctx.now.wall_ms) and self._keeper.clear_old(
                replica, ctx.now.mono_s, ctx.now.wall_ms
            ):
                replica.forget(ctx.now.wall_ms)
                self._keeper.clear_ended(replica, ctx.now.mono_s)
        self._keeper.end_past(ctx.now.wall_ms)
        self._keeper.trim(ctx.now.mono_s, self._stable_seq())
        self._grow_trees()
        self._cover()
        ctx.counters["covered-forgotten"] = self._keeper.covered_forgotten
        self._check(is_due=self._count % _CHECK_EVERY == 0)
        if self._count % _FILL_EVERY == 0:
            self._fill()
        if not ctx.by_peer:
            self._disputes.lost_touch()
        elif ctx.now.wall_ms - self._touched_ms > ctx.config.horizon_ms / _TOUCH_SHARE:
            self.store_touched()
        self._tidy()

    def go_on(self) -> None:
        """Between rounds, where there is more to trim."""
        due_s = self._keeper.next_deadline()
        if due_s is not None and due_s <= self._ctx.now.mono_s:
            self._keeper.trim(self._ctx.now.mono_s, self._stable_seq())

    def _stable_seq(self) -> int:
        """The newest moment at which everybody present had what we had; 0 where we cannot know."""
        ctx = self._ctx
        if ctx.is_sparse:
            return 0
        links = [ctx.by_peer.get(peer) for peer in ctx.members.present]
        if not links or not all(links):
            return 0
        return min(link.base_seq for link in links if link is not None)

    def store_touched(self) -> None:
        """Store when this peer was in touch with others, and so that it was ever ready."""
        ctx = self._ctx
        if self._standing.is_established and not self._disputes.is_back:
            self._touched_ms = ctx.now.wall_ms
            epoch = epoch_of(ctx.origin)
            self._commits.put_head(
                TOUCHED_HEAD, ctx.now.wall_ms.to_bytes(8, "big") + epoch.to_bytes(8, "big")
            )

    def _cover(self) -> None:
        """Lines of ended epochs that everybody present has leave the digest."""
        ctx = self._ctx
        if not self._lines:
            self._lines = [log.key for log in ctx.logs.logs()]
        stable_seq = self._stable_seq()
        for key in self._lines[-_LOOKED_AT:]:
            log = ctx.logs.find(key)
            if log is None or log.fork is not None or key[1] == ctx.origin or not log.index:
                continue
            is_over = self._disputes.is_over(key)
            if log.is_covered and not is_over:
                self._keeper.reopen(log)
            elif is_over and not log.is_covered and self._is_everywhere(log, stable_seq):
                self._keeper.cover(log)
        del self._lines[-_LOOKED_AT:]

    def _is_everywhere(self, log: Log, stable_seq: int) -> bool:
        """Has everybody present got this log to its end, or has it at least had the time to?

        Whoever is behind still learns of the line when he names it, and of its cells by their sums.
        """
        ctx = self._ctx
        if ctx.logs.lines.seq_of(log.key) <= stable_seq:
            return True
        age_s = (ctx.now.wall_ms - hlc_ms(log.hlc)) / 1000
        return age_s > max(_SETTLED * ctx.refresh_s, ctx.config.max_skew_ms / 1000)

    def _grow_trees(self) -> None:
        """Take part of what changed into the trees that stand for states: built in one go they would stop us for seconds."""
        ctx = self._ctx
        if not ctx.by_peer:
            return
        cut_ms = ctx.cut_ms()
        grown = [replica.grow_tree(cut_ms, _GROWN_AT_ONCE) for replica in ctx.replicas.values()]
        self._is_grown = all(grown)

    def _tidy(self) -> None:
        self._untidied += self._keeper.has_removed
        if self._untidied >= _TIDIED_AFTER and self._commits.tidy():
            self._keeper.has_removed, self._untidied = False, 0

    # -- states ----------------------------------------------------------------------------------------------

    def _check(self, *, is_due: bool) -> None:
        """Compare states with one member whose vector was equal to ours when last compared.

        With whom they differed they are compared again in the next round, and where one voice was not enough, another is asked.
        """
        is_undecided = self._disputes.is_undecided
        if not is_due and not self._differs and not is_undecided:
            return
        if self._commits.is_gathering or not self._is_grown or self._reconciler.is_running:
            return  # our state is ahead of our vector, or would take long to sum up, or is being repaired
        ctx, equal = self._ctx, self._equals()
        differing = [link for link in equal if link.id in self._differs]
        for link in self._drawn(equal) if is_due else differing:
            ctx.send(link, self._sum(is_answer=False, cut_ms=ctx.cut_ms()))
        if is_undecided:
            peer = self._disputes.ask_next(link.peer for link in equal)
            if peer is not None:
                self._reconciler.need(ctx.by_peer[peer], Need.REPAIR)

    def _fill(self) -> None:
        """A write that came late has put off the end of what had expired here: its value is fetched.

        Its writer is asked, who must have seen the value, and every other time anybody.
        """
        ctx = self._ctx
        hollow = {who for replica in ctx.replicas.values() for who in replica.hollow().values()}
        if not hollow or self._reconciler.is_running:
            return
        anybody = self._count // _FILL_EVERY % 2
        equal = self._equals()
        preferred = [] if anybody else [link for link in equal if link.peer in hollow]
        for link in self._drawn(preferred or equal):
            self._reconciler.need(link, Need.REPAIR)

    def _drawn(self, links: list[Link]) -> list[Link]:
        """One of them, at random; none where there is none."""
        ctx = self._ctx
        peers = ctx.rng.sample([link.peer for link in links], min(1, len(links)))
        return [ctx.by_peer[peer] for peer in peers]

    def _equals(self) -> list[Link]:
        """Links to the members whose vectors were equal to ours when last compared."""
        ctx = self._ctx
        digest = ctx.logs.lines.digest()
        whole = whole_sum(digest, self._keeper.covered_sum())
        return [link for link in ctx.by_peer.values() if link.base == digest or link.whole == whole]

    def _sum(self, *, is_answer: bool, cut_ms: int) -> StateSum:
        ctx = self._ctx
        trees = [replica.tree(ctx.now.wall_ms, cut_ms) for replica in ctx.replicas.values()]
        cut_ms = max([cut_ms, *(tree.cut_ms for tree in trees)])
        total = sum(
            replica.tree(ctx.now.wall_ms, cut_ms).lasting_sum for replica in ctx.replicas.values()
        )
        return StateSum(
            is_answer,
            cut_ms,
            ctx.logs.lines.digest(),
            self._keeper.covered_sum(),
            (total % (1 << 64)).to_bytes(8, "big"),
        )

    def _is_at_ours(self, message: StateSum) -> bool:
        """Is it about a vector like ours, be it that lines of ended epochs have left one and not the other?"""
        digest = self._ctx.logs.lines.digest()
        whole = whole_sum(digest, self._keeper.covered_sum())
        return message.lines == digest or whole_sum(message.lines, message.covered) == whole

    def on_sum(self, link: Link, message: StateSum) -> None:
        """A member's state, at its vector: if that is ours, too, the states should be equal."""
        ctx = self._ctx
        latest_ms = ctx.cut_ms() + ctx.config.max_skew_ms
        if not self._is_at_ours(message) or message.cut_ms > latest_ms:
            return
        if self._commits.is_gathering or not self._is_grown:
            return
        mine = self._sum(is_answer=True, cut_ms=message.cut_ms)
        if mine.cut_ms != message.cut_ms:
            return
        if mine.total == message.total:
            self._differs.pop(link.id, None)
            return
        self._differs[link.id] = self._differs.get(link.id, 0) + 1
        ctx.counters["states-differ"] += 1
        if not message.is_answer:
            ctx.send(link, mine)
        if self._differs[link.id] >= _MISMATCHES and not self._reconciler.is_running:
            del self._differs[link.id]
            self._reconciler.need(link, Need.REPAIR)

    def drop_link(self, link: LinkId) -> None:
        """A link has ended."""
        self._differs.pop(link, None)
        self._reconciler.drop_link(link)
        if not self._ctx.by_peer:
            self._disputes.lost_touch()

    def compared(self, link: Link, *, is_equal: bool) -> None:
        """An exchange has shown all that a member has; a peer that was away for long takes over its state first.

        Where lines were compared one by one, a line of an ended epoch may have left the member's digest since the member told
        which of these it remembers: a peer that joins asks again.
        """
        if self._disputes.is_back:
            self._disputes.lost_touch()
            self._reconciler.need(link)
            return
        self._disputes.touched()
        is_known = is_equal or self._standing.state is not State.JOINING
        is_same = is_known and link.covered == self._keeper.covered_sum()
        if is_same and not self._disputes.joined_with:
            self._standing.witnesses.add(link.peer)
        elif link.probed != link.covered:
            link.probed = link.covered
            self._reconciler.need(link, Need.PROBE)
