"""Ingest: bundles from others, through the gate and into state, log, store and clock, in that order.

Verify, then apply, then move the clock. What each refusal means for the line it concerns is decided here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.forks import Forks
from gossipsync.core._peer.lives import Lives
from gossipsync.core.model.bucket import Announcement
from gossipsync.core.model.hlc import hlc_ms
from gossipsync.core.model.ids import Origin, PeerId, peer_of
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.admission import Admission, Admitted, AdmittedPiece, Refusal
from gossipsync.core.replication.cells import Cell, cell_of
from gossipsync.core.replication.keeping import Keeper
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.pieces import pruned
from gossipsync.core.replication.replica import Replica
from gossipsync.core.wire.messages import Prune

_POSTPONE_S = 60.0
"""A line whose next bundle is ahead of the skew bound is asked for again after this long at most."""
_GIVE_UP = frozenset({Reason.CHAIN, Reason.FORK, Reason.LIMIT, Reason.RIGHTS, Reason.NO_CREDENTIAL})
"""Refusals after which this member is asked for no more of the line: it cannot give anything else."""


class Ingest:
    """Takes bundles in. `relay(link, origin, data)` passes fresh ones on; `applied(key)` notes what the store must commit.

    `forgotten(bucket, origin, cells)` is told of our own past before it is merged.
    """

    def __init__(
        self,
        ctx: Context,
        admission: Admission,
        keeper: Keeper,
        lives: Lives,
        forks: Forks,
        relay: Callable[[Link, Origin, bytes], None],
        applied: Callable[[LineKey], None],
        forgotten: Callable[[str, Origin, Iterable[tuple[str, Cell]]], None],
    ) -> None:
        self._ctx = ctx
        self._admission = admission
        self._keeper = keeper
        self._lives = lives
        self._forks = forks
        self._relay = relay
        self._applied = applied
        self._forgotten = forgotten

    def accept(self, link: Link, data: bytes, *, is_fresh: bool) -> None:
        """One bundle as received, then those that were waiting for it."""
        key = self._accept_one(link, data, is_fresh=is_fresh)
        if key is not None:
            self.go_on(key, is_fresh=is_fresh)

    def go_on(self, key: LineKey, *, is_fresh: bool = False) -> None:
        """A line has moved: take in the bundles that came before their turn; their senders answer for them."""
        while (early := self._ctx.fetcher.take_early(key)) is not None:
            self._accept_one(self._ctx.links[early[0]], early[1], is_fresh=is_fresh)

    def _accept_one(self, link: Link, data: bytes, *, is_fresh: bool) -> LineKey | None:
        ctx = self._ctx
        outcome = self._admission.admit(data, ctx.now.wall_ms)
        if not isinstance(outcome, Admitted):
            self._refused(link, data, outcome, is_fresh=is_fresh)
            return None
        key = self.apply(outcome, link.peer)
        if link.target and key in link.target:
            link.gave_s = ctx.now.mono_s
        if is_fresh:
            header = outcome.bundle.header
            ctx.lags_s.append(abs(ctx.now.wall_ms - hlc_ms(header.log_hlc)) / 1000)
            self._relay(link, header.origin, outcome.data)
        return key

    def apply(self, admitted: Admitted, sender: PeerId, *, is_stored: bool = False) -> LineKey:
        """Merge a verified bundle, keep it, and move its line and our clock."""
        ctx, header = self._ctx, admitted.bundle.header
        key = (header.bucket, header.origin)
        replica = self.replica_for(header.bucket, header.announcement)
        if not is_stored and ctx.is_past(header.origin):
            cells = (
                (entry.key, cell_of(entry, header.origin, header.index))
                for entry in admitted.entries
            )
            self._forgotten(header.bucket, header.origin, cells)
        replica.apply(admitted.entries, header.origin, header.index)
        if ctx.logs.find(key) is None:
            ctx.name_line(key)
        if is_stored:
            ctx.logs.append(admitted.bundle, admitted.entries, sender)
        else:
            self._keeper.append(admitted, sender)
            self._applied(key)
        ctx.clock.fold(header.log_hlc)
        self.moved(key, header.index)
        return key

    def join(self, admitted: AdmittedPiece, wanted: Callable[[str, Cell], bool]) -> int:
        """Merge those cells of a verified piece that are wanted; how many made a difference. Moves no line."""
        ctx, header = self._ctx, admitted.header
        replica = self.replica_for(header.bucket, header.announcement)
        key = (header.bucket, header.origin)
        if ctx.logs.find(key) is None:
            ctx.name_line(key)
        if ctx.epochs and ctx.is_past(header.origin):
            self._forgotten(header.bucket, header.origin, admitted.cells)
        joined = [
            name for name, cell in admitted.cells if wanted(name, cell) and replica.join(name, cell)
        ]
        ctx.clock.fold(header.log_hlc)
        if joined:
            ctx.moved(header.bucket)
            if ctx.is_past(header.origin):
                self._lives.came_back(key, header.index)
        return len(joined)

    def take_part(self, part: AdmittedPiece, wanted: Callable[[str, Cell], bool]) -> int:
        """Merge a verified piece by itself, as `join` does, and keep what is left of it."""
        count = self.join(part, wanted)
        if count:
            header = part.header
            self._forks.came(header)
            holds = self._ctx.replicas[header.bucket].holds
            left = pruned(part.piece, header.origin, header.index, holds)
            if left is not None:
                self._keeper.put(header, left, part.place)
        return count

    def moved(self, key: LineKey, index: int) -> None:
        """A line has moved: what waited for that goes on."""
        ctx = self._ctx
        if ctx.is_past(key[1]):
            self._lives.came_back(key, index)
        for link_id in ctx.fetcher.moved(key):
            link = ctx.links.get(link_id)
            if link is not None and link.goals.get(key, index + 1) <= index:
                del link.goals[key]
        ctx.moved(key[0])

    def replica_for(self, bucket: str, announced: Announcement) -> Replica:
        """The bucket's replica, under the announcement that holds."""
        ctx = self._ctx
        replica = ctx.replicas.get(bucket)
        if replica is None:
            replica = ctx.new_replica(bucket, announced)
        was_announced = replica.is_announced
        ctx.announced(replica, announced)
        if not was_announced:  # proofs of forks may have come before the bucket
            for announcement in self._forks.announcements(bucket):
                ctx.announced(replica, announcement)
        return replica

    # -- refusals --------------------------------------------------------------------------------------------

    def _refused(self, link: Link, data: bytes, refusal: Refusal, *, is_fresh: bool) -> None:
        ctx, header = self._ctx, refusal.header
        if header is None:
            ctx.refuse(link, refusal.reason, refusal.detail)
            return
        key = (header.bucket, header.origin)
        reason = refusal.reason
        if reason is Reason.GAP:
            ctx.fetcher.note(link.id, key, header.index)
            if ctx.fetcher.keep_early(link.id, key, header.index, data):
                return
        elif reason is Reason.HELD:
            if is_fresh:
                self._prune(link, header.origin, header.bucket, header.index)
        elif reason is Reason.SKEW:
            ctx.fetcher.note(link.id, key, header.index)
            wait_s = (hlc_ms(header.log_hlc) - ctx.now.wall_ms - ctx.config.max_skew_ms) / 1000
            wait_s = min(_POSTPONE_S, max(0.1, wait_s))
            ctx.fetcher.postpone(key, ctx.now.mono_s + wait_s)
            link.waive(key)  # a clock that is ahead must not keep us from being in sync
        elif reason in _GIVE_UP:
            ctx.fetcher.give_up(link.id, key)
            link.waive(key)
            log = ctx.logs.find(key)
            if refusal.proof is not None:
                self._forks.take(link, refusal.proof)
            elif reason is Reason.CHAIN and log is not None and header.previous != log.head:
                # It follows another bundle than our last: the header of that one, if its sender shows it, proves a fork.
                self._forks.contest(link, [(*key, log.index)])
        ctx.refuse(link, reason, refusal.detail)

    def _prune(self, link: Link, origin: Origin, bucket: str, index: int) -> None:
        """It came twice: keep the shorter way, its origin's own link where there is one."""
        ctx = self._ctx
        extra: Link | None = link
        if link.peer == peer_of(origin):
            extra = ctx.by_peer.get(ctx.sender_of(bucket, origin, index))
        is_news = extra is not None and origin not in extra.pruned
        if extra is not None and is_news and extra.peer != peer_of(origin):
            extra.pruned.add(origin)
            ctx.send(extra, Prune((origin,)))
