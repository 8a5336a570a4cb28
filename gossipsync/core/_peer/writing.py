"""Writing: opening buckets and turning drafts into entries, applied here at once.

A local write waits for nobody: it gets its stamp, changes the state, and goes to the sealer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field, frozen

from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.context import Context
from gossipsync.core.model.bucket import Announcement, BucketRules, Deletes, Kind, check_bucket_name
from gossipsync.core.model.capability import Capability
from gossipsync.core.model.entry import Entry
from gossipsync.core.model.events import EpochOpened
from gossipsync.core.model.hlc import Hlc, hlc_at
from gossipsync.core.model.ids import Epoch, Origin, epoch_of, new_epoch, origin_of
from gossipsync.core.replication.cells import Slot
from gossipsync.core.replication.draft import NOTHING, After, Draft
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.overlay import Overlay
from gossipsync.core.replication.replica import Replica
from gossipsync.core.replication.sealing import Sealer
from gossipsync.errors import (
    BucketKindError,
    ConfigError,
    NotPermittedError,
    OverloadedError,
    TokenError,
    ValueTooLargeError,
)

Said = tuple[str, Slot, Entry]
"""(key, slot, entry): what was written to a cell."""

_HEADER_ROOM = 2048
"""Bytes of a bundle kept free for header, signature and heads."""


@frozen
class Written:
    """Where a write went: bundle `index` of this origin's log in the bucket, at `hlc`."""

    bucket: str
    origin: Origin
    index: int
    hlc: Hlc


@define(eq=False)
class Writing:
    """The application's way in. `wrote(bucket, entries, stamp)` is told what was applied, `set_back()` that our stamps are ahead."""

    _ctx: Context
    _sealer: Sealer
    _commits: Commits
    _wrote: Callable[[str, list[Entry], Hlc], None]
    _set_back: Callable[[], None]
    _last: dict[LineKey, Written] = field(factory=dict)
    _permitted: dict[str, Capability] = field(factory=dict)
    """Which certificate was found to permit writing a bucket: matching patterns at every write costs a tenth of it."""

    def open_bucket(
        self,
        name: str,
        *,
        kind: Kind | None,
        deletes: Deletes | None,
        ttl_ms: int | None,
        history_ms: int | None,
    ) -> Replica:
        """See Peer.open_bucket()."""
        ctx = self._ctx
        try:
            check_bucket_name(name)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        replica = ctx.replicas.get(name)
        base = BucketRules() if replica is None else replica.rules
        rules = BucketRules(
            base.kind if kind is None else kind,
            base.deletes if deletes is None else deletes,
            base.ttl_ms if ttl_ms is None else ttl_ms,
            base.history_ms if history_ms is None else history_ms,
        )
        is_explicit = any(part is not None for part in (kind, deletes, ttl_ms, history_ms))
        if replica is not None and (replica.is_announced or replica.is_explicit):
            _check_agrees(replica, rules)
            return replica
        if rules.deletes is Deletes.FINAL and rules.ttl_ms is None:
            raise ConfigError(
                f'bucket {name!r}: deletes="final" needs a ttl, which caps how long anything lives'
            )
        if replica is None:
            replica = self._new_replica(name, rules)
        elif is_explicit:
            replica.adopt(Announcement(rules, ctx.clock.tick(ctx.now.wall_ms)))
        replica.is_explicit = is_explicit
        return replica

    def _new_replica(self, name: str, rules: BucketRules) -> Replica:
        ctx = self._ctx
        if len(ctx.replicas) >= ctx.config.limits.buckets:
            raise ConfigError(
                f"there are {len(ctx.replicas)} buckets, and that is the limit: put more into each"
            )
        announcement = Announcement(rules, ctx.clock.tick(ctx.now.wall_ms))
        return ctx.new_replica(name, announcement)

    def draft(self, bucket: str, after: After = NOTHING) -> Draft:
        """See Peer.draft()."""
        ctx = self._ctx
        overlay = Overlay(
            ctx.replicas[bucket],
            origin=ctx.origin,
            wall_ms=ctx.now.wall_ms,
            next_stamp=Hlc(max(ctx.clock.last + 1, after.hlc + 1, hlc_at(ctx.now.wall_ms))),
            horizon_ms=ctx.config.horizon_ms,
        )
        return Draft(overlay, ctx.config.limits, after)

    def commit(self, draft: Draft) -> Written:
        """See Peer.commit_draft()."""
        ctx = self._ctx
        bucket = draft.replica.name
        self._check_may_write(bucket)
        if draft.after is not NOTHING:
            self._check_after(draft.after)
        if ctx.is_ahead():
            self._set_back()
        if draft.origin != ctx.origin or not draft.is_current:
            draft = draft.redone(self.draft(bucket, draft.after))
        if draft.is_empty:
            return Written(bucket, ctx.origin, ctx.logs.index((bucket, ctx.origin)), ctx.clock.last)
        if draft.after is not NOTHING:
            ctx.clock.fold(draft.after.hlc)
        return self._apply(draft)

    def write_again(self, bucket: str, said: Iterable[Said]) -> None:
        """Say once more, with one stamp of now, what was written to some cells before. Always possible: it is here already."""
        draft = self.draft(bucket)
        for key, slot, entry in said:
            draft.rewrite(key, slot, entry)
        if not draft.is_empty:
            self._apply(draft)

    def _apply(self, draft: Draft) -> Written:
        ctx, bucket = self._ctx, draft.replica.name
        stamp = ctx.clock.tick(ctx.now.wall_ms)
        entries = draft.entries(stamp)
        size = sum(len(entry.data) + 5 for entry in entries)
        limits = ctx.config.limits
        if len(entries) > limits.batch_entries or size > limits.bundle_bytes - _HEADER_ROOM:
            raise ValueTooLargeError(
                f"one batch may hold {limits.batch_entries:,} entries and {limits.bundle_bytes - _HEADER_ROOM:,} bytes, "
                f"this one has {len(entries):,} and {size:,}: write it in several"
            )
        index = self._sealer.add(bucket, ctx.origin, entries, stamp, ctx.now.mono_s)
        draft.replica.apply(entries, ctx.origin, index)
        key = (bucket, ctx.origin)
        if key not in self._last:
            ctx.name_line(key)  # a token of this write is satisfied here before it is sealed
        written = self._last[key] = Written(bucket, ctx.origin, index, stamp)
        self._commits.wrote(size)
        self._wrote(bucket, entries, stamp)
        ctx.moved(bucket)
        return written

    def _check_after(self, after: After) -> None:
        """A token was good when the draft began; our clock may have been set back since."""
        ctx = self._ctx
        if after.hlc + 1 >= hlc_at(ctx.bound_ms(ctx.now)):
            raise TokenError(
                "the token that this batch comes after is further ahead than max_skew: check the clocks of both machines"
            )

    def _check_may_write(self, bucket: str) -> None:
        ctx = self._ctx
        capability = ctx.rights_of(ctx.peer_id)
        if capability is not None and self._permitted.get(bucket) is not capability:
            if not (capability.may_write and capability.allows(bucket)):
                raise NotPermittedError(
                    f"this peer's certificate does not let it write bucket {bucket!r}: "
                    "ask the issuer for an invite that does"
                )
            self._permitted[bucket] = capability
        if not self.is_writable():
            waiting = (
                f"{self._commits.outrun_bytes:,} bytes of writes wait for any member to store them"
                if self._commits.is_outrun
                else f"{self._commits.pending_bytes:,} bytes of writes wait for the store"
            )
            raise OverloadedError(f"{waiting}: write more slowly, and see status")

    def is_writable(self) -> bool:
        """Is there room for more writes?"""
        commits = self._commits
        return (
            commits.pending_bytes <= self._ctx.config.limits.pending_bytes and not commits.is_outrun
        )

    def unsealed(self) -> dict[LineKey, Written]:
        """Our last write in each bucket, sealed or not."""
        return self._last

    def open_epoch(self) -> None:
        """Nobody would accept what we write in this one: our clock was set back, or others hold another history of it.

        Go on in a new epoch, after what others would accept.
        """
        ctx = self._ctx
        self._commits.seal(everything=True)
        epoch = max(
            new_epoch(ctx.now.wall_ms, ctx.rng.getrandbits(15)), Epoch(epoch_of(ctx.origin) + 1)
        )
        ctx.origin = origin_of(ctx.peer_id, epoch)
        ctx.epochs.add(epoch)
        ctx.clock.reset(ctx.now.wall_ms)
        self.fold_known()
        self._commits.epoch_closed()
        ctx.emit(EpochOpened(epoch))

    def fold_known(self) -> None:
        """What we write comes after all that we hold, but for what is ahead.

        A log that ends ahead may begin below: what is taken back and written again has to beat what it had beaten there.
        """
        ctx = self._ctx
        bound = hlc_at(ctx.bound_ms(ctx.now))
        for log in ctx.logs.logs():
            if log.hlc < bound:
                ctx.clock.fold(log.hlc)
            elif last := log.last_before(bound):
                ctx.clock.fold(log.hlc_at(last))


def _check_agrees(replica: Replica, asked: BucketRules) -> None:
    for part in ("kind", "deletes", "ttl_ms", "history_ms"):
        current, wanted = getattr(replica.rules, part), getattr(asked, part)
        if current != wanted:
            raise BucketKindError(
                f"bucket {replica.name!r} was announced with {part}={_shown(current)}, not {_shown(wanted)}: "
                "leave the argument out, or use another bucket"
            )


def _shown(part: object) -> str:
    return part.name.lower() if isinstance(part, (Kind, Deletes)) else str(part)
