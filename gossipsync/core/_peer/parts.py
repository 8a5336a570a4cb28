"""Parts: what a peer is made of, each part with those that it needs."""

from __future__ import annotations

from collections.abc import Iterable

from gossipsync.core._peer.answering import Answers
from gossipsync.core._peer.carrying import Carrying
from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.comparison import Comparison
from gossipsync.core._peer.concern import Concern
from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.cursors import Cursors
from gossipsync.core._peer.disputes import Disputes
from gossipsync.core._peer.doubts import Doubts
from gossipsync.core._peer.early import Early
from gossipsync.core._peer.exchange import Exchanges
from gossipsync.core._peer.forks import Forks
from gossipsync.core._peer.handover import HandOver
from gossipsync.core._peer.hearsay import Hearsay
from gossipsync.core._peer.ingest import Ingest
from gossipsync.core._peer.intake import Intake
from gossipsync.core._peer.introductions import Introductions
from gossipsync.core._peer.joining import Joining
from gossipsync.core._peer.lagging import Lag
from gossipsync.core._peer.links import Links
from gossipsync.core._peer.lives import Lives
from gossipsync.core._peer.looking import Looks
from gossipsync.core._peer.pauses import Pauses
from gossipsync.core._peer.probing import Probing
from gossipsync.core._peer.reconciling import Reconciler
from gossipsync.core._peer.report import Report
from gossipsync.core._peer.rewriting import Rewriting
from gossipsync.core._peer.rounds import Rounds
from gossipsync.core._peer.runs import Need
from gossipsync.core._peer.setback import Setback
from gossipsync.core._peer.showing import Showing
from gossipsync.core._peer.standing import Standing
from gossipsync.core._peer.turns import Turns
from gossipsync.core._peer.upkeep import Upkeep
from gossipsync.core._peer.verdicts import Verdicts
from gossipsync.core._peer.writing import Writing
from gossipsync.core.membership.suspicion import LocalHealth
from gossipsync.core.model.entry import Entry
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import LinkId, Origin
from gossipsync.core.replication.admission import Admission
from gossipsync.core.replication.cells import Cell
from gossipsync.core.replication.keeping import Keeper
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.sealing import Sealer


class Parts:
    """The parts of one peer."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        config = ctx.config
        self.standing = Standing(ctx)
        self.pauses = Pauses(ctx)
        self.lives = Lives(ctx)
        self.sealer = Sealer(config.network, ctx.logs, config.limits, ctx.sign)
        self.admission = Admission(
            config.network,
            config.limits,
            ctx.verifier,
            ctx.logs,
            ctx.rights_of,
            config.max_skew_ms,
        )
        self._replicate()
        self._reconcile()
        self._meet()
        self.writing = Writing(ctx, self.sealer, self.commits, self._wrote, self._set_back)
        self.early = Early(ctx, self.standing, self.lives, self.writing, self.keeper)
        self.setback = Setback(ctx, self.keeper, self.commits, self.lives, self.early, self.writing)
        self.concern = Concern(ctx, self.commits, self.writing, self.rounds, self.exchanges)
        self.lag = Lag(ctx)
        self.report = Report(
            ctx,
            self.standing,
            self.introductions,
            self.rounds,
            self.commits,
            self.lives,
            self._health,
            self.setback,
            self.forks,
            self.lag,
        )

    def _health(self) -> dict[str, int]:
        return {
            "score": self.health.score,
            "stalls": self.probing.stalls,
            "probes_failed": self.probing.failed,
            "doubts_refuted": self.verdicts.refuted,
            "probes_delayed": self.probing.delayed,
            "statements_delayed": self.verdicts.delayed,
        }

    def _replicate(self) -> None:
        """What moves bundles."""
        ctx, config = self._ctx, self._ctx.config
        stored: dict[LineKey, int] = {}
        self.keeper = Keeper(
            ctx.peer_id,
            ctx.logs,
            ctx.store,
            ctx.replicas,
            config.limits,
            config.horizon_ms,
            stored,
        )
        self.commits = Commits(ctx, self.sealer, self.keeper, stored, Rewriting(ctx))
        self.cursors = Cursors(ctx, self.commits)
        self.forks = Forks(
            ctx, self.admission, self.keeper, self.commits, self._closing, self._froze
        )
        self.ingest = Ingest(
            ctx,
            self.admission,
            self.keeper,
            self.lives,
            self.forks,
            self.commits.relay,
            self.commits.applied,
            self._forgotten,
        )
        self.exchanges = Exchanges(
            ctx,
            self.ingest,
            self.forks,
            self.commits.stored,
            self.keeper.covered_sum,
            self._compared,
            self._trimmed,
        )

    def _reconcile(self) -> None:
        """What takes over and compares states."""
        ctx = self._ctx
        self.disputes = Disputes(ctx, self.standing)
        self.answers = Answers(ctx, self.standing, self.commits, self.keeper)
        self.showing = Showing(ctx, self.standing, self.commits, self.answers)
        self.reconciler = Reconciler(
            ctx,
            self.standing,
            Intake(ctx, self.admission, self.ingest, self.forks, self.disputes),
            self.admission,
            self.ingest,
            self.forks,
            self.keeper,
            self.commits,
            self.disputes,
            Doubts(ctx, self.disputes),
            Comparison(ctx),
            self.exchanges.start,
            Turns(ctx, self.standing),
        )
        self.upkeep = Upkeep(
            ctx, self.standing, self.keeper, self.commits, self.disputes, self.reconciler
        )
        self.joining = Joining(
            ctx, self.standing, self.exchanges, self.disputes, self.reconciler, self.upkeep
        )

    def _meet(self) -> None:
        """What knows other peers."""
        ctx = self._ctx
        self.introductions = Introductions(ctx, self.standing, self.lives, self.commits.put_head)
        self.carrying = Carrying(ctx, self.answers, self.admission, self.ingest, self.introductions)
        self.hearsay = Hearsay(ctx, self.introductions)
        self.health = LocalHealth()
        self.verdicts = Verdicts(ctx, self.introductions, self.health, self.commits.put_head)
        self.rounds = Rounds(
            ctx, self.standing, self.introductions, self.hearsay, self.exchanges, self.verdicts
        )
        self.handover = HandOver(ctx, self.commits, self.rounds, self.exchanges)
        self.standing.has_tried_all = self.rounds.has_tried_all
        self.looks = Looks(ctx, self.rounds, ctx.config.network, ctx.verifier, ctx.rights_of)
        self.probing = Probing(ctx, self.verdicts, self.health, self.rounds.call)
        self.links = Links(
            ctx,
            self.standing,
            self.introductions,
            self.hearsay,
            self.exchanges,
            self.probing,
            self.lives,
            self._greet,
            self._ended,
        )
        self.deadlines = (
            self.commits.next_deadline,
            ctx.fetcher.next_deadline,
            self.reconciler.next_deadline,
            self.standing.next_deadline,
            self.looks.next_deadline,
            self.keeper.next_deadline,
            self.handover.next_deadline,
        )
        """Of those that seldom have one; each may say None."""

    def _wrote(self, bucket: str, entries: list[Entry], stamp: Hlc) -> None:
        self.early.wrote(bucket, entries, stamp)

    def _set_back(self) -> None:
        self.setback.noticed()

    def _forgotten(self, bucket: str, origin: Origin, cells: Iterable[tuple[str, Cell]]) -> None:
        self.early.forgotten(bucket, origin, cells)

    def _compared(self, link: Link, is_equal: bool) -> None:
        self.upkeep.compared(link, is_equal=is_equal)

    def _closing(self) -> None:
        self.writing.open_epoch()

    def _froze(self, link: Link) -> None:
        self.reconciler.need(link, Need.FORK)

    def _greet(self, link: Link) -> None:
        self.commits.greet(link)
        self.forks.greet(link)

    def _ended(self, link: LinkId) -> None:
        self.forks.drop_link(link)
        self.upkeep.drop_link(link)

    def _trimmed(self, link: Link) -> None:
        self.reconciler.need(link)
