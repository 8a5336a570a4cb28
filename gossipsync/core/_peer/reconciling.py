"""Reconciling: taking over another's state where its logs no longer tell the whole way to it.

One run at a time asks one member, step by step: proofs of how far its lines go (the snapshot), all its pieces where we hold next to
nothing, then sums over ranges of cells, descending where they differ, then the cells that we lack. Only when every step has been
answered in full do our lines move to the snapshot: whatever of it is not in our state then has lost to something that is.
Ranges are read after the snapshot was taken, and a key's winner lies in the same range as what it beat, so no answer can be too
old. A run dies with its link. What a cell is worth that our line covers already is decided in `_wants`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field

from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.disputes import Disputes
from gossipsync.core._peer.doubts import Doubts
from gossipsync.core._peer.forks import Forks
from gossipsync.core._peer.ingest import Ingest
from gossipsync.core._peer.runs import Area, Need, Needs, Run
from gossipsync.core._peer.standing import Standing
from gossipsync.core.model.ids import LinkId, Origin
from gossipsync.core.model.reasons import Reason
from gossipsync.core.model.stage import Stage
from gossipsync.core.replication.admission import Admission, AdmittedPiece, Refusal
from gossipsync.core.replication.cells import STAMP, Cell
from gossipsync.core.replication.celltree import CellTree, Found
from gossipsync.core.replication.keeping import Keeper
from gossipsync.core.wire.reconciling import (
    Covered,
    Doubt,
    Dump,
    Fetch,
    Findings,
    Heads,
    Parts,
    Survey,
    Verdict,
    hashes_in,
)

_PATIENCE_S: Final = 10.0
"""How long one question may stay unanswered."""
_BARREN_S: Final = 120.0
"""How long a run may go on that brings nothing: others wait for their turn."""
_FEW_SHARE: Final = 4
"""Who holds less than one in so many bundles of what the other has begins with a dump."""
_TWICE: Final = 2
"""Surveys of one range in one run: what had been overwritten when it was asked for shows in the second."""


@define(eq=False)
class Reconciler:
    """The asking side. `compare(link)` opens an exchange once lines have moved."""

    _ctx: Context
    _standing: Standing
    _admission: Admission
    _ingest: Ingest
    _forks: Forks
    _keeper: Keeper
    _commits: Commits
    _disputes: Disputes
    _doubts: Doubts
    _compare: Callable[[Link], None]
    _run: Run | None = None
    _needs: Needs = field(factory=Needs)
    _deferred: Needs = field(factory=Needs)
    """Needs that wait until the member's stage, or ours, has risen."""
    _number: int = 0

    @property
    def is_running(self) -> bool:
        """Is a run under way?"""
        return self._run is not None

    def need(self, link: Link, need: Need = Need.FULL) -> None:
        """Ask this member, when its turn comes."""
        self._needs.add(link.id, need)
        self.next_run()

    def rose(self, link: Link) -> None:
        """This member's stage, or ours, has risen: ask it for what it could not give before."""
        for need in self._deferred.take(link.id):
            self.need(link, need)

    def _may_ask(self, link: Link) -> bool:
        """Whether this member's state may be taken over. A joiner takes it from ready members alone."""
        least = Stage.ESTABLISHED if self._standing.is_established else Stage.READY
        return link.stage is not None and link.stage >= least

    def drop_link(self, link: LinkId) -> None:
        """A link has ended, and its run with it."""
        self._needs.drop(link)
        self._deferred.drop(link)
        if self._run is not None and self._run.link == link:
            self._give_up("reconcile-cut")

    def expire(self) -> None:
        """Give up a run whose last question was not answered in time."""
        run = self._run
        if run is None:
            return
        now_s = self._ctx.now.mono_s
        if now_s - run.asked_s > _PATIENCE_S or now_s - run.useful_s > _BARREN_S:
            self._give_up("reconcile-late")
            self.next_run()

    def next_deadline(self) -> float | None:
        """When a question will be late."""
        run = self._run
        if run is None:
            return None
        return min(run.asked_s + _PATIENCE_S, run.useful_s + _BARREN_S) + 0.001

    def next_run(self) -> None:
        """Begin with the next member that is needed, if no run is under way."""
        ctx = self._ctx
        while self._run is None and (turn := self._needs.next()) is not None:
            link = ctx.links.get(turn[0])
            if link is None or link.is_closing:
                continue
            if not self._may_ask(link):
                self._deferred.add(*turn)
                continue
            need = self._still(link, turn[1])
            self._needs.begun(link.id, need)
            self._number += 1
            self._run = run = Run(
                self._number,
                link.id,
                need,
                not self._standing.is_established,
                self._disputes.is_back,
            )
            run.useful_s = ctx.now.mono_s
            if run.need in {Need.FULL, Need.FORK}:
                self._begin(link, run)
            else:
                self._ask(link, run, "covered", self._heads(run))

    def _still(self, link: Link, need: Need) -> Need:
        """What a member is asked for at its turn: what we lacked may have come from another meanwhile."""
        is_caught_up = self._standing.is_established and not self._disputes.is_back
        if need is Need.FULL and is_caught_up and not self._ctx.fetcher.lines_of(link.id):
            return Need.PROBE
        return need

    def _begin(self, link: Link, run: Run) -> None:
        """Ask for everything, which a probe may have shown to be needed."""
        run.lines = [] if run.need is Need.FORK else self._ctx.fetcher.lines_of(link.id)
        run.theirs = {key: self._ctx.fetcher.index_at(link.id, key) for key in run.lines}
        self._ctx.counters["reconciliations"] += 1
        if run.need is Need.FULL:
            self._ask(link, run, "heads", self._heads(run))
        else:
            self._go_on(link, run)

    def _heads(self, run: Run, *, is_more: bool = False) -> Heads:
        """Asks for the next lines' proofs; the first, for covered lines, too."""
        rows = self._ctx.config.limits.survey_rows
        run.waits_for, run.lines = run.lines[:rows], run.lines[rows:]
        if is_more:
            return Heads(run.number, tuple(run.waits_for))
        wants_all = run.is_joining or run.is_back
        return Heads(run.number, tuple(run.waits_for), self._keeper.covered_sum(), wants_all)

    def _lacks_much(self, run: Run) -> bool:
        logs = self._ctx.logs
        held = sum(log.index for log in logs.logs() if log.fork is None)
        theirs = sum(index - logs.index(key) for key, index in run.theirs.items())
        theirs += sum(max(0, index - logs.index(key)) for key, index in run.covered.items())
        return run.need not in {Need.REPAIR, Need.FORK} and held * _FEW_SHARE < theirs

    def _give_up(self, counter: str) -> None:
        """This run comes to nothing; the next exchange on its link may ask for another."""
        assert self._run is not None
        link = self._ctx.links.get(self._run.link)
        if link is not None:
            link.probed = None
        self._ctx.counters[counter] += 1
        self._forks.pass_on(self._run.link)
        self._doubts.gave_up(self._run)
        self._run = None

    # -- questions -------------------------------------------------------------------------------------------

    def _ask(
        self, link: Link, run: Run, step: str, message: Heads | Survey | Fetch | Dump | Doubt
    ) -> None:
        run.step, run.asked_s = step, self._ctx.now.mono_s
        link.reconciled_s = run.asked_s
        self._ctx.send(link, message)

    def _go_on(self, link: Link, run: Run) -> None:
        """The next question, or the end."""
        rows = self._ctx.config.limits.survey_rows
        if run.lines:
            self._ask(link, run, "heads", self._heads(run, is_more=True))
        elif run.wants_dump or (run.wants_dump is None and self._lacks_much(run)):
            self._ask(link, run, "dump", Dump(run.number, run.dumped))
        elif not run.was_surveyed:
            run.was_surveyed = run.is_first = True
            run.todo = {(name, b""): None for name in self._ctx.replicas}
            areas = tuple(run.todo)
            self._ask(link, run, "survey", Survey(run.number, self._ctx.now.wall_ms, True, areas))
        elif run.todo:
            areas = tuple(run.todo)[:rows]
            self._ask(link, run, "survey", Survey(run.number, self._ctx.now.wall_ms, False, areas))
        elif run.missing:
            self._fetch(link, run)
        elif run.need is Need.FORK and not run.is_partial:
            self._end(link)
            self.next_run()
        elif not run.is_partial and self._doubts.choose(run):
            self._ask(link, run, "doubt", Doubt(run.number, self._doubts.rows(run)))
        else:
            self._complete(link, run)

    def _end(self, link: Link) -> None:
        self._run = None
        self._forks.pass_on(link.id)

    def _fetch(self, link: Link, run: Run) -> None:
        wanted = run.wanted(self._ctx.config.limits.survey_rows * 8)
        self._ask(link, run, "fetch", Fetch(run.number, wanted))

    # -- answers ---------------------------------------------------------------------------------------------

    def _current(self, link: Link, number: int, *steps: str) -> Run | None:
        run = self._run
        if run is None or run.link != link.id or run.number != number or run.step not in steps:
            # A late answer to a run that was given up is nobody's fault.
            self._ctx.counters["reconcile-stale"] += 1
            return None
        return run

    def on_covered(self, link: Link, message: Covered) -> None:
        """Lines of ended epochs. Where they go further than ours, that is to be proven as for any other."""
        run = self._current(link, message.run, "covered", "heads")
        room = self._ctx.config.limits.covered_lines
        if run is None or len(run.covered) + len(message.lines) > 2 * room:
            return
        for bucket, origin, index in message.lines:
            key = (bucket, Origin(origin))
            if key not in run.covered:
                run.covered[key] = index
                if index > self._ctx.logs.index(key):
                    run.lines.append(key)

    def on_parts(self, link: Link, message: Parts) -> None:
        """Proofs of lines, or pieces."""
        run = self._current(link, message.run, "covered", "heads", "dump", "fetch")
        if run is None:
            return
        is_repeated = bool(message.pieces)
        for data in message.pieces:
            if link.is_closing:
                return
            is_repeated &= self._take(link, run, data)
        if is_repeated:
            # An answer that came twice: to ask on would ask twice from then on, and be answered twice.
            self._ctx.counters["reconcile-stale"] += 1
            return
        is_cut = message.is_cut and bool(message.pieces)
        if run.step == "dump":
            # Where a dump stops, the survey goes on.
            run.wants_dump = is_cut and not run.is_stuck
        elif run.step == "fetch":
            self._fetched(run, is_cut=is_cut)
        elif is_cut:
            run.lines += [
                key for key in run.waits_for if key not in run.heads and key not in run.bad
            ]
        if run.step == "covered":
            self._probed(link, run)
        else:
            self._go_on(link, run)

    def _probed(self, link: Link, run: Run) -> None:
        """What the other remembers of ended epochs is told, and proven where it is more than we knew."""
        index_of = self._ctx.logs.index
        if run.lines:
            self._ask(link, run, "covered", self._heads(run, is_more=True))
        elif run.need is Need.PROBE and not any(
            part.header.index > index_of(key) for key, part in run.heads.items()
        ):
            self._complete(link, run)
        else:
            self._begin(link, run)

    def _take(self, link: Link, run: Run, data: bytes) -> bool:
        """Take in a proof or a piece. True for cells that we asked for and were given before."""
        ctx = self._ctx
        part = self._admission.admit_piece(data, ctx.now.wall_ms, link.peer)
        if isinstance(part, Refusal):
            if part.header is not None:
                run.bad.add((part.header.bucket, part.header.origin))
            run.is_sound &= part.reason is not Reason.SKEW
            if part.proof is not None:
                self._forks.take(link, part.proof)
            ctx.refuse(link, part.reason, part.detail)
            return False
        header = part.header
        key = (header.bucket, header.origin)
        if run.step in {"covered", "heads"}:
            run.heads[key] = part
            return False
        place = (*key, header.index)
        if run.step == "dump":
            if run.dumped is not None and place <= run.dumped:
                run.is_stuck = True
                return False
            run.dumped = place
        is_repeated = False
        if run.step == "fetch":
            tree = self._tree(key[0]) if key[0] in ctx.replicas else CellTree(key[0], 0)
            names = {name for _, cell in part.cells for name in tree.names_of(cell)}
            is_repeated = names <= run.came
            run.came |= names
        if self._ingest.take_part(part, self._wants(link, run, part)):
            run.useful_s = link.gave_s = ctx.now.mono_s
            run.has_brought = True
        return is_repeated

    def _wants(self, link: Link, run: Run, part: AdmittedPiece) -> Callable[[str, Cell], bool]:
        """Which cells of a piece are merged."""
        ctx, header = self._ctx, part.header
        log = ctx.logs.find((header.bucket, header.origin))
        is_frozen = log is not None and log.fork is not None
        if run.need is Need.FORK and not is_frozen:
            return lambda _key, _cell: False  # of other logs the lines tell, in their order
        if header.index > ctx.logs.index((header.bucket, header.origin)) or run.is_joining:
            return lambda _key, _cell: True
        replica = ctx.replicas.get(header.bucket)
        oldest = ctx.oldest_open()

        def is_wanted(key: str, cell: Cell) -> bool:
            if replica is not None and replica.is_wanting(key, cell):
                return True
            if is_frozen and cell[STAMP] >= oldest:
                return True  # of a branch that we have not seen; whatever it may have lost to is remembered
            if run.need is Need.REPAIR and self._disputes.offered(
                header.bucket, key, cell, link.peer
            ):
                return True
            ctx.counters[Reason.COVERED] += 1
            return False

        return is_wanted

    def _fetched(self, run: Run, *, is_cut: bool) -> None:
        """What we have now is missing no more; what we still lack was overwritten there, or is refused here."""
        for area, names in run.fetching.items():
            if is_cut:
                # What came and was refused is not asked for again.
                held = {one.hash for one in self._found(*area)}
                run.missing[area] -= held | run.came
            else:
                run.missing[area] -= names
                if not names <= run.came and not run.is_partial:
                    run.todo[area] = None
            if not run.missing[area]:
                del run.missing[area]

    def on_findings(self, link: Link, message: Findings) -> None:
        """Sums and hashes to compare with ours."""
        run = self._current(link, message.run, "survey")
        if run is None:
            return
        if not message.is_ready:
            link.stage = min(link.stage or Stage.EMPTY, Stage.HOLDING)
            self._give_up("reconcile-unready")
            self.next_run()
            return
        before = len(run.todo)
        run.their_wall_ms = message.wall_ms
        for bucket, prefix, sums in message.sums:
            if self._was_asked(run, (bucket, prefix)):
                self._compare_sums(run, bucket, prefix, hashes_in(sums))
        for bucket, prefix, hashes in message.names:
            if self._was_asked(run, (bucket, prefix)):
                self._compare_names(run, (bucket, prefix), set(hashes_in(hashes)))
        run.is_first = False
        if before and not message.sums and not message.names:
            self._give_up("reconcile-cut")
            return
        run.shrink(self._ctx.config.limits.run_cells)
        self._go_on(link, run)

    def _was_asked(self, run: Run, area: Area) -> bool:
        """Each range that was asked about is answered once; the first survey is about whatever buckets there are, too."""
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
            self._tree(bucket)
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
        # What was named twice and not given is on its way to the other's store: without it nothing is complete.
        run.is_sound &= theirs - mine.keys() - lacking <= run.came
        if lacking:
            run.asked |= {(area, name) for name in lacking}
            run.missing[area] = lacking
        # What it may have forgotten, by its clock, beats what is still on its way as long as we remember it.
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

    def on_verdict(self, link: Link, message: Verdict) -> None:
        """What only we have: has the other had it?"""
        run = self._current(link, message.run, "doubt")
        if run is None:
            return
        self._doubts.judge(link, run, message.bits)
        self._go_on(link, run)

    # -- the end ---------------------------------------------------------------------------------------------

    def _complete(self, link: Link, run: Run) -> None:
        ctx = self._ctx
        if not run.is_sound or run.is_partial:
            self._give_up("reconcile-partial" if run.is_sound else "reconcile-parked")
            if run.is_partial and run.has_brought:
                self._needs.add(link.id, run.need)  # it goes on where states differ still
            self.next_run()
            return
        self._end(link)
        for key, part in run.heads.items():
            log = ctx.logs.find(key)
            is_ahead = log is None or (log.fork is None and log.index < part.header.index)
            is_fit = key not in run.bad and self._admission.has_room(part.header)
            is_fit = is_fit and key not in run.held_back
            if not is_fit or not is_ahead or key[1] == ctx.origin:
                continue
            self._keeper.raise_to(part.header, part.signature, link.peer)
            ctx.name_line(key)
            self._ingest.moved(key, part.header.index)
            self._commits.applied(key)
            self._ingest.go_on(key)
        for key, index in run.covered.items():
            # A line that another has covered need not wait for its turn here.
            log = ctx.logs.find(key)
            is_open = log is not None and not log.is_covered and log.fork is None
            if log is not None and is_open and log.index == index and self._disputes.is_over(key):
                self._keeper.cover(log)
        if run.was_surveyed:
            ctx.counters["reconciled"] += 1
            self._compare(link)
        self._disputes.completed(link.peer, is_joining=run.is_joining, is_whole=run.was_surveyed)
        self._standing.update()
        if (asked_next := self._doubts.completed(run)) is not None:
            self._needs.add(asked_next, Need.FULL)
        self.next_run()

    def _tree(self, bucket: str) -> CellTree:
        ctx = self._ctx
        replica = ctx.replicas[bucket]
        return replica.tree(ctx.now.wall_ms, 0)

    def _found(self, bucket: str, prefix: bytes) -> list[Found]:
        if bucket not in self._ctx.replicas:
            return []
        self._tree(bucket)
        return self._ctx.replicas[bucket].found_in(prefix)
