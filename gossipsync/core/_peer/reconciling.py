"""Reconciliation, the asking side: taking over another's state where its logs no longer tell the whole way to it.

One run at a time asks one member, its *source*, step by step: proofs of how far its lines go (the snapshot), all its pieces where
we hold next to nothing, then sums over ranges of cells, descending where they differ, then the cells that we lack. Only when every
step has been answered in full do our lines move to the snapshot: an entry below it that is not in our state then has lost to one
that is. Ranges are read after the snapshot was taken, and a key's winner lies in the same range as the entries that it beat, so no
answer can be too old. A run dies with its link. `intake` decides whether a cell that our line covers already is worth anything.

Only the pieces of a first `transfer` come from several members at once. They are verified, move no line, and are compared with the
source afterwards, so this argument is about one member however many took part.

**Every run ends.** A run that another member waits behind ends after a minute at the latest (see `turns` for all times); its source
then waits for its next turn behind the others. It ends sooner by a question without an answer, an answer that is cut and adds
nothing, an answer about no range that was asked about, `_UNMET` questions for cells that bring none of them, or half a minute in
which nothing is merged. A source whose run brought nothing rests (see `sources`): it is asked after all others,
and after a pause. So with n false sources among its links a peer reaches an honest one after n turns at the latest, and each
false one costs it a turn once per rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field

from gossipsync.core._peer.bulk_transfer import STEP, BulkTransfer, Progress
from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.comparison import Comparison
from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.disputes import Disputes
from gossipsync.core._peer.doubts import Doubts
from gossipsync.core._peer.forks import Forks
from gossipsync.core._peer.ingest import Ingest
from gossipsync.core._peer.intake import Intake, Worth
from gossipsync.core._peer.runs import Need, Run
from gossipsync.core._peer.standing import Standing
from gossipsync.core._peer.turns import PATIENCE_S, Turns
from gossipsync.core.model.ids import LinkId, Origin, PeerId
from gossipsync.core.model.stage import Stage
from gossipsync.core.replication.admission import Admission
from gossipsync.core.replication.keeping import Keeper
from gossipsync.core.wire.reconciling import (
    Covered,
    Doubt,
    Fetch,
    Findings,
    Heads,
    Parts,
    Survey,
    Verdict,
)

_UNMET: Final = 8
"""Questions for cells in a row to which none of them came: a few may have been overwritten while they were asked for."""
_GOES_ON: Final = frozenset({"reconcile-turn", "reconcile-partial"})
"""Ends by which a run that brought something gets another turn unasked."""
_FEW_SHARE: Final = 4
"""A peer that holds less than one in so many bundles of what the other has begins with a transfer."""


@define(eq=False)
class Reconciler:
    """The asking side. `compare(link)` opens an exchange once lines have moved."""

    _ctx: Context
    _standing: Standing
    _intake: Intake
    _admission: Admission
    _ingest: Ingest
    _forks: Forks
    _keeper: Keeper
    _commits: Commits
    _disputes: Disputes
    _doubts: Doubts
    _comparison: Comparison
    _compare: Callable[[Link], None]
    _turns: Turns
    _bulk: BulkTransfer = field(init=False)
    _run: Run | None = None
    _number: int = 0

    def __attrs_post_init__(self) -> None:
        self._bulk = BulkTransfer(self._ctx, self._turns, self._intake, self._brought_nothing)

    @property
    def is_running(self) -> bool:
        """Whether a run is under way."""
        return self._run is not None

    def need(self, link: Link, need: Need = Need.FULL) -> None:
        """Ask this member, when its turn comes."""
        self._turns.add(link.id, need)
        self.next_run()

    def rose(self, link: Link) -> None:
        """This member's stage, or ours, has risen: ask it for the data that it could not give before."""
        self._turns.rose(link)
        self.next_run()

    def drop_link(self, link: LinkId) -> None:
        """A link has ended, and its run with it."""
        self._turns.drop(link)
        run = self._run
        if run is not None and run.link == link:
            self._give_up("reconcile-cut")
        elif run is not None:
            self._transferred(run, self._bulk.drop_link(link, run))

    def expire(self) -> None:
        """End a run that takes too long, and begin one that has waited for its source's pause."""
        run = self._run
        if run is not None:
            counter = self._turns.overrun(run, is_idle=self._bulk.is_idle(run))
            if counter is not None:
                self._give_up(counter)
            else:
                self._transferred(run, self._bulk.expire(run))
        self.next_run()

    def next_deadline(self) -> float | None:
        """When a run is to be given up, or the next one may begin."""
        run = self._run
        if run is None:
            return self._turns.next_deadline()
        ends_s = self._turns.ends_s(run, is_idle=self._bulk.is_idle(run))
        return min(ends_s, self._bulk.next_deadline(run) or ends_s) + 0.001

    # -- turns -----------------------------------------------------------------------------------------------

    def next_run(self) -> None:
        """Begin with the next member that is needed, if no run is under way."""
        ctx = self._ctx
        while self._run is None and (turn := self._turns.next()) is not None:
            link, need = turn[0], self._still(*turn)
            self._turns.begun(link.id, need)
            self._number += 1
            is_joining = not self._standing.is_established
            self._run = run = Run(
                self._number, link.id, link.peer, need, is_joining, self._disputes.is_back
            )
            run.began_s = run.useful_s = ctx.now.mono_s
            if run.need in {Need.FULL, Need.FORK}:
                self._begin(link, run)
            else:
                self._ask(link, run, "covered", self._heads(run))

    def _still(self, link: Link, need: Need) -> Need:
        """The need of a member at its turn: others may have given meanwhile the data that was lacking."""
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

    def _give_up(self, counter: str, *, is_failure: bool = True) -> None:
        """This run comes to nothing, and the next one begins. The next exchange on its link may ask for another."""
        run = self._run
        assert run is not None
        link = self._ctx.links.get(run.link)
        if link is not None:
            link.probed = None
        if not run.has_brought and is_failure:
            self._failed(run.peer, run.began_s)
        elif counter in _GOES_ON and run.has_brought and link is not None:
            self._turns.add(link.id, run.need)  # behind the others
        self._ctx.counters[counter] += 1
        self._forks.pass_on(run.link)
        self._doubts.gave_up(run)
        self._run = None
        self.next_run()

    def _failed(self, peer: PeerId, asked_s: float) -> None:
        """A member was asked for data and brought none."""
        if self._ctx.sources.failed(peer, asked_s, self._ctx.now.mono_s):
            self._ctx.counters["sources-failed"] += 1
            self._standing.update()

    def _brought_nothing(self, link: Link, asked_s: float) -> None:
        self._failed(link.peer, asked_s)

    # -- questions -------------------------------------------------------------------------------------------

    def _ask(
        self, link: Link, run: Run, step: str, message: Heads | Survey | Fetch | Doubt
    ) -> None:
        run.step, run.asked_s, run.asked_bytes = step, self._ctx.now.mono_s, link.received_bytes
        link.reconciled_s = run.asked_s
        self._ctx.send(link, message)

    def _go_on(self, link: Link, run: Run) -> None:
        """The next question, or the end."""
        rows = self._ctx.config.limits.survey_rows
        if run.lines:
            self._ask(link, run, "heads", self._heads(run, is_more=True))
        elif run.wants_dump or (run.wants_dump is None and self._lacks_much(run)):
            self._transferred(run, self._bulk.begin(link, run))
        elif not run.was_surveyed:
            run.was_surveyed = run.is_first = True
            run.todo = {(name, b""): None for name in self._ctx.replicas}
            areas = tuple(run.todo)
            self._ask(link, run, "survey", Survey(run.number, self._ctx.now.wall_ms, True, areas))
        elif run.todo:
            areas = tuple(run.todo)[:rows]
            self._ask(link, run, "survey", Survey(run.number, self._ctx.now.wall_ms, False, areas))
        elif run.missing:
            wanted = run.wanted(rows * 8)
            self._ask(link, run, "fetch", Fetch(run.number, wanted))
        elif run.need is Need.FORK and not run.is_partial:
            self._end(link)
            self.next_run()
        elif not run.is_partial and self._doubts.choose(run):
            self._ask(link, run, "doubt", Doubt(run.number, self._doubts.rows(run)))
        else:
            self._complete(link, run)

    def _transferred(self, run: Run, progress: Progress) -> None:
        """Go on with the source alone once all pieces have come."""
        if progress is Progress.BARREN:
            self._give_up("reconcile-barren")
        elif progress is Progress.OVER and self._run is run:
            run.wants_dump = False
            self._go_on(self._ctx.links[run.link], run)

    def _end(self, link: Link) -> None:
        self._run = None
        self._forks.pass_on(link.id)

    # -- answers ---------------------------------------------------------------------------------------------

    def _current(self, link: Link, number: int, *steps: str) -> Run | None:
        run = self._run
        is_asked = run is not None and (run.link == link.id or self._bulk.takes_part(link, run))
        if run is None or not is_asked or run.number != number or run.step not in steps:
            # A late answer to a run that was given up is no fault.
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
        run = self._current(link, message.run, "covered", "heads", STEP, "fetch")
        if run is None:
            return
        if run.step == STEP:
            self._transferred(run, self._bulk.on_parts(link, run, message))
            return
        worth = []
        for data in message.pieces:
            if link.is_closing:
                return
            worth.append(self._intake.take(link, run, data, None))
        if worth and all(one is Worth.REPEATED for one in worth):
            # An answer that came twice: to ask on would ask twice from then on, and be answered twice.
            self._ctx.counters["reconcile-stale"] += 1
            return
        is_on = Worth.DATA in worth or Worth.PROGRESS in worth
        run.unmet = 0 if is_on or run.step != "fetch" else run.unmet + 1
        if (message.is_cut and not is_on) or run.unmet >= _UNMET:
            self._give_up("reconcile-barren")
            return
        if run.step == "fetch":
            self._comparison.fetched(run, is_cut=message.is_cut)
        elif message.is_cut:
            run.lines += [
                key for key in run.waits_for if key not in run.heads and key not in run.bad
            ]
        if run.step == "covered":
            self._probed(link, run)
        else:
            self._go_on(link, run)

    def _probed(self, link: Link, run: Run) -> None:
        """The lines of ended epochs that the other remembers are told, and proven where they are more than we knew."""
        index_of = self._ctx.logs.index
        if run.lines:
            self._ask(link, run, "covered", self._heads(run, is_more=True))
        elif run.need is Need.PROBE and not any(
            part.header.index > index_of(key) for key, part in run.heads.items()
        ):
            self._complete(link, run)
        else:
            self._begin(link, run)

    def on_findings(self, link: Link, message: Findings) -> None:
        """Sums and hashes to compare with ours."""
        run = self._current(link, message.run, "survey")
        if run is None:
            return
        if not message.is_ready:
            link.stage = min(link.stage or Stage.EMPTY, Stage.HOLDING)
            is_slow = self._ctx.now.mono_s - run.began_s > PATIENCE_S / 2
            self._give_up("reconcile-unready", is_failure=is_slow)
            return
        run.their_wall_ms = message.wall_ms
        if not self._comparison.take(run, message):
            self._give_up("reconcile-barren")
            return
        self._go_on(link, run)

    def on_verdict(self, link: Link, message: Verdict) -> None:
        """Whether the other has had cells that only we have."""
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
            return
        self._end(link)
        moved = 0
        for key, part in run.heads.items():
            log = ctx.logs.find(key)
            is_ahead = log is None or (log.fork is None and log.index < part.header.index)
            is_fit = key not in run.bad and self._admission.has_room(part.header)
            is_fit = is_fit and key not in run.held_back
            if not is_fit or not is_ahead or key[1] == ctx.origin:
                continue
            moved += 1
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
        self._rate(link, run, moved)
        if run.was_surveyed:
            self._bulk.completed()
            ctx.counters["reconciled"] += 1
            self._compare(link)
        self._disputes.completed(link.peer, is_joining=run.is_joining, is_whole=run.was_surveyed)
        self._standing.update()
        if (asked_next := self._doubts.completed(run)) is not None:
            self._turns.add(asked_next, Need.FULL)
        self.next_run()

    def _rate(self, link: Link, run: Run, moved: int) -> None:
        """Whether a completed run was worth its turn; claims that it did not prove are not believed any more."""
        ctx = self._ctx
        behind = {key for key, index in run.theirs.items() if index > ctx.logs.index(key)}
        behind -= run.held_back
        for key in behind:
            part = run.heads.get(key)
            if part is None or part.header.index < run.theirs[key]:
                ctx.fetcher.give_up(link.id, key)
                link.goals.pop(key, None)
        if moved or run.has_brought:
            ctx.sources.delivered(link.peer)
        elif behind:
            self._failed(link.peer, run.began_s)
