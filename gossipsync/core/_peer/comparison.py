"""Comparison: the sums and names of a survey beside ours, down to the cells that one side lacks."""

from __future__ import annotations

from attrs import define

from gossipsync.core._peer.context import Context
from gossipsync.core._peer.runs import Area, Run
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.celltree import Found
from gossipsync.core.wire.reconciling import Findings, hashes_in

_TWICE = 2
"""Surveys of one range in one run: a cell that was overwritten before it was asked for shows in the second."""


@define(eq=False)
class Comparison:
    """Notes in a run which cells we lack, and which the other did not name."""

    _ctx: Context

    def take(self, run: Run, message: Findings) -> bool:
        """Compare an answer with our state. False if it is about no range that was asked about."""
        before = len(run.todo)
        answered = 0
        for bucket, prefix, sums in message.sums:
            if self._was_asked(run, (bucket, prefix)):
                answered += 1
                self._compare_sums(run, bucket, prefix, hashes_in(sums))
        for bucket, prefix, hashes in message.names:
            if self._was_asked(run, (bucket, prefix)):
                answered += 1
                self._compare_names(run, (bucket, prefix), set(hashes_in(hashes)))
        run.is_first = False
        run.shrink(self._ctx.config.limits.run_cells)
        return answered > 0 or not before

    def fetched(self, run: Run, *, is_cut: bool) -> None:
        """Cells that are here are missing no more; those that were not given were overwritten there, or are refused here."""
        for area, names in run.fetching.items():
            if is_cut:
                # Cells that came and were refused are not asked for again.
                held = {one.hash for one in self._found(*area)}
                run.missing[area] -= held | run.came
            else:
                run.missing[area] -= names
                if not names <= run.came and not run.is_partial:
                    run.todo[area] = None
            if not run.missing[area]:
                del run.missing[area]

    def _was_asked(self, run: Run, area: Area) -> bool:
        """Whether this answer to a range is due: each is answered once, and the first survey covers buckets that we do not know."""
        if run.todo.pop(area, 0) is None:
            return True
        is_new = area[1] == b"" and area not in run.surveys
        if not run.is_first or not is_new or len(run.surveys) >= self._ctx.config.limits.buckets:
            self._ctx.counters[Reason.UNSOLICITED] += 1
            return False
        run.surveys[area] = 1
        return True

    def _compare_sums(self, run: Run, bucket: str, prefix: bytes, sums: list[bytes]) -> None:
        replica = self._ctx.replicas.get(bucket)
        if replica is not None:
            replica.tree(self._ctx.now.wall_ms, 0)
        lowers = [prefix]
        while len(lowers) < len(sums):
            lowers = [upper + bytes((nibble,)) for upper in lowers for nibble in range(16)]
        for lower, total in zip(lowers, sums, strict=False):
            theirs = int.from_bytes(total, "big")
            mine = 0 if replica is None else replica.sum_at(lower)
            if theirs == mine or run.surveys.get((bucket, lower), 0) >= _TWICE:
                continue
            run.surveys[bucket, lower] = run.surveys.get((bucket, lower), 0) + 1
            if theirs:
                run.todo[bucket, lower] = None
            else:
                self._compare_names(run, (bucket, lower), set())

    def _compare_names(self, run: Run, area: Area, theirs: set[bytes]) -> None:
        mine = {one.hash: one for one in self._found(*area)}
        lacking = {name for name in theirs - mine.keys() if (area, name) not in run.asked}
        # A name that was told twice and not given is on its way to the other's store: without it nothing is complete.
        run.is_sound &= theirs - mine.keys() - lacking <= run.came
        if lacking:
            run.asked |= {(area, name) for name in lacking}
            run.missing[area] = lacking
        # Cells that it may have forgotten, by its clock, beat older ones that are on their way as long as we remember them.
        ctx = self._ctx
        forgotten_ms = max(run.their_wall_ms, ctx.now.wall_ms) + ctx.config.max_skew_ms
        lonely = {
            name: one
            for name, one in mine.items()
            if name not in theirs and (one.ends_ms is None or one.ends_ms > forgotten_ms)
        }
        if lonely:
            run.lonely[area] = lonely
        else:
            run.lonely.pop(area, None)

    def _found(self, bucket: str, prefix: bytes) -> list[Found]:
        replica = self._ctx.replicas.get(bucket)
        if replica is None:
            return []
        replica.tree(self._ctx.now.wall_ms, 0)
        return replica.found_in(prefix)
