"""The ledger: what was written where and when, apart from any peer, for the checkers to compare with.

Invariant: an entry is made at the moment of the write, from what the application asked for, never from what a peer shows.
"""

from __future__ import annotations

from attrs import define, field

from gossipsync.core import Peer, Written
from gossipsync.core.model.ids import Origin, PeerId
from gossipsync.core.replication.lines import LineKey


@define(eq=False)
class Entry:
    """One write as the application saw it."""

    number: int
    at_s: float
    writer: int
    bucket: str
    key: str
    op: str
    """"put", "delete", "add" or "touch"; in a set "insert" or "remove"."""
    value: object
    written: Written
    expires_ms: int | None = None
    after: int | None = None
    """The number of an entry that its writer had seen and meant to come before."""
    token: str = ""
    """What its peer gave to name it."""
    run: int = 0
    """Which run of its writer made it."""
    knew: dict[LineKey, int] = field(factory=dict)
    """How far its writer had the logs of its own key."""
    acked_s: dict[PeerId, float] = field(factory=dict)
    """Who confirmed to have stored it, and when."""


class Ledger:
    """All writes, in order."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.by_key: dict[tuple[str, str], list[Entry]] = {}
        self._authors: set[Origin] = set()
        self._held: tuple[object, list[Entry]] = (None, [])

    def add(self, entry: Entry) -> None:
        """One more write."""
        self.entries.append(entry)
        self._authors.add(entry.written.origin)
        self.by_key.setdefault((entry.bucket, entry.key), []).append(entry)

    def held_by(self, peer: Peer) -> list[Entry]:
        """Entries that a peer's vector claims, and its own that are not sealed yet; remembered while nothing changes."""
        own = (
            peer.origin if peer.origin in self._authors else None
        )  # others hold what their vectors say
        state = (own, peer.digest, peer.covered, len(self.entries))
        if self._held[0] != state:
            vector = peer.vector()
            held = [
                entry
                for entry in self.entries
                if entry.written.origin == own
                or vector.get((entry.bucket, entry.written.origin), 0) >= entry.written.index
            ]
            self._held = (state, held)
        return self._held[1]
