"""Introductions: who is there. Presence data and certificates, our own and others', as they spread.

Invariant: nobody becomes a member by another's word: a presence counts only with its own peer's signature, and only where the
network's authority has certified that peer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from attrs import define

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.lives import Lives
from gossipsync.core._peer.standing import Standing
from gossipsync.core.membership.members import DOWN_AFTER
from gossipsync.core.membership.presence import (
    Presence,
    Stance,
    is_genuine,
    make_presence,
    parse_presence,
)
from gossipsync.core.model import strict
from gossipsync.core.model.ids import PeerId, epoch_of, peer_text
from gossipsync.core.model.reasons import Reason
from gossipsync.core.wire.messages import Credentials, Presences

_REMEMBERED: Final = 4096
"""Names and certificates kept for all peers of a process, at most 12 kB each."""
GREETING_BATCHES: Final = 8
"""A new link may carry this many batches of presence at once."""


@define(eq=False)
class Introductions:
    """Presence and certificates of one peer, and of all that it knows."""

    _ctx: Context
    _standing: Standing
    _lives: Lives
    _put_head: Callable[[str, bytes | None], None]
    addresses: tuple[str, ...] = ()
    """What others may dial."""
    _signed_s: float = 0.0
    _pause: float = 1.0
    """Refresh intervals from one renewal to the next. The first is shorter, by the key, lest those who started together renew together for ever."""
    _own: Presence | None = None

    def start(self, credential: bytes) -> None:
        """Show ourselves."""
        if credential:
            self.keep_credential(credential)
        self.addresses = self._ctx.config.addresses
        self.renew()
        self._pause = int.from_bytes(self._ctx.peer_id[:2], "big") / (1 << 16)

    def set_addresses(self, addresses: tuple[str, ...]) -> None:
        """What others may dial has become known."""
        self.addresses = addresses
        self.renew()
        self._tell_all()

    def say_goodbye(self, stance: Stance) -> None:
        """Tell everybody that we go."""
        self.renew(stance)
        self._tell_all()
        self._standing.update()

    def _tell_all(self) -> None:
        for link in list(self._ctx.by_peer.values()):
            self.tell(link)

    def renew_if_due(self) -> None:
        """Sign a newer presence where the last is old enough."""
        ctx = self._ctx
        if ctx.now.mono_s >= self._signed_s + self._pause * ctx.refresh_s:
            self.renew(self._standing.stance)
            self._pause = 1.0

    @property
    def stamp(self) -> int:
        """Of our own presence; 0 before the first."""
        return 0 if self._own is None else self._own.stamp

    @property
    def oldest_s(self) -> float:
        """How old a presence may be that somebody relays: its peer may have been absent for a horizon, and clocks differ."""
        config = self._ctx.config
        horizon_s = max(config.horizon_ms / 1000, DOWN_AFTER * self._ctx.refresh_s)
        return horizon_s + 2 * config.max_skew_ms / 1000

    def renew_above(self, bound: int) -> None:
        """Show everybody that we live, against a statement with that bound."""
        self.renew(self._standing.stance, above=bound)
        self._tell_all()

    def renew(self, stance: Stance = Stance.UP, *, above: int = -1) -> None:
        """Sign a newer presence of our own, unless a directory speaks for us."""
        ctx, config = self._ctx, self._ctx.config
        self._standing.stance = stance
        if ctx.directory is not None:
            return
        stamp = max(ctx.now.wall_ms, above + 1, 0 if self._own is None else self._own.stamp + 1)
        self._own = make_presence(
            network=config.network,
            peer=ctx.peer_id,
            stamp=stamp,
            epoch=epoch_of(ctx.origin),
            stance=stance,
            name=config.name,
            addresses=self.addresses,
            zone=config.zone,
            version=config.version,
            met=tuple(self._lives.met_epochs),
            sign=ctx.sign,
        )
        ctx.members.own(self._own, ctx.now.mono_s)
        self._signed_s = ctx.now.mono_s

    def tell(self, link: Link, batches: int = 1) -> None:
        """What changed since this link was last told, oldest first, within a byte budget.

        In a sparse mesh only our own, to whom nobody else would tell it at once; see hearsay for the others.
        """
        ctx = self._ctx
        if ctx.directory is not None:
            return
        if ctx.is_sparse:
            self._tell_one(link, self._own)
            return
        room = ctx.config.limits.presence_batch_bytes * batches
        news = [
            (seq, presence)
            for seq, presence in ctx.members.changed_since(link.told_presence_seq)
            if presence.peer != link.peer
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
            ctx.tell_doubts(link, (presence.peer for presence in chosen))

    def _tell_one(self, link: Link, presence: Presence | None) -> None:
        if presence is not None and presence.peer != link.peer:
            self._ctx.tell_credentials(link, (presence.peer,))
            self._ctx.send(link, Presences((presence.data,)))

    def peer_in(self, data: bytes) -> PeerId | None:
        """Whom a presence datum is about; None for what is none."""
        try:
            return parse_presence(data, self._ctx.config.network)[0].peer
        except strict.MalformedError:
            return None

    def receive(self, link: Link, message: Presences | Credentials) -> None:
        """Presence data, or certificates of those whose presence or bundles follow."""
        if isinstance(message, Presences):
            self.on_presences(link, message)
        else:
            self.on_credentials(link, message)

    def on_presences(self, link: Link, message: Presences) -> None:
        """Presence data, the sender's or others'."""
        room = 2 * GREETING_BATCHES * self._ctx.config.limits.presence_batch_bytes
        if sum(map(len, message.data)) > room:
            self._ctx.refuse(link, Reason.OVERSIZE, "more presence than anybody sends at once")
            return
        for data in message.data:
            self._take_presence(link, data)
        self._standing.update()

    def _take_presence(self, link: Link | None, data: bytes) -> None:
        ctx = self._ctx
        if len(data) > ctx.config.limits.presence_bytes:
            ctx.refuse(link, Reason.OVERSIZE, "a presence")
            return
        try:
            presence, signed, signature = parse_presence(data, ctx.config.network)
        except strict.MalformedError as error:
            ctx.refuse(link, Reason.MALFORMED, str(error))
            return
        if presence.peer == ctx.peer_id:
            self._heard_of_self(presence, signed, signature)
            return
        if not ctx.members.is_news(presence):
            return
        age_s = (ctx.now.wall_ms - presence.stamp) / 1000
        if age_s > self.oldest_s and (link is None or link.peer != presence.peer):
            self._keep_lost(link, presence)
            return
        if presence.peer not in ctx.credentials:
            ctx.refuse(
                link, Reason.NO_CREDENTIAL, "a presence of somebody who has shown no certificate"
            )
            return
        if not is_genuine(presence, signed, signature, ctx.verifier):
            ctx.refuse(link, Reason.SIGNATURE, "a presence not signed by its peer")
            return
        former = ctx.members.find(presence.peer)
        known = None if former is None else former.presence
        was_doubted = former is not None and former.is_doubted
        member = ctx.members.take(presence, ctx.now.mono_s)
        if member is None:
            ctx.refuse(link, Reason.LIMIT, "too many members")
            return
        self._follow(link, presence)
        if known is None or member.state != "alive" or presence.stance is not Stance.UP:
            ctx.judge(member)  # else it was alive and is so all the more
        if link is not None and (known is None or not _lasts(known, presence)):
            is_gone = presence.stance is Stance.LEFT
            self._put_head(
                _head_name("presence", presence.peer), None if is_gone else presence.data
            )
            if presence.stance is not Stance.UP or (known is None and not ctx.is_sparse):
                self._spread(link, presence)
                return
        if link is not None and was_doubted and not member.is_doubted:
            self._spread(link, presence)  # it lives: as quickly known as the doubt was

    def _follow(self, source: Link | None, presence: Presence) -> None:
        """Who is linked has said something: over its own link, or in another life that it had better know of."""
        linked = self._ctx.by_peer.get(presence.peer)
        if linked is not None and linked is not source:
            self.tell_of_self(linked)
        elif linked is not None and presence.epoch > linked.epoch:
            linked.epoch = presence.epoch  # its clock was set back: it has gone on in a new one

    def _keep_lost(self, link: Link | None, presence: Presence) -> None:
        """So old that its peer is no member any more. From our own store: somebody to look for."""
        if link is None and presence.stance is not Stance.LEFT:
            self._ctx.members.keep_lost(presence)
        else:
            self._ctx.counters[Reason.STALE] += 1

    def _heard_of_self(self, presence: Presence, signed: bytes, signature: bytes) -> None:
        """Another life of ours. Where its clock was further ahead, go on above it, or others keep the old word."""
        own = self._own
        if own is None or presence.data == own.data:
            return
        is_ahead = presence.stamp >= own.stamp
        is_new = presence.epoch not in self._lives.met_epochs
        if not (is_ahead or self._lives.is_news(presence)):
            return
        if not is_genuine(presence, signed, signature, self._ctx.verifier):
            return
        self._lives.heard(presence)
        is_new &= presence.epoch in self._lives.met_epochs
        if is_ahead or is_new:
            self.renew(self._standing.stance, above=presence.stamp)
        if is_new:  # that life may depend on knowing that this one goes on
            self._tell_all()

    def tell_of_self(self, link: Link) -> None:
        """Show a peer what another life of its own key has said: nobody else hears that its word is not the last."""
        presence = self._ctx.members.presence_of(link.peer)
        if presence is not None and presence.epoch != link.epoch and self._ctx.directory is None:
            self._ctx.send(link, Presences((presence.data,)))

    def _spread(self, source: Link, presence: Presence) -> None:
        """Somebody came or said goodbye: pass it on at once."""
        for link in self._ctx.by_peer.values():
            if link is source:
                continue
            if self._ctx.is_sparse:
                self._tell_one(link, presence)
            else:
                self.tell(link)

    def on_credentials(self, link: Link, message: Credentials) -> None:
        """Certificates of peers whose bundles or presence follow."""
        for der in message.certificates:
            refused = self.keep_credential(der)
            if refused is not None:
                self._ctx.refuse(link, refused, "a certificate that cannot be taken")
                return

    def keep_credential(self, der: bytes) -> Reason | None:
        """Take in a member's certificate; why not, where it cannot be."""
        ctx, limits = self._ctx, self._ctx.config.limits
        read = ctx.verifier.read_credential(der) if len(der) <= limits.credential_bytes else None
        if read is None:
            return Reason.CREDENTIAL
        peer, capability = PeerId(read[0]), read[1]
        known = ctx.credentials.get(peer)
        if known is not None and known[1].not_after_ms >= capability.not_after_ms:
            return None
        if known is None and len(ctx.credentials) >= limits.members:
            return Reason.LIMIT
        shared = _shared(der)
        ctx.credentials[peer] = (shared, capability)
        self._put_head(_head_name("credential", peer), shared)
        return None

    def load_head(self, name: str, value: bytes) -> None:
        """A presence or certificate that an earlier run stored; credentials sort before presence data.

        A presence that is malformed by the rules of this version is dropped, from the store too, and counted.
        """
        if name.startswith("credential/"):
            read = self._ctx.verifier.read_credential(value)
            if read is not None:
                self._ctx.credentials[PeerId(read[0])] = (value, read[1])
        elif name.startswith("presence/"):
            if self.peer_in(value) is None:
                self._ctx.counters["stored-dropped"] += 1
                self._put_head(name, None)
            else:
                self._take_presence(None, value)


def _lasts(known: Presence, fresh: Presence) -> bool:
    """Is nothing new in it that is worth storing: all but the stamp?"""
    return (
        known.epoch == fresh.epoch
        and known.stance is fresh.stance
        and known.addresses == fresh.addresses
        and known.name == fresh.name
        and known.zone == fresh.zone
    )


@lru_cache(maxsize=_REMEMBERED)
def _head_name(kind: str, peer: PeerId) -> str:
    return f"{kind}/{peer_text(peer)}"


@lru_cache(maxsize=_REMEMBERED)
def _shared(der: bytes) -> bytes:
    """The first of equal certificates: peers of one process keep it once."""
    return der
