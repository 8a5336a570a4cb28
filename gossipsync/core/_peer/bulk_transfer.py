"""Bulk transfer: the questions and answers of a first transfer, to its source and to the members that help.

See `transfer` for the sections, and for why others cannot spoil a run.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from itertools import islice
from typing import Final

from attrs import define

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.intake import Intake, Worth
from gossipsync.core._peer.runs import Run
from gossipsync.core._peer.transfer import Section, Transfer
from gossipsync.core._peer.turns import PATIENCE_S, Turns
from gossipsync.core.model.ids import LinkId
from gossipsync.core.wire.reconciling import Dump, Parts

STEP: Final = "dump"
_AT_ONCE: Final = 4
"""Members that a first transfer draws on at once."""
_SAMPLE: Final = 16
"""Lines to be taken over that a member must have to take part."""


class Progress(Enum):
    """How a transfer stands."""

    UNDER_WAY = auto()
    OVER = auto()
    BARREN = auto()
    """The source answers without getting on."""


@define(eq=False)
class BulkTransfer:
    """The first transfer of one peer, if one is under way or left over. `failed(link, asked_s)`: another member brought nothing."""

    _ctx: Context
    _turns: Turns
    _intake: Intake
    _failed: Callable[[Link, float], None]
    _transfer: Transfer | None = None

    def begin(self, link: Link, run: Run) -> Progress:
        """Draw all pieces from the source, and from others that have as much; or the pieces that a former run left over."""
        run.step, run.wants_dump = STEP, True
        self._recall()
        others = self._others(run, _AT_ONCE - 1)
        if self._transfer is None:
            lines = {key: part.header.index for key, part in run.heads.items()}
            self._transfer = Transfer(run.theirs | lines, 1 + len(others))
        self._transfer.begin([link.id, *others])
        return self._spread(run)

    def _recall(self) -> None:
        """Members that a former run left out may take part again."""
        if self._transfer is not None:
            self._transfer.begin(())

    def completed(self) -> None:
        """A run has compared everything: there is nothing to resume."""
        self._transfer = None

    def is_idle(self, run: Run) -> bool:
        """Whether a run's source owes no answer, because it is done and others are not."""
        transfer = self._transfer
        return run.step == STEP and transfer is not None and transfer.of(run.link) is None

    def takes_part(self, link: Link, run: Run) -> bool:
        """Whether a member other than the source owes pieces."""
        transfer = self._transfer
        return run.step == STEP and transfer is not None and transfer.of(link.id) is not None

    def drop_link(self, link: LinkId, run: Run) -> Progress:
        """The link of another has ended."""
        if self._transfer is None or run.step != STEP:
            return Progress.UNDER_WAY
        self._transfer.drop(link)
        return self._spread(run)

    def next_deadline(self, run: Run) -> float | None:
        """When a member other than the source will be late, or may be relieved."""
        if self._transfer is None or run.step != STEP:
            return None
        return self._transfer.next_deadline(self._ctx.now.mono_s, PATIENCE_S, run.link)

    def expire(self, run: Run) -> Progress:
        """Leave out the others that are silent, and give their sections to others."""
        transfer = self._transfer
        if transfer is None or run.step != STEP:
            return Progress.UNDER_WAY
        for section in list(transfer.sections):
            is_late = self._ctx.now.mono_s - section.asked_s > PATIENCE_S
            if section.link is not None and section.link != run.link and is_late:
                self._leave_out(section.link, section)
        return self._spread(run)

    def on_parts(self, link: Link, run: Run, message: Parts) -> Progress:
        """Pieces of a section."""
        transfer = self._transfer
        section = None if transfer is None else transfer.of(link.id)
        worth = []
        for data in message.pieces:
            if link.is_closing:
                return Progress.UNDER_WAY
            worth.append(self._intake.take(link, run, data, section))
        if transfer is None or section is None:
            return Progress.UNDER_WAY
        is_source = link.id == run.link
        is_on = Worth.DATA in worth or Worth.PROGRESS in worth
        if message.is_cut and not is_on:
            if is_source:
                return Progress.BARREN
            self._leave_out(link.id, section)
        elif not is_on and not is_source:
            transfer.showed_nothing(section)
        elif message.is_cut and Worth.DATA in worth and not transfer.is_at_end(section):
            self._ask(link, run, section)
        else:
            transfer.finish(section)  # the survey finds the pieces that were left out
        return self._spread(run)

    def _others(self, run: Run, room: int) -> list[LinkId]:
        """At most so many other members that have most of the lines to be taken over, and do not rest."""
        ctx, transfer = self._ctx, self._transfer
        known = () if transfer is None else (*transfer.members, *transfer.left_out)
        sample = list(islice(run.theirs, _SAMPLE))
        able = [
            link.peer
            for link in ctx.by_peer.values()
            if link.id != run.link
            and link.id not in known
            and not link.is_closing
            and self._turns.may_ask(link)
            and ctx.sources.rests_until_s(link.peer) <= ctx.now.mono_s
            and all(ctx.fetcher.index_at(link.id, key) for key in sample)
        ]
        drawn = ctx.rng.sample(able, min(len(able), room)) if room > 0 else []
        return [ctx.by_peer[peer].id for peer in drawn]

    def _spread(self, run: Run) -> Progress:
        """Ask every member that has no question for its next pieces."""
        transfer, ctx = self._transfer, self._ctx
        assert transfer is not None
        transfer.members += self._others(run, _AT_ONCE - len(transfer.members))
        for link_id in transfer.members:
            link = ctx.links.get(link_id)
            if link is None or transfer.of(link_id) is not None:
                continue
            section = transfer.assign(link_id, ctx.now.mono_s)
            if section is not None:
                self._ask(link, run, section)
        return Progress.OVER if transfer.is_over else Progress.UNDER_WAY

    def _ask(self, link: Link, run: Run, section: Section) -> None:
        section.asked_s = link.reconciled_s = self._ctx.now.mono_s
        if link.id == run.link:
            run.asked_s, run.asked_bytes = section.asked_s, link.received_bytes
        self._ctx.send(link, Dump(run.number, section.after, section.until))

    def _leave_out(self, link_id: LinkId, section: Section) -> None:
        """A member other than the source did not answer, or not with pieces that get on."""
        assert self._transfer is not None
        self._transfer.drop(link_id)
        link = self._ctx.links.get(link_id)
        if link is not None:
            self._failed(link, section.asked_s)
