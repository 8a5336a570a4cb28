"""Rounds: with whom to talk now, whom to dial, and which links to drop.

Up to `full_mesh` members everybody is linked, and partners are chosen at random among all that may be there. Beyond, most are
chosen among those linked, for a new link costs a handshake at both ends; some among all, over a link that is opened for one exchange
and closed again, so that whatever the view looks like, what is known by some becomes known by all. Where there are zones, three
quarters of partners and of the view are of our own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import define

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.exchange import Exchanges
from gossipsync.core._peer.hearsay import Hearsay
from gossipsync.core._peer.introductions import Introductions
from gossipsync.core._peer.standing import Standing
from gossipsync.core._peer.verdicts import Verdicts
from gossipsync.core.membership.dialling import view_size
from gossipsync.core.membership.members import Member
from gossipsync.core.model.effects import Dial
from gossipsync.core.model.ids import PeerId

_YIELD_S: Final = 0.3
"""Head start of the smaller key in dialling, so that two peers seldom dial each other at once."""
_STRANGERS: Final = 0.125
"""Share of a sparse mesh's partners that are drawn among all members, not only among those linked."""
_LOST_EVERY: Final = 10
"""Every so many rounds one lost member and one seed are tried beyond the view."""
_ALONE: Final = 4
"""Lost members tried every round while there is no link at all."""
_FORGET_EVERY: Final = 100
"""Every so many rounds the addresses that nobody names any more are forgotten."""
_FAR_LINKS: Final = 2
"""Links to other zones that a view has at least, beyond its size if need be: one of them may break."""
_REACH_AT_ONCE: Final = 16
"""Dials for one write's acks, or one token, at a time: each is a TLS handshake at both ends."""
_SURPLUS_S: Final = 2.0
"""Intervals that a transient link lives."""
_RECONCILING_S: Final = 10.0
"""How long a reconciliation may be silent: whoever asks and whoever answers may have opened the link, and either keeps it so long."""
_CROWD: Final = 3
"""Views' worth of links beyond which the oldest that others opened go: at a start all the mesh is linked with its seeds."""
_ACQUAINTED_S: Final = 10.0
"""Intervals after which whoever opened such a link knows enough others."""
_SILENT_S: Final = 10.0
"""Intervals (at least as many seconds) after which a silent link is asked whether it lives."""
_STEP_MS: Final = 1000
"""A change between our two clocks from one round to the next that no slewing makes: the wall clock was set."""


@define(eq=False)
class Rounds:
    """The periodic part of one peer."""

    _ctx: Context
    _standing: Standing
    _introductions: Introductions
    _hearsay: Hearsay
    _exchanges: Exchanges
    _verdicts: Verdicts
    seeds: tuple[str, ...] = ()
    """What the configured seeds resolve to."""
    last_s: float | None = None
    """When this peer last talked with a partner; monotonic."""
    next_s: float = 0.0
    _count: int = 0
    _offset_ms: float | None = None
    """Of the wall clock from the monotonic one, at the last round."""

    def set_seeds(self, addresses: tuple[str, ...]) -> None:
        """What the seeds resolve to at present."""
        self.seeds = addresses
        if self._standing.is_up:
            self._keep_links()

    def round(self) -> None:
        """One periodic choice of partners, and the upkeep that goes with it."""
        ctx = self._ctx
        interval = ctx.config.gossip_interval_s
        jitter = ctx.config.round_jitter
        self.next_s = ctx.now.mono_s + interval * (1 + jitter * (2 * ctx.rng.random() - 1))
        self._count += 1
        self._notice_step()
        if ctx.directory is None:
            self._introductions.renew_if_due()
            self._judge()
        self._drop_dead_links()
        if self._standing.is_up:
            self._gossip()
            self._keep_links()
        self._standing.update()

    def _notice_step(self) -> None:
        """Lines that wait for our clock need not wait on where somebody has set it right."""
        before, self._offset_ms = (
            self._offset_ms,
            self._ctx.now.wall_ms - 1000 * self._ctx.now.mono_s,
        )
        if before is not None and abs(self._offset_ms - before) > _STEP_MS:
            self._ctx.fetcher.resume()

    def _judge(self) -> None:
        """Look at everybody; in a large mesh at those whose silence may have lasted long enough."""
        ctx = self._ctx
        members = ctx.members
        refresh = ctx.refresh_s
        again_s = max(ctx.config.gossip_interval_s, refresh / 4)
        looked_at = members.due(ctx.now.mono_s, refresh, again_s) if ctx.is_sparse else members
        for member in list(looked_at):
            ctx.judge(member)
            if self._verdicts.is_overdue(member):
                self._verdicts.evict(member)

    def _gossip(self) -> None:
        """Talk with random partners: over their links, or over a transient one."""
        ctx = self._ctx
        if ctx.directory is not None:
            for peer, address in ctx.directory.partners(ctx.rng, ctx.config.fanout, ctx.peer_id):
                self._talk_with(peer, address)
            self.last_s = ctx.now.mono_s
            return
        for peer in self._partners():
            link = ctx.by_peer.get(peer)
            if link is not None:
                self.exchange(link)
            elif ctx.is_sparse:
                self._dial_member(peer, is_wanted=False)
        if ctx.members.present:
            self.last_s = ctx.now.mono_s

    def _partners(self) -> list[PeerId]:
        ctx = self._ctx
        fanout, linked = ctx.config.fanout, list(ctx.by_peer)
        strangers = fanout
        if ctx.is_sparse and len(linked) >= fanout:
            strangers = sum(ctx.rng.random() < _STRANGERS for _ in range(fanout))
        near = ctx.rng.sample(linked, fanout - strangers)
        return near + ctx.members.draw(ctx.rng, strangers, ctx.config.zone)

    def _talk_with(self, peer: PeerId, address: str) -> None:
        link = self._ctx.by_peer.get(peer)
        if link is None:
            self.dial(address, peer, is_wanted=False)
        else:
            self.exchange(link)

    def exchange(self, link: Link) -> None:
        """Presence that changed, then a digest."""
        if self._ctx.is_sparse:
            self._hearsay.open(link)
        else:
            self._introductions.tell(link)
        self._exchanges.start(link)

    def _drop_dead_links(self) -> None:
        ctx = self._ctx
        heard_s = ctx.now.mono_s - _SILENT_S * max(1.0, ctx.config.gossip_interval_s)
        for link in self._crowding():
            ctx.hang_up(link, "surplus")
        for link in list(ctx.links.values()):
            if link.is_spare and link.opened_s < ctx.now.mono_s - ctx.config.gossip_interval_s:
                ctx.hang_up(link, "duplicate")
            elif self._exchanges.timed_out(link):
                ctx.hang_up(link, "unresponsive")
            elif self._is_done(link) and self._is_surplus(link):
                ctx.hang_up(link, "surplus")
            elif link.heard_s < heard_s:
                self._exchanges.start(link)

    def _crowding(self) -> list[Link]:
        """Of far more links than a view some of the oldest that others opened, so many a round that nobody notices."""
        ctx, view = self._ctx, self._view()
        beyond = len(ctx.by_peer) - max(_CROWD * view, ctx.config.full_mesh)
        if beyond <= 0 or not ctx.is_sparse:
            return []
        opened_s = ctx.now.mono_s - _ACQUAINTED_S * ctx.config.gossip_interval_s
        old = [
            link
            for link in ctx.by_peer.values()
            if link.opened_s < opened_s and not link.is_dialer and self._is_idle(link)
        ]
        return sorted(old, key=lambda link: link.opened_s)[: min(beyond, view)]

    def _is_done(self, link: Link) -> bool:
        return link.is_transient and self._is_idle(link)

    def _is_idle(self, link: Link) -> bool:
        is_asked = self._ctx.now.mono_s - link.reconciled_s < _RECONCILING_S
        is_busy = any(not exchange.is_late for exchange in link.exchanges.values())
        return not is_busy and not is_asked

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
        missing = self._view() - len(ctx.by_peer) - ctx.dialler.dialling
        if ctx.is_sparse:
            lacking = self._chosen(-(-missing // 2))  # as many others dial us
        else:
            lacking = [
                member.peer
                for member in ctx.members
                if not member.is_linked and member.state not in ("left", "away")
            ]
        for peer in lacking:
            self._dial_member(peer, is_wanted=True)
        self._try_seeds(missing)
        if self._count % _FORGET_EVERY == 0:
            known = [*(member.peer for member in ctx.members), *ctx.members.lost]
            presences = [found for peer in known if (found := ctx.members.presence_of(peer))]
            named = {address for presence in presences for address in presence.addresses}
            ctx.dialler.forget_except(named.union(self.seeds))
        if self._count % _LOST_EVERY == 0 or not ctx.by_peer:
            away = [member.peer for member in ctx.members if member.state in ("down", "away")]
            away += ctx.members.lost
            for peer in ctx.rng.sample(away, min(1 if ctx.by_peer else _ALONE, len(away))):
                self._dial_member(peer, is_wanted=True)

    def _try_seeds(self, missing: int) -> None:
        """Dial the seeds while they may lead to somebody new, and now and then lest two halves of a mesh stay two.

        Who knows enough others leaves them alone, for a large mesh would be upon them all at once; of all together each seed is
        tried about once a round.
        """
        ctx = self._ctx
        is_time = self._count % _LOST_EVERY == 0
        unlinked = len(ctx.members.present) - len(ctx.by_peer)
        may_help = unlinked < missing if ctx.is_sparse else missing > 0 or is_time
        if may_help or not ctx.by_peer:
            for address in self.seeds:
                self._dial_seed(address, is_wanted=True)
        elif is_time and self.seeds:
            share = _LOST_EVERY * len(self.seeds) / ctx.mesh_size
            chosen = int(ctx.rng.random() * len(self.seeds) / min(1.0, share))
            if chosen < len(self.seeds):
                self._dial_seed(self.seeds[chosen], is_wanted=False)

    def has_tried_all(self) -> bool:
        """Whether every seed was dialled with an outcome, in a full mesh every member without a link too, and no dial is under way."""
        ctx = self._ctx
        if ctx.dialler.dialling or (ctx.config.seeds and not self.seeds):
            return False
        others = set(self.seeds).difference(self._introductions.addresses)
        if not ctx.is_sparse:
            for peer in self._unlinked(ctx.members.present):
                presence = ctx.members.presence_of(peer)
                others.update(() if presence is None else presence.addresses[:1])
        return all(map(ctx.dialler.was_tried, others))

    def _chosen(self, missing: int) -> list[PeerId]:
        """As many members without a link as the view misses, at random; with zones most in our own, and always some in others."""
        ctx = self._ctx
        present, zone = ctx.members.present, ctx.config.zone
        # Drawn with some to spare for those already linked: looking through all would cost as much as the mesh is large.
        if not ctx.members.has_far(zone):
            drawn = ctx.rng.sample(present, min(len(present), 2 * missing)) if missing > 0 else []
            return self._unlinked(drawn)[:missing]
        drawn = ctx.members.draw(ctx.rng, 2 * missing, zone) if missing > 0 else []
        found = self._unlinked(drawn)[:missing]
        lacking = _FAR_LINKS - sum(map(self._is_far, [*ctx.by_peer, *found]))
        if lacking > 0:
            drawn = ctx.members.draw_far(ctx.rng, 2 * lacking, zone)
            found += [peer for peer in self._unlinked(drawn) if peer not in found][:lacking]
        return found

    def _unlinked(self, peers: Iterable[PeerId]) -> list[PeerId]:
        members = self._ctx.members
        return [
            peer
            for peer in peers
            if (member := members.find(peer)) is not None
            and not member.is_linked
            and member.state == "alive"
        ]

    def _is_far(self, peer: PeerId) -> bool:
        member = self._ctx.members.find(peer)
        return member is not None and member.zone != self._ctx.config.zone

    def reach(self, count: int, among: Iterable[Member]) -> None:
        """Have transient links opened to so many members that are alive and not linked yet."""
        dialler = self._ctx.dialler
        others, under_way = [], 0
        for member in among:
            if not member.is_linked and member.state == "alive" and member.presence is not None:
                is_dialled = any(map(dialler.is_dialling, member.presence.addresses[:1]))
                under_way += is_dialled
                if not is_dialled:
                    others.append(member.peer)
        missing = max(0, min(count, _REACH_AT_ONCE) - under_way)
        for peer in self._ctx.rng.sample(others, min(missing, len(others))):
            self._dial_member(peer, is_wanted=False)

    def _dial_member(self, peer: PeerId, *, is_wanted: bool) -> None:
        member, presence = self._ctx.members.find(peer), self._ctx.members.presence_of(peer)
        if presence is not None:
            for address in presence.addresses[:1]:
                if (
                    member is not None
                    and peer < self._ctx.peer_id
                    and self._ctx.dialler.who(address) is None
                ):
                    self._ctx.dialler.hold_off(address, member.heard_s + _YIELD_S)
                self.dial(address, peer, is_wanted=is_wanted)

    def call(self, peer: PeerId) -> bool:
        """Open a transient link to a member, to see whether it lives. False where it cannot be dialled now."""
        presence = self._ctx.members.presence_of(peer)
        if presence is None or not presence.addresses or not self._standing.is_up:
            return False
        address = presence.addresses[0]
        self.dial(address, peer, is_wanted=False)
        return self._ctx.dialler.is_dialling(address)

    def is_self(self, address: str) -> bool:
        """Whether this peer itself listens at an address, as far as it knows."""
        return address in self._introductions.addresses or self._ctx.dialler.is_self(address)

    def _dial_seed(self, address: str, *, is_wanted: bool) -> None:
        who = self._ctx.dialler.who(address)
        if who is None or who not in self._ctx.by_peer:
            self.dial(address, None, is_wanted=is_wanted)

    def dial(self, address: str, peer: PeerId | None, *, is_wanted: bool) -> None:
        """Ask the driver for a link, if this address is not being tried or resting."""
        ctx = self._ctx
        if address in self._introductions.addresses or not ctx.dialler.may_dial(
            address, ctx.now.mono_s
        ):
            return
        ctx.dialler.started(address, peer, is_wanted=is_wanted)
        ctx.effects.append(Dial(address, peer))
