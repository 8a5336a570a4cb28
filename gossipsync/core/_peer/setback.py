"""Setback: our clock was set back, and what it had stamped ahead of everybody's is taken back and written again.

Members do not take what is stamped beyond `max_skew`; they wait until its time has come. Left alone, such writes of ours would
beat all that is written to their keys meanwhile, by us and by others, once it has come. So each is taken out of state, log and
store, and written again with a stamp of now, in the order in which it was written, in one commit. Its lines go back to the last
bundle that others could take, as if our store were an older copy. Totals of counters stay: they compete with nothing, and to
add them again would count them twice if a member whose clock was wrong as well had taken them.

It may be now that our clock is wrong, and was right before. Then members hold what only seems ahead, and our stamps go on above
it. So we decide once a member has told us its time; at once where there are none.

Invariant: what we wrote last is what we show, and nothing that we wrote is lost.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

from attrs import define

from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.context import Context
from gossipsync.core._peer.early import Early
from gossipsync.core._peer.lives import Lives
from gossipsync.core._peer.writing import Said, Writing
from gossipsync.core.model.bucket import Kind
from gossipsync.core.model.entry import Entry, Op, decode_entries
from gossipsync.core.model.hlc import ZERO, hlc_at, hlc_ms
from gossipsync.core.model.ids import epoch_of, peer_of
from gossipsync.core.replication import views
from gossipsync.core.replication.cells import DATA, SHADOW_SIZE, SIZE, SLOT, STAMP, TOUCH, Cell
from gossipsync.core.replication.keeping import Keeper
from gossipsync.core.replication.logs import Log
from gossipsync.core.replication.pieces import cells_in_piece

SHOWN_S: Final = 600.0
"""How long after writes were taken back we say so."""

WITHDRAWN_HEAD: Final = "withdrawn"
"""Epochs of ours of which something was taken back, 8 bytes each: members may give that back after any number of restarts."""
_REMEMBERED: Final = 64
"""Epochs in that head."""

_Held = tuple[str, Cell]


@define(eq=False)
class Setback:
    """What one run does about stamps of its own that are ahead."""

    _ctx: Context
    _keeper: Keeper
    _commits: Commits
    _lives: Lives
    _early: Early
    _writing: Writing
    _is_waiting: bool = False
    """Do we hold stamps of our own of which we do not know yet whether they are ahead?"""
    _done_s: float | None = None

    def start(self) -> None:
        """Look at what was loaded."""
        self._wait(is_needed=bool(self._ahead()))

    def _wait(self, *, is_needed: bool) -> None:
        self._is_waiting = self._keeper.keeps_ours = is_needed

    @property
    def is_shown(self) -> bool:
        """Does something wait, or was something taken back lately?"""
        done_s = self._done_s
        return self._is_waiting or (done_s is not None and self._ctx.now.mono_s - done_s <= SHOWN_S)

    def round(self) -> None:
        """Decide what had to wait for a member's word, or what nobody has written since the clock was set."""
        self._ctx.mesh_ms(self._ctx.now)  # remembered, for when the links have gone
        if self._is_waiting or (self._ctx.is_ahead() and self._ahead()):
            self._decide()

    def noticed(self) -> None:
        """Nobody would take what we stamp: go on in a new epoch, whatever becomes of the old one."""
        self._writing.open_epoch()
        self._decide()

    def _decide(self) -> None:
        ctx = self._ctx
        logs = self._ahead()
        self._wait(is_needed=bool(logs) and not self._can_know())
        if self._is_waiting:
            return
        if ctx.is_ahead() or any(log.origin == ctx.origin for log in logs):
            self._writing.open_epoch()
        self._writing.fold_known()
        for bucket in sorted({log.bucket for log in logs}):
            self._take_back([log for log in logs if log.bucket == bucket])
        self._early.look_again()

    def _can_know(self) -> bool:
        """Has a member told us its time, or is there nobody who could?"""
        ctx = self._ctx
        is_alone = not (ctx.config.seeds or len(ctx.members) or ctx.members.lost or ctx.directory)
        return is_alone or ctx.mesh_ms(ctx.now) is not None

    def _ahead(self) -> list[Log]:
        """Our logs that end beyond what members take."""
        ctx = self._ctx
        bound = hlc_at(ctx.bound_ms(ctx.now))
        return [
            log
            for log in ctx.logs.logs()
            if peer_of(log.origin) == ctx.peer_id
            and log.hlc >= bound
            and log.fork is None
            and not self._lives.is_beside(epoch_of(log.origin))
            and log.bucket in ctx.replicas
            and ctx.replicas[log.bucket].rules.kind is not Kind.COUNTER
        ]

    # -- taking back -----------------------------------------------------------------------------------------

    def _take_back(self, logs: list[Log]) -> None:
        """All that is ahead in one bucket. What is written again comes first: a crash in between must not lose it."""
        ctx, bucket = self._ctx, logs[0].bucket
        bound = hlc_at(ctx.bound_ms(ctx.now))
        replica = ctx.replicas[bucket]
        lasts, held = {}, {}
        for log in logs:
            lasts[log.key] = last = log.last_before(bound)
            for index in log.indexes_from(last + 1):
                for key, cell in cells_in_piece(log.pieces[index], log.origin, index):
                    if (found := replica.holds(key, cell)) is not None:
                        held[key, found[SLOT]] = (key, found)
        ours = sorted(held.values(), key=lambda pair: pair[1][STAMP])
        self._commits.seal(everything=True)  # so that what was written since is in the logs
        later = self._later(bucket, {key for key, _ in ours}, logs)
        ended = {key for key, _ in ours if views.is_shadow(replica.group(key))}
        for _, batch in groupby(ours, key=lambda pair: pair[1][STAMP]):
            self._write_again(bucket, list(batch), ended)
        for _, said in groupby(later, key=lambda one: one[2].stamp):
            self._writing.write_again(bucket, said)
        self._commits.seal(everything=True)
        for log in logs:
            ctx.withdrawn.add(epoch_of(log.origin))
            self._keeper.lower(log, lasts[log.key])
        self._commits.withhold({log.origin for log in logs})
        newest = sorted(ctx.withdrawn)[-_REMEMBERED:]
        self._commits.put_head(
            WITHDRAWN_HEAD, b"".join(epoch.to_bytes(8, "big") for epoch in newest)
        )
        self._done_s = ctx.now.mono_s
        ctx.counters["taken-back"] += len(ours)

    def _write_again(self, bucket: str, batch: list[_Held], ended: set[str]) -> None:
        """What one batch of ours wrote, as if it were written now.

        Of a key whose time was over by the wrong clock no value is left; its end is what we showed, and what is told.
        """
        replica = self._ctx.replicas[bucket]
        said: list[Said] = []
        for key, cell in batch:
            replica.drop(key, cell)
            if key in ended:
                said.append((key, TOUCH, self._end_of(key)))
            elif cell[SIZE] != SHADOW_SIZE:  # else a value that nobody has any more
                (entry,) = decode_entries((cell[DATA],))
                said.append((key, cell[SLOT], self._moved(entry)))
        self._writing.write_again(bucket, said)

    def _end_of(self, key: str) -> Entry:
        """A touch that ends a life now: what was written to the key before goes with it."""
        return Entry(key, None, Op.TOUCH, ZERO, self._ctx.now.wall_ms, None, b"")

    def _moved(self, entry: Entry) -> Entry:
        """How long something lives counts from now."""
        if entry.expires is None:
            return entry
        ahead_ms = hlc_ms(entry.stamp) - self._ctx.now.wall_ms
        return entry._replace(expires=entry.expires - ahead_ms)

    def _later(self, bucket: str, keys: set[str], logs: list[Log]) -> list[Said]:
        """What we wrote to these keys after the clock was set back, and could not show."""
        newest = max(epoch_of(log.origin) for log in logs)
        said = {said[:2]: said for said in self._early.said(bucket, keys)}
        for log in self._ctx.logs.logs():
            is_ours = log.bucket == bucket and peer_of(log.origin) == self._ctx.peer_id
            if not is_ours or epoch_of(log.origin) <= newest:
                continue
            for index in log.indexes_from(1):
                for key, cell in cells_in_piece(log.pieces[index], log.origin, index):
                    known = said.get((key, cell[SLOT]))
                    is_news = known is None or known[2].stamp < cell[STAMP]
                    if key in keys and is_news and cell[SIZE] != SHADOW_SIZE:
                        (entry,) = decode_entries((cell[DATA],))
                        said[key, cell[SLOT]] = (key, cell[SLOT], entry)
        bound = hlc_at(self._ctx.bound_ms(self._ctx.now))
        return sorted(
            (one for one in said.values() if one[2].stamp < bound), key=lambda one: one[2].stamp
        )
