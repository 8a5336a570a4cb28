"""Links: connections that have proven who is at their other end, as they come and go.

Invariant: at most one link to a peer stays. Of two opened at once both ends keep the one that the smaller key dialled; of two
epochs the newer.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, frozen

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.exchange import Exchanges
from gossipsync.core._peer.hearsay import Hearsay
from gossipsync.core._peer.introductions import GREETING_BATCHES, Introductions
from gossipsync.core._peer.lives import Lives
from gossipsync.core._peer.probing import Probing
from gossipsync.core._peer.standing import Standing
from gossipsync.core.model.events import LinkClosed, LinkOpened
from gossipsync.core.model.ids import Epoch, LinkId, PeerId
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.budgets import Budget
from gossipsync.core.wire.framing import FrameReader
from gossipsync.core.wire.messages import SHORT_KEY_BYTES, Seek
from gossipsync.core.wire.versions import PROTOCOL_VERSION


@frozen
class LinkPeer:
    """Who is at the other end of a new link, as the hello and TLS have proven."""

    peer: PeerId
    name: str
    epoch: Epoch
    address: str | None
    """What it says others may dial."""
    version: str
    credential: bytes
    """Its certificate, DER."""
    is_dialer: bool
    """Did we dial?"""
    dialled: str | None
    """The address that we dialled."""
    protocol: int = PROTOCOL_VERSION
    """The protocol that both hellos agreed on."""


@define(eq=False)
class Links:
    """All links of one peer. `greet(link)` tells a new one what we have stored of its own, `ended(link)` that it is gone."""

    _ctx: Context
    _standing: Standing
    _introductions: Introductions
    _hearsay: Hearsay
    _exchanges: Exchanges
    _probing: Probing
    _lives: Lives
    _greet: Callable[[Link], None]
    _ended: Callable[[LinkId], None]

    def up(self, link_id: LinkId, remote: LinkPeer) -> None:
        """A connection has proven who is there."""
        ctx = self._ctx
        if remote.dialled is not None:
            ctx.dialler.succeeded(remote.dialled, remote.peer, ctx.now.mono_s)
        link = self._new_link(link_id, remote)
        refused = self._introductions.keep_credential(remote.credential)
        if refused is not None:
            ctx.links[link_id] = link
            ctx.refuse(link, refused, "a link whose certificate cannot be taken")
            ctx.hang_up(link, refused)
            return
        ctx.links[link_id] = link
        if not self._standing.is_up or len(ctx.links) > ctx.config.limits.links:
            self._hearsay.introduce(link)
            ctx.hang_up(link, "closing" if not self._standing.is_up else Reason.LIMIT)
            return
        former = ctx.by_peer.get(remote.peer)
        if former is not None:
            extra = self._extra_of(former, link)
            if extra is link and link.epoch != former.epoch:
                self._hear_out(link)
                return
            ctx.hang_up(extra, "duplicate")
            if extra is link:
                return
        ctx.by_peer[remote.peer] = link
        self._open(link)

    def _hear_out(self, link: Link) -> None:
        """An older life of a peer whose newer one is linked: each is to know of the other, then this link goes.

        It may also be the peer itself, with its clock set back, before the link of its last run has timed out.
        """
        link.is_spare = True
        self._introductions.tell_of_self(link)
        self._ctx.send(link, Seek(((link.peer[:SHORT_KEY_BYTES], False),), None))

    def _new_link(self, link_id: LinkId, remote: LinkPeer) -> Link:
        ctx, limits = self._ctx, self._ctx.config.limits
        return Link(
            link_id,
            remote.peer,
            remote.name,
            remote.epoch,
            remote.address,
            remote.is_dialer,
            remote.dialled,
            FrameReader(limits.frame_bytes),
            Budget(limits),
            ctx.now.mono_s,
            ctx.now.mono_s,
            is_transient=remote.dialled is not None and not ctx.dialler.is_wanted(remote.dialled),
            allowance=limits.messages_per_s,
            allowance_s=ctx.now.mono_s,
            told_credentials={remote.peer, ctx.peer_id},
            protocol=remote.protocol,
        )

    def _extra_of(self, former: Link, fresh: Link) -> Link:
        """Which of two links to one peer goes; both ends must say the same."""
        if former.epoch != fresh.epoch:
            return former if fresh.epoch > former.epoch else fresh
        if former.is_dialer == fresh.is_dialer:
            return former
        keeps_mine = self._ctx.peer_id < fresh.peer
        return fresh if former.is_dialer == keeps_mine else former

    def _open(self, link: Link) -> None:
        ctx = self._ctx
        member = ctx.members.heard(link.peer, ctx.now.mono_s)
        if member is not None:
            member.is_linked = True
            member.hello_name = link.name
            ctx.judge(member)
        ctx.emit(LinkOpened(link.id, link.peer, link.name))
        self._standing.greet(link)
        self._introductions.tell_of_self(link)
        if not ctx.is_sparse:
            self._introductions.tell(link, batches=GREETING_BATCHES)
        self._greet(link)
        self._probing.link_up(link)
        if link.is_dialer:  # an exchange serves both ends
            self._hearsay.open(link)
            self._exchanges.start(link)
        self._standing.update()

    def down(self, link_id: LinkId, reason: str) -> None:
        """A connection has ended, by whichever end."""
        ctx = self._ctx
        link = ctx.links.pop(link_id, None)
        if link is None:
            return
        ctx.fetcher.drop_link(link_id)
        if link.dialled is not None and (pause_s := self._lives.pause_s):
            ctx.dialler.hold_off(link.dialled, ctx.now.mono_s + pause_s)
        self._ended(link_id)
        self._hearsay.link_down(link_id)
        ctx.emit(LinkClosed(link_id, link.peer, reason))
        if ctx.by_peer.get(link.peer) is not link:
            return
        del ctx.by_peer[link.peer]
        member = ctx.members.find(link.peer)
        if member is not None:
            member.is_linked = False
            member.heard_s = max(member.heard_s, link.heard_s)
            is_broken = not link.is_closing and not link.is_parting
            if is_broken and not ctx.is_sparse:
                member.lost_stamp = member.clock_ms(ctx.now.mono_s)
            if self._standing.is_up:  # else it is we who go, and that says nothing about the others
                ctx.judge(member)
        if self._standing.is_up:
            self._probing.link_down(link)
        self._standing.update()

    def may_speak(self, link: Link) -> bool:
        """May it send another message? A token bucket; whoever empties it is hung up on."""
        ctx = self._ctx
        limit = ctx.config.limits.messages_per_s
        link.allowance = min(limit, link.allowance + (ctx.now.mono_s - link.allowance_s) * limit)
        link.allowance_s = ctx.now.mono_s
        if link.is_closing:
            return False
        if link.allowance < 1:
            ctx.refuse(link, Reason.RATE, "too many messages")
            ctx.hang_up(link, Reason.RATE)
            return False
        link.allowance -= 1
        return True
