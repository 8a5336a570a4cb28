"""Write concern and causality: who has stored a write, and whether what somebody has seen is here.

Acks are read from what a member says of its own store over its own link, and from nothing else. A token names logs and the
stamps that their applied heads must have reached.
"""

from __future__ import annotations

from typing import Final

from attrs import define

from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.context import Context
from gossipsync.core._peer.rounds import Rounds
from gossipsync.core._peer.writing import Writing, Written
from gossipsync.core.model.hlc import hlc_at
from gossipsync.core.model.ids import PeerId
from gossipsync.core.model.now import Now
from gossipsync.core.replication.tokens import Token, line_id, read_token, write_token
from gossipsync.errors import LocalError

_TOKEN_LINES: Final = 512
"""Logs in a token of all we have seen; the newest, where there are more."""


@define(eq=False)
class Concern:
    """Answers about writes, ours and those that tokens name."""

    _ctx: Context
    _commits: Commits
    _writing: Writing
    _rounds: Rounds

    def acked_by(self, written: Written) -> tuple[PeerId, ...]:
        """Other members that have stored a write of our current epoch."""
        if written.origin != self._ctx.origin:
            return ()
        peers = self._commits.acked_by(written.bucket, written.index)
        return tuple(peer for peer in peers if not self._ctx.members.has_left(peer))

    def is_stored(self, written: Written) -> bool:
        """Has our own store committed a write?"""
        return self._commits.stored((written.bucket, written.origin)) >= written.index

    def why_unstored(self, written: Written) -> str | None:
        """What our own store said when it did not commit; None where it has committed the write."""
        if self.is_stored(written):
            return None
        return self._commits.failure or "a commit is still under way"

    def needed_acks(self, ack: int | str) -> int:
        """How many other members an ack level needs now. Raises LocalError for an unknown one."""
        others = self._ctx.mesh_size - 1
        if type(ack) is int and ack >= 0:
            return ack
        match ack:
            case "self":
                return 0
            case "majority":
                return (others + 1) // 2
            case "all":
                return others
            case _:
                raise LocalError(
                    f'ack is a number of members, "self", "majority" or "all", not {ack!r}'
                )

    def seek_acks(self, written: Written, ack: int | str) -> bool:
        """Is it stored here, and by as many others as the level asks for?

        Where that takes members that we are not linked with, reach some of them: they confirm on their own link only.
        """
        ctx = self._ctx
        if not self.is_stored(written):
            return False
        needed = self.needed_acks(ack)
        acked = set(self.acked_by(written)) if needed else set()
        if len(acked) >= needed:
            return True
        missing = needed - len(acked | ctx.by_peer.keys())
        if ctx.is_sparse and missing > 0:
            self._rounds.reach(missing, without=acked)
        return False

    def token_of(self, written: Written) -> str:
        """What names this write to others, small enough for a cookie."""
        config = self._ctx.config
        part = (line_id(written.bucket, written.origin), written.hlc)
        return write_token([part], config.network, config.token_key)

    def token(self) -> str:
        """All that this peer has seen."""
        config = self._ctx.config
        heads = {log.line().key: log.hlc for log in self._ctx.logs.logs()}
        heads |= self._writing.unsealed()
        newest = sorted(heads.items(), key=lambda pair: pair[1], reverse=True)[:_TOKEN_LINES]
        parts = [(line_id(*key), hlc) for key, hlc in newest]
        return write_token(parts, config.network, config.token_key)

    def parse_token(self, text: str, now: Now) -> Token:
        """Raises TokenError for what this network did not make, or is further ahead than max_skew."""
        config = self._ctx.config
        newest = hlc_at(now.wall_ms + config.max_skew_ms)
        return read_token(text, config.network, config.token_key, newest)

    def is_satisfied(self, token: Token) -> bool:
        """Have we seen all that the token names?"""
        unsealed = self._writing.unsealed()
        for line, hlc in token.parts:
            key = self._ctx.line_ids.get(line)
            log = None if key is None else self._ctx.logs.find(key)
            seen = max(0 if log is None else log.hlc, 0 if key is None else unsealed.get(key, 0))
            if seen < hlc:
                return False
        return True
