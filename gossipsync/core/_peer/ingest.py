"""Ingest: bundles from others, through the gate and into state, log, store and clock, in that order.

Verify, then apply, then move the clock. What each refusal means for the line it concerns is decided here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable

from gossipsync.core._peer.context import Context, Link
from gossipsync.core.model.bucket import Announcement
from gossipsync.core.model.bundle import Bundle
from gossipsync.core.model.events import BucketMismatched, Forked
from gossipsync.core.model.hlc import hlc_ms
from gossipsync.core.model.ids import Origin, PeerId, epoch_of, peer_of
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.admission import Admission, Admitted, Refusal
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.replica import Replica
from gossipsync.core.wire.messages import Prune

_POSTPONE_S = 60.0
"""A line whose next bundle is ahead of the skew bound is asked for again after this long at most."""
_GIVE_UP = frozenset({Reason.CHAIN, Reason.FORK, Reason.LIMIT, Reason.RIGHTS, Reason.NO_CREDENTIAL})
"""Refusals after which this member is asked for no more of the line: it cannot give anything else."""


def unsound(place: str, what: str, refusal: Refusal) -> str:
    """What to say of a bundle in our own store that the gate refuses."""
    return (
        f"{place}: {what} is not valid ({refusal.reason}: {refusal.detail}). It was left as it is: move it aside and start "
        "again; the mesh gives back all that any peer still holds"
    )


class Ingest:
    """Takes bundles in. `relay(link, origin, data)` passes fresh ones on; `applied(key)` notes what the store must commit."""

    def __init__(
        self,
        ctx: Context,
        admission: Admission,
        relay: Callable[[Link, Origin, bytes], None],
        applied: Callable[[LineKey], None],
    ) -> None:
        self._ctx = ctx
        self._admission = admission
        self._relay = relay
        self._applied = applied

    def accept(self, link: Link, data: bytes, *, is_fresh: bool) -> None:
        """One bundle as received, then those that were waiting for it."""
        outcome = self._admission.admit(data, self._ctx.now.wall_ms)
        while isinstance(outcome, Admitted):
            key = self.apply(outcome, link.peer)
            if is_fresh:
                self._ctx.lags_s.append(
                    abs(self._ctx.now.wall_ms - hlc_ms(outcome.bundle.header.log_hlc)) / 1000
                )
                self._relay(link, outcome.bundle.header.origin, outcome.data)
            early = self._ctx.fetcher.take_early(key)
            if early is None:
                return
            link, data = self._ctx.links[early[0]], early[1]  # its sender answers for it
            outcome = self._admission.admit(data, self._ctx.now.wall_ms)
        self._refused(link, data, outcome, is_fresh=is_fresh)

    def apply(self, admitted: Admitted, sender: PeerId, *, is_stored: bool = False) -> LineKey:
        """Merge a verified bundle, keep it, and move its line and our clock."""
        ctx, bundle = self._ctx, admitted.bundle
        header = bundle.header
        key = (header.bucket, header.origin)
        replica = self.replica_for(header.bucket, header.announcement)
        replica.apply(admitted.entries, header.origin, header.index)
        if ctx.logs.find(key) is None:
            ctx.name_line(key)
        ctx.logs.append(bundle, sender)
        ctx.clock.fold(header.log_hlc)
        if not is_stored:
            ctx.store.append(header.bucket, header.origin, header.index, admitted.data)
            self._applied(key)
        self._moved(key, header.index)
        return key

    def _moved(self, key: LineKey, index: int) -> None:
        ctx = self._ctx
        ctx.fetcher.moved(key)
        for link in ctx.links.values():
            if link.goals and link.goals.get(key, index + 1) <= index:
                del link.goals[key]
        ctx.moved(key[0])

    def replica_for(self, bucket: str, announced: Announcement) -> Replica:
        """The bucket's replica, under the announcement that holds."""
        ctx = self._ctx
        replica = ctx.replicas.get(bucket)
        if replica is None:
            replica = ctx.new_replica(bucket, announced)
        current = replica.announcement
        is_settled = replica.is_announced or replica.is_explicit
        if announced.rules != current.rules and is_settled and bucket not in ctx.mismatched:
            ctx.mismatched.add(bucket)
            ctx.emit(BucketMismatched(bucket))
        if not replica.is_announced or announced.precedes(current):
            replica.adopt(announced)
        replica.is_announced = True
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
            ctx.fetcher.postpone(key, ctx.now.mono_s + min(_POSTPONE_S, max(0.1, wait_s)))
            link.goals.pop(
                key, None
            )  # whoever stamps ahead of time must not keep us from being in sync
        elif reason in _GIVE_UP:
            ctx.fetcher.give_up(link.id, key)
            link.goals.pop(key, None)
            log = ctx.logs.find(key)
            if reason is Reason.FORK:
                self._fork(Bundle(header, b"", ()), key)
            elif reason is Reason.CHAIN and log is not None and header.previous != log.head:
                # It follows another bundle than our last: that one, which its sender must have, is the proof of a fork.
                ctx.fetcher.ask_again(link.id, key, log.index)
        ctx.refuse(link, reason, refusal.detail)

    def _fork(self, other: Bundle, key: LineKey) -> None:
        """Its origin signed two bundles with one number: keep both headers as proof and take no more of the line."""
        log = self._ctx.logs.find(key)
        header = other.header
        if log is None or log.forked is not None:
            return
        index = min(header.index, log.index)
        log.forked = (log.bundles[index - 1][0], header.data)
        self._ctx.emit(Forked(peer_of(key[1]), epoch_of(key[1]), key[0], header.index))

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
