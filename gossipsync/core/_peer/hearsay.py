"""Hearsay: how presence spreads in a mesh too large for everybody to be linked with everybody.

Whoever opens an exchange names whom it has heard of lately, sixteen bytes each; the other asks for what it lacks and names in turn what
was not named, each member over each link once. Nothing is sent that was not asked for, so a presence crosses the wire once for each member however many links there are,
and a certificate only to whoever has not got it. Who knows far fewer members than the other (a newcomer) reads the other's whole table, page by
page, from one link at a time. Demers et al., "Epidemic Algorithms for Replicated Database Maintenance" (1987): rumours, with
the interest in them ending after the time in which they reach everybody.

Invariant: what is named here makes nobody a member; only the presence itself does, through introductions.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.introductions import GREETING_BATCHES, Introductions
from gossipsync.core.model.ids import LinkId, PeerId
from gossipsync.core.model.reasons import Reason
from gossipsync.core.wire.messages import (
    SHORT_KEY_BYTES,
    Known,
    Page,
    Presences,
    Seek,
    WireKnown,
)

_LEAST_ROUNDS: Final = 4
"""Rounds for which a presence is named, at least; else log2 of the members, which reaches nearly all of them."""
_SURELY_SENT: Final = 256
"""Rows of which all are sent if they are asked for, at 256 bytes a presence; where more are new at once, they are named until they are old."""
_PAGE_BATCHES: Final = 4
_NEWEST: Final = b"\xff" * 16
"""No less than any row: nobody is told of itself."""
_INTRODUCED: Final = 16
"""Members named to somebody for whom there is no link left."""


@define(eq=False)
class Hearsay:
    """Naming, asking and answering of one peer."""

    _ctx: Context
    _introductions: Introductions
    _asked: dict[bytes, WireKnown] = field(factory=dict)
    _asked_s: float = 0.0
    _reading: LinkId | None = None
    """The link whose member's table we read."""

    def open(self, link: Link) -> None:
        """Begin: name whom we have heard of lately."""
        if self._ctx.directory is None:
            rows = self._recent(link) if self._ctx.is_sparse else ()
            self._ctx.send(link, Known(self._ctx.mesh_size, False, tuple(rows)))

    def receive(self, link: Link, message: Known | Seek | Page) -> None:
        """One step of naming, asking and reading."""
        match message:
            case Known():
                self.on_known(link, message)
            case Seek():
                self.on_seek(link, message)
            case Page():
                self.on_page(link, message)

    def _recent(self, link: Link) -> list[WireKnown]:
        """Whom we have heard of lately, but for those that we named over this link before."""
        ctx = self._ctx
        rounds = max(_LEAST_ROUNDS, ctx.mesh_size.bit_length())
        since_s = ctx.now.mono_s - rounds * ctx.config.gossip_interval_s
        seq = link.told_presence_seq
        rows = ctx.members.rows_since(since_s, ctx.config.limits.known_rows, seq)
        if len(rows) <= _SURELY_SENT:
            link.told_presence_seq = ctx.members.seq
        return rows

    def on_known(self, link: Link, message: Known) -> None:
        """Somebody names whom it has heard of: ask for what we lack, and name what it did not."""
        ctx = self._ctx
        if len(message.rows) > ctx.config.limits.known_rows:
            ctx.refuse(link, Reason.OVERSIZE, "names too many at once")
            return
        asked = self._under_way()
        lacking = [
            row
            for row in ctx.members.lacking(message.rows)
            if row > asked.get(row[:SHORT_KEY_BYTES], b"")
        ]
        if _is_far_behind(ctx.mesh_size, message.members) and self._reading is None:
            self._reading = link.id
            ctx.send(link, Seek((), b""))
        elif lacking and self._reading is None:  # what is being read will bring most of it
            sought = {row[:SHORT_KEY_BYTES]: row for row in lacking}
            asked.update(sought)
            ctx.send(link, Seek(tuple((short, self._needs(short)) for short in sought), None))
        if not message.is_answer:
            self._answer(link, message)

    def _under_way(self) -> dict[bytes, WireKnown]:
        """What was asked for so lately that the answer may be on its way: asking twice would fetch it twice."""
        now_s, patience_s = self._ctx.now.mono_s, self._ctx.config.gossip_interval_s
        if now_s - self._asked_s > patience_s:
            self._asked, self._asked_s = {}, now_s
        return self._asked

    def _needs(self, short: bytes) -> bool:
        peer = self._ctx.members.by_short(short)
        return peer is None or peer not in self._ctx.credentials

    def _answer(self, link: Link, message: Known) -> None:
        ctx = self._ctx
        news: tuple[WireKnown, ...] = ()
        if ctx.is_sparse:
            named = set(message.rows)
            fresh = [row for row in self._recent(link) if row not in named]
            if fresh:
                # Of whom it named with a newer stamp we have nothing to say.
                stamps = {row[:SHORT_KEY_BYTES]: row for row in message.rows}
                stamps[link.peer[:SHORT_KEY_BYTES]] = _NEWEST
                news = tuple(row for row in fresh if row > stamps.get(row[:SHORT_KEY_BYTES], b""))
        if news or _is_far_behind(message.members, ctx.mesh_size):
            ctx.send(link, Known(ctx.mesh_size, True, news))

    def on_seek(self, link: Link, message: Seek) -> None:
        """Send the presence data asked for, as far as they fit."""
        ctx, limits = self._ctx, self._ctx.config.limits
        if len(message.rows) > limits.known_rows:
            ctx.refuse(link, Reason.OVERSIZE, "asks for too many at once")
            return
        if message.after is not None:
            self._send_page(link, message.after)
            return
        room = GREETING_BATCHES * limits.presence_batch_bytes
        chosen: list[bytes] = []
        told: list[PeerId] = []
        certified: list[PeerId] = []
        for short, is_needed in message.rows:
            peer = ctx.members.by_short(short)
            presence = None if peer is None else ctx.members.presence_of(peer)
            if peer is None or presence is None or len(presence.data) > room:
                continue
            room -= len(presence.data)
            chosen.append(presence.data)
            told.append(peer)
            if is_needed:
                certified.append(peer)
        if chosen:
            ctx.tell_credentials(link, certified)
            ctx.send(link, Presences(tuple(chosen)))
            ctx.tell_doubts(link, told)

    def _send_page(self, link: Link, after: bytes) -> None:
        ctx = self._ctx
        room = _PAGE_BATCHES * ctx.config.limits.presence_batch_bytes
        page = ctx.members.from_key(after, room)
        ctx.tell_credentials(link, (presence.peer for presence in page))
        ctx.send(link, Page(tuple(presence.data for presence in page)))
        ctx.tell_doubts(link, (presence.peer for presence in page))

    def on_page(self, link: Link, message: Page) -> None:
        """A part of the other's table: take it, and ask for the next."""
        self._introductions.on_presences(link, Presences(message.data))
        if self._reading != link.id or link.is_closing:
            return
        last = self._introductions.peer_in(message.data[-1]) if message.data else None
        if last is None:
            self._reading = None
        else:
            self._ctx.send(link, Seek((), last))

    def introduce(self, link: Link) -> None:
        """Name some others to somebody for whom there is no link left."""
        ctx = self._ctx
        peers = ctx.rng.sample(ctx.members.present, min(_INTRODUCED, len(ctx.members.present)))
        known = [(peer, presence) for peer in peers if (presence := ctx.members.presence_of(peer))]
        if known and ctx.directory is None:
            ctx.tell_credentials(link, (peer for peer, _ in known))
            ctx.send(link, Page(tuple(presence.data for _, presence in known)))

    def link_down(self, link: LinkId) -> None:
        """A link has ended: whatever was read over it is read elsewhere."""
        if self._reading == link:
            self._reading = None


def _is_far_behind(fewer: int, more: int) -> bool:
    """Is somebody who knows so few members a newcomer to somebody who knows so many?"""
    return more > fewer + fewer // 4 + 4
