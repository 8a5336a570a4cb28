"""Doubts: cells of ours that the other side of a run did not name. Which it is asked about, and what its verdicts do.

Whoever lacked bundles of a line for longer than a horizon may lack a delete that all others have forgotten. Should its line
move by a run, it would claim that delete and go on showing what the delete took away: as ignorant as one that was out of touch, be
it that it talked all the time. Where a line is about to move across what may be as old as that, old cells that the other
covers and has no more are in doubt. They are given up by two voices, or by the only one that is ahead of us on those lines if it
may write there; while another is left to be asked the lines stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.disputes import QUORUM, Disputes
from gossipsync.core._peer.runs import Need, Run
from gossipsync.core.model.hlc import Hlc, hlc_at
from gossipsync.core.model.ids import LinkId, Origin, PeerId
from gossipsync.core.replication.cells import DATA, INDEX, ORIGIN, STAMP, Cell
from gossipsync.core.replication.celltree import Found
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.wire.reconciling import doubt_row

_Name = tuple[str, Origin, int, bytes]


@define(eq=False)
class Doubts:
    """The doubts of one peer's runs, and the voices heard while lines are held back."""

    _ctx: Context
    _disputes: Disputes
    _refused: dict[_Name, set[PeerId]] = field(factory=dict)
    """Who has had a cell of ours, and has it no more."""
    _asked: set[LinkId] = field(factory=set)
    """Links whose members were asked since lines are held back."""

    # -- asking ----------------------------------------------------------------------------------------------

    def choose(self, run: Run) -> bool:
        """Leave of what only we have what the other is to be asked about. Is there any?"""
        if not (run.is_joining or run.is_back or run.need is Need.REPAIR):
            blind, oldest = {bucket for bucket, _ in self._blind(run)}, self._oldest(run)
            for area in list(run.lonely):
                old = {
                    name: one
                    for name, one in run.lonely.pop(area).items()
                    if area[0] in blind and one.cell[STAMP] < oldest
                }
                if old:
                    run.lonely[area] = old
        return bool(run.lonely)

    def rows(self, run: Run) -> tuple[tuple[str, bytes, bytes], ...]:
        """The next of them, as many as one message holds."""
        room = self._ctx.config.limits.survey_rows * 8
        rows, run.doubted = [], []
        for area in list(run.lonely):
            found = list(run.lonely.pop(area).values())
            if len(found) > room:
                run.lonely[area] = {one.hash: one for one in found[room:]}
                found = found[:room]
            room -= len(found)
            packed = b"".join(
                doubt_row(one.cell[ORIGIN], one.cell[INDEX], one.hash) for one in found
            )
            rows.append((*area, packed))
            run.doubted += [(area, one) for one in found]
            if room <= 0:
                break
        return tuple(rows)

    # -- verdicts --------------------------------------------------------------------------------------------

    def judge(self, link: Link, run: Run, verdicts: bytes) -> None:
        """What only we have: has the other had it?"""
        for ((bucket, _), one), bit in zip(run.doubted, verdicts, strict=False):
            replica = self._ctx.replicas[bucket]
            held = replica.holds(one.key, one.cell)
            if not bit or held is None or held[DATA] != one.cell[DATA]:
                continue
            if self._is_given_up(link, run, bucket, one, held):
                replica.drop(one.key, held)
                self._ctx.counters["yielded"] += 1
                self._ctx.moved(bucket)

    def _is_given_up(self, link: Link, run: Run, bucket: str, one: Found, held: Cell) -> bool:
        if run.is_joining or run.is_back or run.need is Need.REPAIR:
            return self._disputes.yields(
                bucket, one.key, held, link.peer, is_joining=run.is_joining
            )
        blind = [key for key in self._blind(run) if key[0] == bucket]
        if not blind:
            return False  # bundles that came meanwhile have told what there was to tell
        name = (bucket, held[ORIGIN], held[INDEX], one.hash)
        if name not in self._refused and len(self._refused) >= self._ctx.config.limits.votes:
            del self._refused[next(iter(self._refused))]
        voices = self._refused.setdefault(name, set())
        voices.add(link.peer)
        if len(voices) >= QUORUM:
            return True
        if self._next(link.id, blind) is None:
            return self._may_delete(link.peer, bucket)
        run.held_back.update(blind)
        return False

    def _may_delete(self, peer: PeerId, bucket: str) -> bool:
        """May this member write there? Then its word alone takes away no more than a delete of its own would."""
        rights = self._ctx.rights_of(peer)
        return rights is not None and rights.may_write and rights.allows(bucket)

    # -- the end ---------------------------------------------------------------------------------------------

    def gave_up(self, run: Run) -> None:
        """A run came to nothing: while lines are held back, whoever gives no answer is not waited for."""
        if self._refused and run.need is not Need.FORK:
            self._asked.add(run.link)

    def completed(self, run: Run) -> LinkId | None:
        """A run has come to its end; whom to ask next so that lines which it held back may move."""
        if run.held_back:
            self._asked.add(run.link)
            return self._next(run.link, run.held_back)
        if run.was_surveyed:
            self._asked.clear()
            self._refused.clear()
        return None

    def _next(self, link: LinkId, lines: Iterable[LineKey]) -> LinkId | None:
        """Another member that is ahead of us on these lines, by its word, and was not asked yet."""
        for other in self._ctx.by_peer.values():
            is_new = other.id != link and other.id not in self._asked
            if is_new and any(self._ctx.fetcher.index_at(other.id, key) for key in lines):
                return other.id
        return None

    def _blind(self, run: Run) -> list[LineKey]:
        """Lines that are to move across bundles that may be older than a horizon."""
        ctx, oldest, blind = self._ctx, self._oldest(run), []
        for key, part in run.heads.items():
            log = ctx.logs.find(key)
            is_ahead = log is None or (log.fork is None and log.index < part.header.index)
            if is_ahead and key[1] != ctx.origin and (log is None or log.hlc < oldest):
                blind.append(key)
        return blind

    def _oldest(self, run: Run) -> Hlc:
        """The stamp from which on no delete is forgotten, by the later of both clocks."""
        now_ms = max(self._ctx.now.wall_ms, run.their_wall_ms)
        return hlc_at(max(0, now_ms - self._ctx.config.horizon_ms))
