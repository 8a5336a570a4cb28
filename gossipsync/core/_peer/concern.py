"""Write concern and causality: who has stored a write, and whether what somebody has seen is here.

Acks are read from what a member says of its own store over its own link, and from nothing else. A token names logs and how far
their applied heads must be. Whoever waits for either has us ask those who can answer, at once and within bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import define

from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.exchange import Exchanges
from gossipsync.core._peer.rounds import Rounds
from gossipsync.core._peer.writing import Writing, Written
from gossipsync.core.membership.members import Member
from gossipsync.core.model.acks import ACKS_TOLD, Ack, is_ack
from gossipsync.core.model.hlc import ZERO, hlc_at
from gossipsync.core.model.ids import PeerId, peer_of
from gossipsync.core.model.now import Now
from gossipsync.core.replication.draft import After
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.tokens import (
    TOKEN_LINES,
    Token,
    line_name,
    read_token,
    shortened,
    write_token,
)
from gossipsync.errors import LocalError

_NAMED: Final = 5
"""Members named in one message, those first that do not seem to be there."""
_Zone = str | PeerId
"""A zone's name, "" for that of members that name none; or a member whose presence has not come yet: it may be in any."""


@define(eq=False)
class Concern:
    """Answers about writes, ours and those that tokens name."""

    _ctx: Context
    _commits: Commits
    _writing: Writing
    _rounds: Rounds
    _exchanges: Exchanges

    # -- acks ------------------------------------------------------------------------------------------------

    def acked_by(self, written: Written) -> tuple[PeerId, ...]:
        """Other members that have stored a write of our current epoch."""
        if written.origin != self._ctx.origin:
            return ()
        peers = self._commits.acked_by(written.bucket, written.index)
        return tuple(peer for peer in peers if not self._ctx.members.has_left(peer))

    def is_stored(self, written: Written) -> bool:
        """Has our own store committed a write?"""
        return self._commits.stored((written.bucket, written.origin)) >= written.index

    def needed_acks(self, ack: Ack) -> int:
        """How many other members an ack level needs now, at least. Raises LocalError for an unknown one."""
        others = self._ctx.mesh_size - 1
        if not is_ack(ack):
            raise LocalError(f"ack is {ACKS_TOLD}, not {ack!r}")
        match ack:
            case int():
                return ack
            case "majority":
                return (others + 1) // 2
            case "all":
                return others
            case "zones":
                return len(self._zones())
            case _:
                return 0

    def seek_acks(self, written: Written, ack: Ack) -> bool:
        """Is it stored here, and by as many others as the level asks for?

        Where that takes members that we are not linked with, reach some of them: they confirm on their own link only.
        """
        ctx = self._ctx
        if not self.is_stored(written):
            return False
        if ack == "zones":
            return self._seek_zones(written)
        needed = self.needed_acks(ack)
        acked = set(self.acked_by(written)) if needed else set()
        if len(acked) >= needed:
            return True
        missing = needed - len(acked | ctx.by_peer.keys())
        if ctx.is_sparse and missing > 0:
            self._rounds.reach(missing, (one for one in ctx.members if one.peer not in acked))
        return False

    def _seek_zones(self, written: Written) -> bool:
        lacking = self._zones_lacking(written)
        if lacking and self._ctx.is_sparse:
            for members in lacking.values():
                if not any(member.is_linked for member in members):
                    self._rounds.reach(1, members)
        return not lacking

    def _zones(self) -> dict[_Zone, list[Member]]:
        """All other members by zone, whatever state they seem to be in."""
        zones: dict[_Zone, list[Member]] = {}
        for member in self._ctx.members:
            if member.state != "left":
                presence = member.presence
                zone = member.peer if presence is None else presence.zone
                zones.setdefault(zone, []).append(member)
        return zones

    def _zones_lacking(self, written: Written) -> dict[_Zone, list[Member]]:
        acked = set(self.acked_by(written))
        return {
            zone: members
            for zone, members in self._zones().items()
            if acked.isdisjoint(member.peer for member in members)
        }

    def shortfall(self, written: Written, ack: Ack) -> str:
        """What an ack level lacks, for people."""
        if not self.is_stored(written):
            why = self._commits.failure or "a commit is still under way"
            return f"this peer has not stored it: {why}. It stays in memory, and is stored and sent as soon as that can be"
        needed = self.needed_acks(ack)
        if ack != "zones":
            acked = set(self.acked_by(written))
            others = [member for member in self._ctx.members if member.peer not in acked]
            named = f", not {_names(others)}" if ack == "all" else ""
            return f"{len(acked)} of {needed} members have stored it{named}; it stays and goes on spreading"
        lacking = self._zones_lacking(written)
        names = ", ".join(sorted(map(_told, lacking)))
        return f"{needed - len(lacking)} of {needed} zones have stored it, not {names}; it stays and goes on spreading"

    # -- tokens ----------------------------------------------------------------------------------------------

    def token_of(self, written: Written) -> str:
        """What names this write to others, in at most 64 characters."""
        config, maker = self._ctx.config, peer_of(written.origin)
        name = line_name(written.bucket, written.origin)
        return write_token(
            maker, written.hlc, {name: written.index}, config.network, config.token_key
        )

    def token(self) -> str:
        """All that this peer has seen; the newest logs, where there are more than a token holds."""
        ctx, config = self._ctx, self._ctx.config
        heads = {
            (log.bucket, log.origin): (log.hlc, log.index)
            for log in ctx.logs.logs()
            if log.fork is None
        }
        heads |= {
            key: (last.hlc, last.index)
            for key, last in self._writing.unsealed().items()
            if not ctx.is_past(key[1])  # what was taken back nobody will ever have
        }
        newest = sorted(heads.items(), key=lambda pair: pair[1], reverse=True)[:TOKEN_LINES]
        hlc = newest[0][1][0] if newest else ZERO
        lines = {line_name(*key): index for key, (_, index) in newest}
        return write_token(ctx.peer_id, hlc, lines, config.network, config.token_key)

    def parse_token(self, text: str, now: Now) -> Token:
        """Raises TokenError for what this network did not make, or is further ahead than max_skew."""
        config = self._ctx.config
        bound = hlc_at(self._ctx.bound_ms(now))
        return read_token(text, config.network, config.token_key, bound)

    def is_satisfied(self, token: Token) -> bool:
        """Have we seen all that the token names?"""
        unsealed = self._writing.unsealed()
        for name, index in token.lines:
            seen = 0
            for key in self._logs_named(token, name):
                last = unsealed.get(key)
                seen = max(seen, self._ctx.logs.index(key), 0 if last is None else last.index)
            if seen < index:
                return False
        return True

    def _logs_named(self, token: Token, name: int) -> Iterator[LineKey]:
        for line, key in self._ctx.line_names.get(shortened(name, token.bits), ()):
            if token.is_named(name, line):
                yield key

    def after(self, token: Token) -> After:
        """What a write that comes after a token must heed."""
        return After(token.hlc, self.is_satisfied(token))

    def seek_token(self, token: Token) -> bool:
        """Have we seen all that the token names? If not, compare at once with its maker, else with some who may have it.

        The maker has all of it. Where we are not linked with it we dial it, and ask those that we are linked with meanwhile.
        """
        if self.is_satisfied(token):
            return True
        ctx = self._ctx
        maker = ctx.members.by_short(token.maker)
        link = None if maker is None else ctx.by_peer.get(maker)
        if link is not None:
            self._ask(link)
            return False
        member = None if maker is None else ctx.members.find(maker)
        if member is not None:
            self._rounds.reach(1, [member])
        linked = sorted(ctx.by_peer)
        for peer in ctx.rng.sample(linked, min(len(linked), ctx.config.limits.token_partners)):
            self._ask(ctx.by_peer[peer])
        return False

    def _ask(self, link: Link) -> None:
        ctx = self._ctx
        is_early = ctx.now.mono_s - link.token_asked_s < ctx.config.limits.token_ask_s
        if not is_early and not self._exchanges.is_comparing(link):
            link.token_asked_s = ctx.now.mono_s
            ctx.traffic["token_exchanges"] += 1
            self._exchanges.start(link)


def _told(zone: _Zone) -> str:
    if isinstance(zone, bytes):
        return "one whose zone is not known yet"
    return repr(zone) if zone else "those without a zone"


def _names(members: list[Member]) -> str:
    """Who, and what is known of those that do not seem to be there; of many the first few."""
    told = [
        f"{member.name!r}" + (f" ({member.state})" if member.state != "alive" else "")
        for member in sorted(members, key=lambda member: (member.state == "alive", member.name))
        if member.state != "left"
    ]
    more = len(told) - _NAMED
    return ", ".join(told[:_NAMED]) + (f" and {more} more" if more > 0 else "")
