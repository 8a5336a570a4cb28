"""Commits: own writes sealed, made durable, sent and acknowledged; and what others' stores confirm.

Order: seal → store → commit → send. A bundle of ours leaves this peer only after its commit, so nobody ever holds what a crash
here could make us write differently again. One commit is under way at a time; what comes meanwhile goes with the next.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from attrs import define, field

from gossipsync.core._peer.backlog import Backlog
from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.rewriting import Rewriting
from gossipsync.core.model.effects import Commit
from gossipsync.core.model.events import StoreFailed, StoreRecovered
from gossipsync.core.model.ids import LinkId, Origin, PeerId, origin_of, peer_of
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.keeping import Keeper
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.sealing import Sealer
from gossipsync.core.wire.messages import Prune, Push, Stored, encode_message

_RETRY_S = 1.0
"""How long after a failed commit the next is tried."""
_PUSH_BYTES = 512 << 10
"""Bundles in one push message, in bytes: half a frame."""


@define
class _UnderWay:
    ticket: int
    own: list[tuple[Origin, bytes]]
    lines: dict[LineKey, int]
    pending_bytes: int
    is_partial: bool
    """Whether the store has only a part of our state after it: then it confirms nothing."""


@define(eq=False)
class Commits:
    """Durability of one peer's state, and its fresh bundles on their way out."""

    _ctx: Context
    _sealer: Sealer
    _keeper: Keeper
    _stored: dict[LineKey, int]
    """How far our own store has each line."""
    rewriting: Rewriting
    backlog: Backlog = field(init=False)
    failure: str | None = None
    """Why the last commit was not carried out; None where it was."""
    pending_bytes: int = 0
    """Own writes not yet committed."""
    _unsealed_bytes: int = 0
    """Of them, those not yet in a bundle, and so not yet in the backlog."""
    _own: list[tuple[Origin, bytes]] = field(factory=list)
    _dirty: dict[LineKey, int] = field(factory=dict)
    _has_heads: bool = False
    _is_tidying: bool = False
    """Is the store to be called though nothing is to be written?"""
    _under_way: _UnderWay | None = None
    _retry_s: float | None = None
    _ticket: int = 0
    _acks: dict[PeerId, dict[str, int]] = field(factory=dict)
    _pushes: dict[LinkId, list[tuple[Origin, bytes]]] = field(factory=dict)
    _push_bytes: dict[LinkId, int] = field(factory=dict)
    """Size of `_pushes`, by link: one drain may seal more than a link's queue has room for."""

    @backlog.default
    def _nothing_waits(self) -> Backlog:
        return Backlog(self._ctx)

    # -- towards the store -----------------------------------------------------------------------------------

    def wrote(self, size_bytes: int) -> None:
        """Own writes went to the sealer."""
        self.pending_bytes += size_bytes
        self._unsealed_bytes += size_bytes

    @property
    def outrun_bytes(self) -> int:
        """By how much our writes, sealed or not, are ahead of our neighbours."""
        return self.backlog.size_bytes + self._unsealed_bytes

    @property
    def is_outrun(self) -> bool:
        """Are our writes, sealed or not, too far ahead of what our neighbours have stored?"""
        return self.backlog.is_full_with(self._unsealed_bytes)

    def applied(self, key: LineKey) -> None:
        """A bundle went to the store's buffer."""
        self._dirty[key] = self._ctx.logs.index(key)

    def put_head(self, name: str, value: bytes | None) -> None:
        """Have a small named value stored with the next commit."""
        self._ctx.store.put_head(name, value)
        self.rewriting.note_head(name, value)
        self._has_heads = True

    def tidy(self) -> bool:
        """Give the store a quiet moment; False where there is none now."""
        self._is_tidying = self.is_idle and not self._has_heads and self.failure is None
        return self._is_tidying

    def loaded(self, key: LineKey) -> None:
        """A log came from the store."""
        self._stored[key] = self._ctx.logs.index(key)

    def seal(self, *, everything: bool = False) -> None:
        """Sign what is due and hand it to the store."""
        if self._sealer.is_empty():
            return
        ctx = self._ctx
        now_s, idle = ctx.now.mono_s, self._under_way is None
        while buckets := self._sealer.buckets_due(now_s, idle=idle, everything=everything):
            for bucket in buckets:
                replica = ctx.replicas[bucket]
                sealed = self._sealer.seal(bucket, ctx.origin, replica.announcement, now_s)
                replica.is_announced = True
                key = (bucket, ctx.origin)
                if ctx.logs.find(key) is None:
                    ctx.name_line(key)
                self._keeper.append(sealed, ctx.peer_id)
                self._own.append((ctx.origin, sealed.data))
                size = len(sealed.data)
                self._unsealed_bytes -= size  # a little more than its entries: zero below
                self.backlog.sealed(bucket, sealed.bundle.header.index, size)
                self.applied(key)
        if self._sealer.is_empty() or self._unsealed_bytes < 0:
            self._unsealed_bytes = 0

    def commit(self) -> Commit | None:
        """The next commit to carry out, if anything waits and none is under way."""
        if self._under_way is not None:
            return None
        if not (self._dirty or self._has_heads or self._keeper.has_changes or self._is_tidying):
            return None
        if self._retry_s is not None and self._ctx.now.mono_s < self._retry_s:
            return None
        self._ticket += 1
        self._retry_s = None
        self.rewriting.put_part()
        pending = (
            self.pending_bytes
            if self._sealer.is_empty()
            else sum(len(data) for _, data in self._own)
        )
        self._under_way = _UnderWay(
            self._ticket, self._own, self._dirty, pending, self.rewriting.is_under_way
        )
        self._own, self._dirty, self._has_heads, self._is_tidying = [], {}, False, False
        self._keeper.has_changes = False
        return Commit(self._ticket)

    def committed(self, ticket: int) -> None:
        """The store has it: send what is ours, and tell origins that theirs is stored."""
        done = self._under_way
        if done is None or done.ticket != ticket:
            return
        self._under_way = None
        if done.is_partial:
            self._keep(done)
            return
        if self.failure is not None:
            self.failure = None
            self._ctx.emit(StoreRecovered())
        self.pending_bytes = max(0, self.pending_bytes - done.pending_bytes)
        if self._sealer.is_empty() and not self._own:
            self.pending_bytes = 0
        self._stored.update(done.lines)
        for origin, data in done.own:
            self._push_to(self._ctx.links.values(), origin, data)
        self._tell_stored(done.lines)

    def failed(self, ticket: int, detail: str, *, is_behind: bool = False) -> bool:
        """The store could not: keep everything and try again soon. False where the answer is to no commit under way.

        A store that is behind is written anew at once, whole: all that it confirmed before may be missing there.
        """
        done = self._under_way
        if done is None or done.ticket != ticket:
            return False
        self._under_way, self._retry_s = None, self._ctx.now.mono_s + _RETRY_S
        self._keep(done)
        if is_behind:
            self._ctx.counters["store-rewrites"] += 1
            self.rewrite()
            if self.failure is None:
                self._retry_s = None  # the first time at once
        if self.failure is None:
            self._ctx.emit(StoreFailed(detail))
        self.failure = detail
        return True

    def _keep(self, done: _UnderWay) -> None:
        """What a commit was to confirm waits for the next."""
        self._own = done.own + self._own
        self._dirty = {**done.lines, **self._dirty}
        self._has_heads = True

    def rewrite(self) -> None:
        """Put the whole state into the store again, beginning with the next commit."""
        self.rewriting.begin()
        self._has_heads = True

    def withhold(self, origins: set[Origin]) -> None:
        """Send nothing more of epochs of ours that were taken back."""
        for own in (self._own, [] if self._under_way is None else self._under_way.own):
            own[:] = [pair for pair in own if pair[0] not in origins]

    def next_deadline(self) -> float | None:
        """When to seal, or to try the store again."""
        if self._retry_s is None and self._sealer.is_empty():
            return None  # the common case, asked after every message
        due_s = self._sealer.due_s(idle=self._under_way is None)
        return min(
            (moment for moment in (due_s, self._retry_s) if moment is not None), default=None
        )

    @property
    def is_gathering(self) -> bool:
        """Do writes wait to be sealed?"""
        return not self._sealer.is_empty()

    @property
    def is_idle(self) -> bool:
        """Is everything sealed, committed and handed out?"""
        return (
            self._under_way is None
            and self._sealer.is_empty()
            and not self._own
            and not self._dirty
            and not self._keeper.has_changes
            and not self.rewriting.is_under_way
        )

    # -- acknowledgements ------------------------------------------------------------------------------------

    def stored(self, key: LineKey) -> int:
        """The last bundle of a log that our own store holds."""
        return self._stored.get(key, 0)

    def acked_by(self, bucket: str, index: int) -> list[PeerId]:
        """Members that have stored our current epoch's log up to a number."""
        return [peer for peer, buckets in self._acks.items() if buckets.get(bucket, 0) >= index]

    def confirming(self) -> Collection[PeerId]:
        """Members that have confirmed anything of our current epoch."""
        return self._acks.keys()

    def acked_to(self, bucket: str, peers: Iterable[PeerId]) -> int:
        """The last bundle of our current epoch's log that any of these members has stored."""
        return max((self._acks[peer].get(bucket, 0) for peer in peers), default=0)

    def acked_index(self, peer: PeerId) -> int | None:
        """Bundles of our current epoch that a member has not confirmed; None where it has confirmed nothing."""
        acks = self._acks.get(peer)
        if acks is None:
            return None
        return sum(
            self._ctx.logs.index((bucket, self._ctx.origin)) - index
            for bucket, index in acks.items()
        )

    def on_stored(self, link: Link, message: Stored) -> None:
        """A member says on its own link what it has stored of ours."""
        for bucket, origin, index in message.lines:
            if origin == self._ctx.origin and index <= self._ctx.logs.index(
                (bucket, self._ctx.origin)
            ):
                acks = self._acks.setdefault(link.peer, {})
                acks[bucket] = max(index, acks.get(bucket, 0))
                self.backlog.confirmed(bucket, index)

    def epoch_closed(self) -> None:
        """Acks are for the current epoch only."""
        self._acks.clear()
        self.backlog.clear()

    def greet(self, link: Link) -> None:
        """Tell a new link what we have stored of its own."""
        origin = origin_of(link.peer, link.epoch)
        lines = {(bucket, origin): self.stored((bucket, origin)) for bucket in self._ctx.replicas}
        self._tell_stored({key: index for key, index in lines.items() if index})

    def _tell_stored(self, lines: dict[LineKey, int]) -> None:
        told: dict[PeerId, list[tuple[str, bytes, int]]] = {}
        for (bucket, origin), index in lines.items():
            told.setdefault(peer_of(origin), []).append((bucket, origin, index))
        for peer, stored in told.items():
            link = self._ctx.by_peer.get(peer)
            if link is not None:
                self._ctx.send(link, Stored(tuple(stored)))

    # -- pushing ---------------------------------------------------------------------------------------------

    def relay(self, source: Link, origin: Origin, data: bytes) -> None:
        """Pass on a fresh bundle of another's, to those not known to get it elsewhere."""
        is_sparse = self._ctx.is_sparse
        targets = [
            link
            for link in self._ctx.links.values()
            if link is not source
            and link.peer != peer_of(origin)
            and (origin in link.eager or (is_sparse and origin not in link.lazy))
        ]
        self._push_to(targets, origin, data)

    def on_prune(self, link: Link, message: Prune) -> None:
        """A member gets these origins' bundles elsewhere."""
        origins = set(map(Origin, message.origins))
        if len(link.lazy) + len(origins) > self._ctx.config.limits.lines_per_link:
            self._ctx.refuse(link, Reason.LIMIT, "prunes more origins than are kept for one link")
            return
        link.lazy |= origins
        link.eager -= origins

    def _push_to(self, links: Iterable[Link], origin: Origin, data: bytes) -> None:
        ctx, limits = self._ctx, self._ctx.config.limits
        if not ctx.config.push:
            return
        for link in links:
            if origin in link.lazy or link.is_closing:
                continue
            waiting_bytes = self._push_bytes.get(link.id, 0)
            room = limits.link_queue_bytes * link.giving.size_bytes // limits.delta_bytes
            if link.queued_bytes + waiting_bytes > room:
                ctx.counters["push-skipped"] += 1  # it will ask in its next exchange
                since_s = link.waits_since_s
                if since_s is not None and ctx.now.mono_s - since_s > limits.delta_s:
                    link.giving.cut(since_s, ctx.now.mono_s)
                continue
            self._pushes.setdefault(link.id, []).append((origin, data))
            self._push_bytes[link.id] = waiting_bytes + len(data)

    def flush(self) -> None:
        """Send what is fresh, many bundles a message; one encoding serves all links that get the same."""
        if not self._pushes:
            return
        ctx = self._ctx
        if ctx.claims is None and not any(link.was_compared for link in ctx.links.values()):
            return  # first it must be known which past of ours members have without knowing these writes
        encoded: dict[tuple[int, ...], bytes] = {}
        pushes, self._pushes = self._pushes, {}
        self._push_bytes.clear()
        for link_id, bundles in pushes.items():
            link = ctx.links.get(link_id)
            if link is None:
                continue
            ctx.tell_credentials(link, {peer_of(origin) for origin, _ in bundles})
            for part in _parts([data for _, data in bundles]):
                name = tuple(map(id, part))
                if name not in encoded:
                    encoded[name] = encode_message(Push(tuple(part)))
                ctx.send_payload(link, encoded[name], Push)


def _parts(datas: list[bytes]) -> list[list[bytes]]:
    """Cut into runs that fit one push message."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for data in datas:
        if parts[-1] and size + len(data) > _PUSH_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(data)
        size += len(data)
    return parts
