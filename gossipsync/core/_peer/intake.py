"""Intake: the pieces that answer a reconciliation's questions, and which of their cells are merged.

A cell above our line is always merged. One that our line covers has lost, and comes back only if it beats what is held, or by the
rules of `disputes`; a joiner takes all.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from attrs import define

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.disputes import Disputes
from gossipsync.core._peer.forks import Forks
from gossipsync.core._peer.ingest import Ingest
from gossipsync.core._peer.runs import Need, Run
from gossipsync.core._peer.transfer import Section
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.admission import Admission, AdmittedPiece, Refusal
from gossipsync.core.replication.cells import STAMP, Cell
from gossipsync.core.replication.celltree import CellTree


class Worth(Enum):
    """What one piece of an answer was worth."""

    NOTHING = auto()
    """It was refused, or all of it was here."""
    PROGRESS = auto()
    """Nothing was merged, but the answer got on: a proof, cells that were asked for, or the next place."""
    DATA = auto()
    """Something was merged."""
    REPEATED = auto()
    """Cells that were asked for and had been given before."""


@define(eq=False)
class Intake:
    """The pieces of one peer's runs."""

    _ctx: Context
    _admission: Admission
    _ingest: Ingest
    _forks: Forks
    _disputes: Disputes

    def take(self, link: Link, run: Run, data: bytes, section: Section | None) -> Worth:
        """Verify a proof or a piece, and merge the cells that are wanted."""
        ctx = self._ctx
        part = self._admission.admit_piece(data, ctx.now.wall_ms, link.peer)
        if isinstance(part, Refusal):
            if part.header is not None:
                run.bad.add((part.header.bucket, part.header.origin))
            run.is_sound &= part.reason is not Reason.SKEW
            if part.proof is not None:
                self._forks.take(link, part.proof)
            ctx.refuse(link, part.reason, part.detail)
            return Worth.NOTHING
        header = part.header
        key = (header.bucket, header.origin)
        if run.step in {"covered", "heads"}:
            is_new = key not in run.heads
            run.heads[key] = part
            return Worth.PROGRESS if is_new else Worth.NOTHING
        worth = Worth.NOTHING
        if section is not None:
            if not section.reached((*key, header.index)):
                return Worth.NOTHING
            worth = Worth.PROGRESS
        elif run.step == "fetch":
            tree = ctx.replicas[key[0]].tree(ctx.now.wall_ms, 0) if key[0] in ctx.replicas else None
            names_of = (tree or CellTree(key[0], 0)).names_of
            names = {name for _, cell in part.cells for name in names_of(cell)}
            worth = Worth.REPEATED if names <= run.came else Worth.PROGRESS
            run.came |= names
        if self._ingest.take_part(part, self._wants(link, run, part)):
            run.useful_s = link.gave_s = ctx.now.mono_s
            run.has_brought = True
            return worth if worth is Worth.REPEATED else Worth.DATA
        return worth

    def _wants(self, link: Link, run: Run, part: AdmittedPiece) -> Callable[[str, Cell], bool]:
        """Which cells of a piece are merged."""
        ctx, header = self._ctx, part.header
        log = ctx.logs.find((header.bucket, header.origin))
        is_frozen = log is not None and log.fork is not None
        if run.need is Need.FORK and not is_frozen:
            return lambda _key, _cell: False  # other logs are told by lines, in their order
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
