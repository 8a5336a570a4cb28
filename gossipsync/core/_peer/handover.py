"""Handing over: before this peer ends, another member gets the writes that only this peer has.

A write leaves for the members that are linked when it is committed. A process that ends within milliseconds of its first write has no
link yet, and its writes would end with it. So at the end the peer dials its seeds and members at once, however recently they failed,
and compares with each that is linked, until a member has confirmed every own bundle or no member can be reached.

Invariants: each attempt is bounded in dials and exchanges; nothing is attempted once all own bundles are confirmed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import define, field

from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.context import Context
from gossipsync.core._peer.exchange import Exchanges
from gossipsync.core._peer.rounds import Rounds
from gossipsync.core.membership.members import Member
from gossipsync.core.model.bundle import parse_header
from gossipsync.core.model.ids import PeerId
from gossipsync.core.replication.pieces import HEADER

_RETRY_S: Final = 0.1
"""Pause between attempts."""
_DIALS: Final = 16
"""Dials under way at a time: each is a TLS handshake at both ends."""
_PARTNERS: Final = 3
"""Members compared with in one attempt: one that confirms is enough."""
_COUNTED: Final = 4096
"""Bundles whose writes are counted one by one; each further bundle counts as one write."""
_REACHABLE: Final = frozenset({"alive", "suspect", "down"})
"""States of members that may still answer a dial; the others said goodbye."""


@define(eq=False)
class HandOver:
    """The last conversation of one peer: `begin`, then wait until `is_over`."""

    _ctx: Context
    _commits: Commits
    _rounds: Rounds
    _exchanges: Exchanges
    _is_begun: bool = False
    _keeps_trying: bool = True
    """Whether an address that failed is dialled again; a peer that keeps its writes dials each once."""
    _tried: set[str] = field(factory=set)
    _next_s: float = 0.0
    _present: frozenset[PeerId] | None = None
    """Members that were present when this peer said goodbye: closing the links to them does not make them lost."""

    def begin(self, *, is_durable: bool) -> None:
        """Seal all writes, and reach for members that can take them."""
        self._commits.seal(everything=True)
        self._keeps_trying = not is_durable
        self._is_begun = True
        self._attempt()

    def end(self) -> None:
        """Attempt nothing more. A confirmation that arrives while the links close still counts."""
        self._is_begun = False
        self._present = frozenset(
            member.peer for member in self._ctx.members if self._is_present(member)
        )

    def next_deadline(self) -> float | None:
        """When to attempt again, in monotonic seconds; None if no attempt is due."""
        return self._next_s if self._is_begun and not self.is_over() else None

    def go_on(self) -> None:
        """Attempt again if it is time."""
        if self._is_begun and self._ctx.now.mono_s >= self._next_s:
            self._attempt()

    def is_over(self) -> bool:
        """Whether another member has stored every own bundle, or no member is left that could."""
        if not self._is_reachable():
            return True
        return self._commits.is_idle and not self._unheld()

    def lost_writes(self, *, is_durable: bool) -> int:
        """Writes of this run that end with this peer: no other member confirmed them, and no store keeps them.

        A peer alone, without seeds and with no member that is up, has nobody to hand over to; for it the count is 0.
        """
        if not self._ctx.config.seeds and not any(self._members()):
            return 0
        return self._count(self._unheld(), is_durable=is_durable)

    def unheld_writes(self) -> int:
        """Writes of this run that no other member has confirmed, kept in a store or not."""
        return self._count(self._unheld(), is_durable=False)

    # -- attempts --------------------------------------------------------------------------------------------

    def _attempt(self) -> None:
        ctx = self._ctx
        self._next_s = ctx.now.mono_s + _RETRY_S
        if self.is_over() or ctx.directory is not None:
            return
        linked = sorted(ctx.by_peer)
        for peer in ctx.rng.sample(linked, min(len(linked), _PARTNERS)):
            self._exchanges.start(ctx.by_peer[peer])
        for address, expected in list(self._targets()):
            if ctx.dialler.dialling >= _DIALS:
                return
            self._tried.add(address)
            ctx.dialler.hurry(address)
            self._rounds.dial(address, expected, is_wanted=False)

    def _targets(self) -> Iterator[tuple[str, PeerId | None]]:
        """Addresses worth a dial, seeds first, and the peers expected there."""
        dialler = self._ctx.dialler
        for address in self._outside_seeds():
            who = dialler.who(address)
            if (who is None or who not in self._ctx.by_peer) and self._may_try(address):
                yield address, None
        for peer in self._members():
            presence = self._ctx.members.presence_of(peer)
            if peer not in self._ctx.by_peer and presence is not None:
                for address in presence.addresses[:1]:
                    if self._may_try(address):
                        yield address, peer

    def _may_try(self, address: str) -> bool:
        return self._keeps_trying or address not in self._tried

    def _outside_seeds(self) -> list[str]:
        """Resolved seeds that are not this peer itself."""
        return [address for address in self._rounds.seeds if not self._rounds.is_self(address)]

    def _members(self) -> Iterator[PeerId]:
        """Members that may be reached, those that seem alive first."""
        late = []
        for member in self._ctx.members:
            if member.state == "alive":
                yield member.peer
            elif member.state in _REACHABLE:
                late.append(member.peer)
        yield from late

    def _is_reachable(self) -> bool:
        """Whether a member is linked, being dialled, or worth a dial."""
        ctx = self._ctx
        if ctx.by_peer or ctx.dialler.dialling:
            return True
        if ctx.config.seeds and not self._rounds.seeds:
            return True  # their names are still being looked up
        return any(True for _ in self._targets())

    # -- what is held elsewhere ------------------------------------------------------------------------------

    def _unheld(self) -> dict[str, int]:
        """Buckets with own bundles that no other member has confirmed, and the last bundle confirmed."""
        ctx = self._ctx
        peers = self._trusted()
        found = {}
        for bucket in ctx.replicas:
            index = ctx.logs.index((bucket, ctx.origin))
            if index and (held := self._commits.acked_to(bucket, peers)) < index:
                found[bucket] = held
        return found

    def _trusted(self) -> set[PeerId]:
        """Members whose confirmation counts: those present, or, if there are none, those that said goodbye.

        A member that was lost without a goodbye may have lost all that it held.
        """
        found = map(self._ctx.members.find, self._commits.confirming())
        members = [member for member in found if member is not None]
        present = {member.peer for member in members if self._is_present(member)}
        if present or any(True for _ in self._members()):
            return present
        return {member.peer for member in members if member.state not in _REACHABLE}

    def _is_present(self, member: Member) -> bool:
        if self._present is not None:
            return member.peer in self._present
        return member.peer in self._ctx.by_peer or member.state == "alive"

    def _count(self, unheld: dict[str, int], *, is_durable: bool) -> int:
        count = counted = 0
        for bucket, held in unheld.items():
            log = self._ctx.logs.open((bucket, self._ctx.origin))
            kept = self._commits.stored(log.key) if is_durable else 0
            for index in log.indexes_from(max(held, kept) + 1):
                counted += 1
                is_parsed = counted <= _COUNTED
                count += parse_header(log.pieces[index][HEADER]).count if is_parsed else 1
        return count
