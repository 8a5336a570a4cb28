"""The mesh as one peer sees it: links, members, rounds, and whom to dial.

Invariant: at most one link to a peer stays. Of two opened at once both ends keep the one that the smaller key dialled; of two
epochs the newer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field, frozen

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.exchange import Exchanges
from gossipsync.core.membership.dialling import view_size
from gossipsync.core.membership.members import Member, refresh_s
from gossipsync.core.membership.presence import (
    Presence,
    Stance,
    is_genuine,
    make_presence,
    parse_presence,
)
from gossipsync.core.model import strict
from gossipsync.core.model.effects import Dial
from gossipsync.core.model.events import LinkClosed, LinkOpened, MemberChanged, StateChanged
from gossipsync.core.model.ids import Epoch, LinkId, PeerId, peer_text
from gossipsync.core.model.reasons import Reason
from gossipsync.core.wire.framing import FrameReader
from gossipsync.core.wire.messages import Credentials, Presences

_GREETING_BATCHES: Final = 8
"""A new link may carry this many batches of presence at once."""
_YIELD_S: Final = 0.3
"""Head start of the smaller key in dialling, so that two peers seldom dial each other at once."""
_LOST_EVERY: Final = 10
"""Every so many rounds one lost member and one seed are tried beyond the view."""
_SURPLUS_S: Final = 5.0
"""Intervals that a transient link lives."""


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


@define(eq=False)
class Mesh:
    """Links and members of one peer."""

    _ctx: Context
    _exchanges: Exchanges
    _greet: Callable[[Link], None]
    _put_head: Callable[[str, bytes | None], None]
    state: str = "alone"
    stance: Stance = Stance.UP
    addresses: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    last_round_s: float | None = None
    next_round_s: float = 0.0
    was_ready: bool = False
    _rounds: int = 0
    _next_presence_s: float = 0.0
    _own: Presence | None = None
    _wanted_links: set[str] = field(factory=set)

    def start(self, credential: bytes) -> None:
        """Show ourselves, and begin with rounds at once."""
        if credential:
            self._keep_credential(credential)
        self.addresses = self._ctx.config.addresses
        self.next_round_s = self._ctx.now.mono_s
        self.renew_presence()

    def set_addresses(self, addresses: tuple[str, ...]) -> None:
        """What others may dial has become known."""
        self.addresses = addresses
        self.renew_presence()
        for link in self._ctx.by_peer.values():
            self._tell_presence(link)

    def set_seeds(self, addresses: tuple[str, ...]) -> None:
        """What the seeds resolve to at present."""
        self.seeds = addresses
        if self.stance is Stance.UP:
            self._keep_links()

    def say_goodbye(self, stance: Stance) -> None:
        """Tell everybody that we go, and close all links after that."""
        self.renew_presence(stance)
        for link in list(self._ctx.by_peer.values()):
            self._tell_presence(link)
        self.update_state()

    # -- links -----------------------------------------------------------------------------------------------

    def link_up(self, link_id: LinkId, remote: LinkPeer) -> None:
        """A connection has proven who is there."""
        ctx = self._ctx
        if remote.dialled is not None:
            ctx.dialler.succeeded(remote.dialled, remote.peer, ctx.now.mono_s)
        link = self._new_link(link_id, remote)
        if not self._keep_credential(remote.credential):
            ctx.links[link_id] = link
            ctx.refuse(link, Reason.CREDENTIAL, "a link whose certificate is not a member's")
            ctx.hang_up(link, Reason.CREDENTIAL)
            return
        ctx.links[link_id] = link
        if self.stance is not Stance.UP or len(ctx.links) > ctx.config.limits.links:
            ctx.hang_up(link, "closing" if self.stance is not Stance.UP else Reason.LIMIT)
            return
        former = ctx.by_peer.get(remote.peer)
        if former is not None:
            extra = self._extra_of(former, link)
            ctx.hang_up(extra, "duplicate")
            if extra is link:
                return
        ctx.by_peer[remote.peer] = link
        self._open(link)

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
            ctx.now.mono_s,
            ctx.now.mono_s,
            is_transient=remote.dialled is not None and remote.dialled not in self._wanted_links,
            allowance=limits.messages_per_s,
            allowance_s=ctx.now.mono_s,
            told_credentials={remote.peer, ctx.peer_id},
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
            self._judge(member)
        ctx.emit(LinkOpened(link.id, link.peer, link.name))
        self._tell_presence(link, batches=_GREETING_BATCHES)
        self._greet(link)
        if link.is_dialer:  # an exchange serves both ends
            self._exchanges.start(link)
        self.update_state()

    def link_down(self, link_id: LinkId, reason: str) -> None:
        """A connection has ended, by whichever end."""
        ctx = self._ctx
        link = ctx.links.pop(link_id, None)
        if link is None:
            return
        ctx.fetcher.drop_link(link_id)
        ctx.emit(LinkClosed(link_id, link.peer, reason))
        if ctx.by_peer.get(link.peer) is not link:
            return
        del ctx.by_peer[link.peer]
        member = ctx.members.find(link.peer)
        if member is not None:
            member.is_linked = False
            member.heard_s = ctx.now.mono_s
            member.was_lost = not ctx.is_sparse and not link.is_closing
            self._judge(member)
        self.update_state()

    # -- presence --------------------------------------------------------------------------------------------

    def renew_presence(self, stance: Stance = Stance.UP) -> None:
        """Sign a newer presence of our own, unless a directory speaks for us."""
        ctx, config = self._ctx, self._ctx.config
        self.stance = stance
        if ctx.directory is not None:
            return
        stamp = max(ctx.now.wall_ms, 0 if self._own is None else self._own.stamp + 1)
        self._own = make_presence(
            network=config.network,
            peer=ctx.peer_id,
            stamp=stamp,
            epoch=Epoch(int.from_bytes(ctx.origin[32:], "big")),
            stance=stance,
            name=config.name,
            addresses=self.addresses,
            zone=config.zone,
            version=config.version,
            sign=ctx.sign,
        )
        ctx.members.own(self._own)
        self._next_presence_s = ctx.now.mono_s + refresh_s(ctx.mesh_size, config.gossip_interval_s)

    def _tell_presence(self, link: Link, batches: int = 1) -> None:
        """What changed since this link was last told, oldest first, within a byte budget."""
        ctx = self._ctx
        if ctx.directory is not None:
            return
        room = ctx.config.limits.presence_batch_bytes * batches
        news = [
            (seq, item)
            for seq, item in ctx.members.changed_since(link.told_presence_seq)
            if item.peer != link.peer
        ]
        news.reverse()
        chosen: list[Presence] = []
        for seq, presence in news:
            room -= len(presence.data)
            if room < 0 and chosen:
                break
            chosen.append(presence)
            link.told_presence_seq = seq
        if chosen:
            ctx.tell_credentials(link, (presence.peer for presence in chosen))
            ctx.send(link, Presences(tuple(presence.data for presence in chosen)))

    def on_presences(self, link: Link, message: Presences) -> None:
        """Presence data, the sender's or others'."""
        room = 2 * _GREETING_BATCHES * self._ctx.config.limits.presence_batch_bytes
        if sum(map(len, message.data)) > room:
            self._ctx.refuse(link, Reason.OVERSIZE, "more presence than anybody sends at once")
            return
        for data in message.data:
            self._take_presence(link, data)
        self.update_state()

    def _take_presence(self, link: Link | None, data: bytes) -> None:
        ctx = self._ctx
        if len(data) > ctx.config.limits.presence_bytes:
            ctx.refuse(link, Reason.OVERSIZE, "a presence")
            return
        try:
            presence, body, signature = parse_presence(data, ctx.config.network)
        except strict.MalformedError as error:
            ctx.refuse(link, Reason.MALFORMED, str(error))
            return
        if presence.peer == ctx.peer_id:
            self._heard_of_self(presence, body, signature)
            return
        if not ctx.members.is_news(presence):
            return
        if presence.peer not in ctx.credentials:
            ctx.refuse(
                link, Reason.NO_CREDENTIAL, "a presence of somebody who has shown no certificate"
            )
            return
        if not is_genuine(presence, body, signature, ctx.verifier):
            ctx.refuse(link, Reason.SIGNATURE, "a presence not signed by its peer")
            return
        former = ctx.members.find(presence.peer)
        known = None if former is None else former.presence
        member = ctx.members.take(presence, ctx.now.mono_s)
        if member is None:
            ctx.refuse(link, Reason.LIMIT, "too many members")
            return
        self._judge(member)
        if link is not None and (known is None or _lasting(known) != _lasting(presence)):
            is_gone = presence.stance is Stance.LEFT
            self._put_head(f"presence/{peer_text(presence.peer)}", None if is_gone else data)
            if presence.stance is not Stance.UP or (known is None and not ctx.is_sparse):
                self._spread(link)

    def _heard_of_self(self, presence: Presence, body: bytes, signature: bytes) -> None:
        """An earlier start of ours, with a clock further ahead: go on above it, or others keep the old word."""
        if (
            self._own is not None
            and presence.stamp >= self._own.stamp
            and presence.data != self._own.data
        ) and is_genuine(presence, body, signature, self._ctx.verifier):
            self._own = presence
            self.renew_presence(self.stance)

    def _spread(self, source: Link | None) -> None:
        """Somebody came or said goodbye: pass it on at once."""
        for link in self._ctx.by_peer.values():
            if link is not source:
                self._tell_presence(link)

    def on_credentials(self, link: Link, message: Credentials) -> None:
        """Certificates of peers whose bundles or presence follow."""
        for der in message.certificates:
            is_small = len(der) <= self._ctx.config.limits.credential_bytes
            if not is_small or not self._keep_credential(der):
                self._ctx.refuse(link, Reason.CREDENTIAL, "not a certificate of this network")
                return

    def _keep_credential(self, der: bytes) -> bool:
        ctx = self._ctx
        read = ctx.verifier.read_credential(der)
        if read is None:
            return False
        peer, capability = PeerId(read[0]), read[1]
        known = ctx.credentials.get(peer)
        if known is not None and known[1].not_after_ms >= capability.not_after_ms:
            return True
        if known is None and len(ctx.credentials) >= ctx.config.limits.members:
            return False
        ctx.credentials[peer] = (der, capability)
        self._put_head(f"credential/{peer_text(peer)}", der)
        return True

    def load_head(self, name: str, value: bytes) -> None:
        """A presence or certificate that an earlier run stored; credentials sort before presence data."""
        if name.startswith("credential/"):
            read = self._ctx.verifier.read_credential(value)
            if read is not None:
                self._ctx.credentials[PeerId(read[0])] = (value, read[1])
        elif name.startswith("presence/"):
            self._take_presence(None, value)

    # -- rounds ----------------------------------------------------------------------------------------------

    def round(self) -> None:
        """One periodic choice of partners, and the upkeep that goes with it."""
        ctx = self._ctx
        interval = ctx.config.gossip_interval_s
        jitter = ctx.config.round_jitter
        self.next_round_s = ctx.now.mono_s + interval * (1 + jitter * (2 * ctx.rng.random() - 1))
        self._rounds += 1
        if ctx.directory is None:
            if ctx.now.mono_s >= self._next_presence_s:
                self.renew_presence(self.stance)
            for member in ctx.members:
                self._judge(member)
        self._drop_dead_links()
        if self.stance is Stance.UP:
            self._gossip()
            self._keep_links()
        self.update_state()

    def _gossip(self) -> None:
        """Talk with random partners: over their links, or over a transient one."""
        ctx = self._ctx
        if ctx.directory is not None:
            for peer, address in ctx.directory.partners(ctx.rng, ctx.config.fanout, ctx.peer_id):
                self._talk_with(peer, address)
            self.last_round_s = ctx.now.mono_s
            return
        others = [member.peer for member in ctx.members if member.state in ("alive", "suspect")]
        for peer in ctx.rng.sample(others, min(ctx.config.fanout, len(others))):
            link = ctx.by_peer.get(peer)
            if link is not None:
                self.exchange(link)
            elif ctx.is_sparse:
                self._dial_member(peer, is_wanted=False)
        if others:
            self.last_round_s = ctx.now.mono_s

    def _talk_with(self, peer: PeerId, address: str) -> None:
        link = self._ctx.by_peer.get(peer)
        if link is None:
            self.dial(address, peer, is_wanted=False)
        else:
            self.exchange(link)

    def exchange(self, link: Link) -> None:
        """Presence that changed, then a digest."""
        self._tell_presence(link)
        self._exchanges.start(link)

    def _drop_dead_links(self) -> None:
        ctx = self._ctx
        for link in list(ctx.links.values()):
            if self._exchanges.timed_out(link):
                ctx.hang_up(link, "unresponsive")
            elif link.is_transient and not link.exchanges and self._is_surplus(link):
                ctx.hang_up(link, "surplus")
            elif ctx.now.mono_s - link.heard_s > 10 * max(1.0, ctx.config.gossip_interval_s):
                self._exchanges.start(link)

    def _is_surplus(self, link: Link) -> bool:
        old = self._ctx.now.mono_s - link.opened_s > _SURPLUS_S * self._ctx.config.gossip_interval_s
        return old and self._ctx.is_sparse and len(self._ctx.by_peer) > self._view()

    def _view(self) -> int:
        config = self._ctx.config
        if self._ctx.is_sparse and config.view is not None:
            return config.view
        return view_size(self._ctx.mesh_size, config.full_mesh)

    def _keep_links(self) -> None:
        """Dial whom we lack: members up to the view, seeds while they may lead to somebody new."""
        ctx = self._ctx
        if ctx.directory is not None:
            missing = max(0, self._view() - len(ctx.by_peer) - ctx.dialler.dialling)
            for peer, address in ctx.directory.partners(ctx.rng, missing, ctx.peer_id):
                if peer not in ctx.by_peer:
                    self.dial(address, peer, is_wanted=True)
            return
        lacking = [
            member.peer
            for member in ctx.members
            if not member.is_linked and member.state not in ("left", "away")
        ]
        missing = self._view() - len(ctx.by_peer) - ctx.dialler.dialling
        if ctx.is_sparse:
            alive = [peer for peer in lacking if self._state_of(peer) == "alive"]
            lacking = ctx.rng.sample(alive, min(len(alive), max(0, missing)))
        for peer in lacking:
            self._dial_member(peer, is_wanted=True)
        if missing > 0 or not ctx.by_peer or self._rounds % _LOST_EVERY == 0:
            for address in self.seeds:
                self._dial_seed(address)
        if self._rounds % _LOST_EVERY == 0:
            away = [member.peer for member in ctx.members if member.state in ("down", "away")]
            for peer in ctx.rng.sample(away, min(1, len(away))):
                self._dial_member(peer, is_wanted=True)

    def _state_of(self, peer: PeerId) -> str:
        member = self._ctx.members.find(peer)
        return "left" if member is None else member.state

    def _dial_member(self, peer: PeerId, *, is_wanted: bool) -> None:
        member = self._ctx.members.find(peer)
        if member is not None and member.presence is not None:
            for address in member.presence.addresses[:1]:
                if peer < self._ctx.peer_id and self._ctx.dialler.who(address) is None:
                    self._ctx.dialler.hold_off(address, member.heard_s + _YIELD_S)
                self.dial(address, peer, is_wanted=is_wanted)

    def _dial_seed(self, address: str) -> None:
        who = self._ctx.dialler.who(address)
        if who is None or who not in self._ctx.by_peer:
            self.dial(address, None, is_wanted=True)

    def dial(self, address: str, peer: PeerId | None, *, is_wanted: bool) -> None:
        """Ask the driver for a link, if this address is not being tried or resting."""
        ctx = self._ctx
        if address in self.addresses or not ctx.dialler.may_dial(address, ctx.now.mono_s):
            return
        if is_wanted:
            self._wanted_links.add(address)
        else:
            self._wanted_links.discard(address)
        ctx.dialler.started(address)
        ctx.effects.append(Dial(address, peer))

    # -- states ----------------------------------------------------------------------------------------------

    def _judge(self, member: Member) -> None:
        ctx = self._ctx
        state = member.judge(ctx.now.mono_s, refresh_s(ctx.mesh_size, ctx.config.gossip_interval_s))
        if state != member.state or not member.was_shown:
            ctx.members.set_state(member, state)
            member.was_shown = True
            ctx.emit(MemberChanged(member.peer, member.name, state))

    def update_state(self) -> None:
        """alone → joining → ready, and back to alone when the last link has gone."""
        if self.stance is not Stance.UP:
            state = "leaving"
        elif not self._ctx.by_peer:
            state = "alone"
        elif self.state == "ready":
            state = "ready"
        else:
            synced = sum(link.is_synced for link in self._ctx.by_peer.values())
            state = "ready" if synced >= min(2, len(self._ctx.by_peer)) else "joining"
        if state != self.state:
            self.state = state
            self.was_ready |= state == "ready"
            self._ctx.emit(StateChanged(state))


def _lasting(presence: Presence) -> tuple[object, ...]:
    """What is worth storing again when it changes: all but the stamp."""
    return (presence.epoch, presence.stance, presence.name, presence.addresses, presence.zone)
