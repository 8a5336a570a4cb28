"""Queries of a peer: what may be asked of it at any time, and changes nothing but caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gossipsync.core._peer.answering import Place
from gossipsync.core._peer.carrying import Cargo
from gossipsync.core._peer.context import Context
from gossipsync.core._peer.parts import Parts
from gossipsync.core._peer.report import MemberStatus, PeerStatus
from gossipsync.core._peer.writing import Written
from gossipsync.core.model.acks import Ack
from gossipsync.core.model.config import PeerConfig
from gossipsync.core.model.ids import Epoch, Origin, PeerId, epoch_of
from gossipsync.core.model.now import Now
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.replica import Replica
from gossipsync.core.replication.tokens import Token


class Queries:
    """The attributes and queries of a peer, answered by its parts."""

    def __init__(self, ctx: Context, parts: Parts) -> None:
        self._ctx, self._parts = ctx, parts

    # -- attributes ------------------------------------------------------------------------------------------

    @property
    def config(self) -> PeerConfig:
        """What this peer was told at its start."""
        return self._ctx.config

    @property
    def peer_id(self) -> PeerId:
        """This peer's key."""
        return self._ctx.peer_id

    @property
    def origin(self) -> Origin:
        """Who signs this peer's writes now."""
        return self._ctx.origin

    @property
    def epoch(self) -> Epoch:
        """This run of the peer."""
        return epoch_of(self._ctx.origin)

    @property
    def run_name(self) -> bytes:
        """Names this run of the peer, in cursors: never the same again."""
        return self._parts.cursors.run_name

    @property
    def state(self) -> str:
        """One of "alone", "joining", "ready", "leaving"."""
        return self._parts.standing.state

    @property
    def replicas(self) -> dict[str, Replica]:
        """All buckets, by name. Not to be changed."""
        return self._ctx.replicas

    @property
    def digest(self) -> bytes:
        """What stands for all that this peer has: equal digests, equal version vectors."""
        return self._ctx.logs.lines.digest()

    @property
    def covered(self) -> bytes:
        """What stands for the lines of ended epochs, which have left the digest: 8 bytes, zeros for none."""
        return self._parts.keeper.covered_sum()

    def vector(self) -> dict[LineKey, int]:
        """(bucket, origin) -> last bundle whose entries are in the state, of every log, those of ended epochs included; or FROZEN."""
        return {log.key: log.index for log in self._ctx.logs.logs() if log.index}

    @property
    def withdrawn(self) -> frozenset[Epoch]:
        """Epochs of this run of which something was taken back, when the clock was set back."""
        return frozenset(self._ctx.withdrawn)

    @property
    def traffic(self) -> Mapping[str, int]:
        """Bytes by message kind, and exchanges, since the start. Not to be changed."""
        return self._ctx.traffic

    # -- queries ---------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When to call `handle_deadline()` (or just `drain()`), in monotonic seconds."""
        ctx = self._ctx
        soonest_s = min(self._parts.rounds.next_s, self._parts.probing.deadline_s)
        for next_deadline in self._parts.deadlines:
            due_s = next_deadline()
            if due_s is not None and due_s < soonest_s:
                soonest_s = due_s
        for replica in ctx.replicas.values():
            due_ms = replica.next_sweep_ms()
            if due_ms is not None:
                due_s = ctx.now.mono_s + max(0, due_ms - ctx.now.wall_ms) / 1000
                soonest_s = min(soonest_s, due_s)
        self._parts.pauses.armed_s = soonest_s
        return soonest_s

    @property
    def is_idle(self) -> bool:
        """Is everything written here sealed, committed and handed out?"""
        return self._parts.commits.is_idle

    @property
    def has_effects(self) -> bool:
        """Has something been asked for since `drain()`?"""
        return bool(self._ctx.effects)

    @property
    def is_gathering(self) -> bool:
        """Do writes wait for company? Asked after `drain()`: by `next_deadline()` they will be sealed, and more until then."""
        return self._parts.commits.is_gathering

    def acked_by(self, written: Written) -> tuple[PeerId, ...]:
        """Other members that have stored a write."""
        return self._parts.concern.acked_by(written)

    def is_stored(self, written: Written) -> bool:
        """Has our own store committed a write?"""
        return self._parts.concern.is_stored(written)

    def needed_acks(self, ack: Ack) -> int:
        """How many other members an ack level needs now, at least. Raises LocalError for an unknown one."""
        return self._parts.concern.needed_acks(ack)

    def shortfall(self, written: Written, ack: Ack) -> str:
        """What an ack level lacks, and what becomes of the write, for people."""
        return self._parts.concern.shortfall(written, ack)

    def token_of(self, written: Written) -> str:
        """What names this write to others, in at most 64 characters."""
        return self._parts.concern.token_of(written)

    def token(self, now: Now) -> str:
        """All that this peer has seen, as a token."""
        self._ctx.now = now
        return self._parts.concern.token()

    def parse_token(self, text: str, now: Now) -> Token:
        """Raises TokenError for what this network did not make, or is further ahead than max_skew."""
        return self._parts.concern.parse_token(text, now)

    def is_satisfied(self, token: Token) -> bool:
        """Have we seen all that the token names?"""
        return self._parts.concern.is_satisfied(token)

    def cargo(self, bucket: str, after: Place | None, now: Now) -> Cargo | None:
        """The next pieces of a bucket after a place, for a file; None where there are no more. Raises LocalError."""
        self._ctx.now = now
        return self._parts.carrying.give(bucket, after)

    def is_synced(self) -> bool:
        """Do we have all that the members we talked to are known to have?"""
        return self._parts.standing.is_synced()

    def last_position(self, bucket: str, run_name: bytes) -> int | None:
        """The newest position in a bucket's change log that a cursor of an earlier run may have; None where that run is unknown."""
        return self._parts.cursors.last_position(bucket, run_name)

    def may_serve(self) -> bool:
        """Whether this peer has been ready since its start, or has no seeds but itself to become ready with."""
        seeds = self._parts.rounds.seeds
        if self._parts.standing.was_ready or not self._ctx.config.seeds:
            return True
        return bool(seeds) and all(map(self._parts.rounds.is_self, seeds))

    def is_handed_over(self) -> bool:
        """Whether another member has stored every own bundle, or no member is left that could. See Peer.hand_over()."""
        return self._parts.handover.is_over()

    def unheld_writes(self) -> int:
        """Writes of this run that no other member has confirmed."""
        return self._parts.handover.unheld_writes()

    def lost_writes(self, *, is_durable: bool) -> int:
        """Writes of this run that end with this peer: not confirmed by any member, and, if `is_durable`, not in the store.

        0 for a peer alone, without seeds and with no member that is up.
        """
        return self._parts.handover.lost_writes(is_durable=is_durable)

    def is_writable(self) -> bool:
        """Is there room for more writes?"""
        return self._parts.writing.is_writable()

    def status(self, now: Now) -> PeerStatus:
        """Everything on one screen."""
        self._ctx.now = now
        return self._parts.report.status()

    def warnings(self) -> Sequence[str]:
        """Of a status, only these."""
        return self._parts.report.warnings()

    def members(self, now: Now) -> tuple[MemberStatus, ...]:
        """Every member, this peer first."""
        self._ctx.now = now
        return self._parts.report.members()

    def gossip_info(self, now: Now) -> dict[str, object]:
        """Vectors, heads, links and queues."""
        self._ctx.now = now
        return self._parts.report.gossip_info()

    def queues(self) -> dict[str, int]:
        """How much waits where, against `config.limits`."""
        return self._parts.report.queues()
