"""No unsigned byte is accepted: every bundle in an honest peer's store is signed by its origin, and every value was written.

Verified here anew, without the memo that the peers share. Each exact bytes are looked at once, however many peers have them.
"""

from __future__ import annotations

from gossipsync.core.model.bundle import Bundle, signed_bytes
from gossipsync.core.model.entry import leaves_of
from gossipsync.core.model.ids import peer_of
from gossipsync.core.model.strict import MalformedError
from gossipsync.core.replication.merkle import merkle_root
from gossipsync.core.replication.pieces import cells_of, is_proven, parse_piece
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.forgery import MARK
from gossipsync.sim.identities import is_signed


class Signatures(Checker):
    """Stores hold what origins signed, and nothing else."""

    name = "signatures"

    def finished(self) -> None:
        """Verify every store, and look for every key in the ledger."""
        known: set[bytes] = set()
        for driver, _ in self.honest():
            for _bucket, _origin, index, data in driver.store.load_pieces():
                if data in known:
                    continue
                known.add(data)
                if (fault := self._fault(data)) is not None:
                    self.violate(f"bundle {index} in its store {fault}", driver)
                    return

    def _fault(self, data: bytes) -> str | None:
        try:
            piece = parse_piece(data)
            header = piece.header
            if isinstance(piece, Bundle):
                entries = piece.entries()
                keys = [entry.key for entry in entries]
                is_whole = merkle_root(leaves_of(entries)) == header.root
            else:
                cells = cells_of(piece)
                keys = [key for key, _ in cells]
                is_whole = is_proven(piece, cells)
        except MalformedError as error:
            return f"is malformed: {error}"
        if not is_signed(peer_of(header.origin), piece.signature, signed_bytes(header.data)):
            return "is not signed by its origin"
        if not is_whole:
            return "holds entries that its signature does not cover"
        if peer_of(header.origin) in self.simulation.observer.rogues:
            return self._fault_of_rogue(keys)
        ledger = self.simulation.ledger.by_key
        for key in keys:
            if (header.bucket, key) not in ledger:
                return f"writes {key!r}, which nobody wrote"
        return None

    def _fault_of_rogue(self, keys: list[str]) -> str | None:
        """What a rogue signs is its own, but keys of the applications it only goes for with what must not be believed."""
        for key in keys:
            if not key.startswith(MARK):
                return f"writes {key!r}, which no application wrote"
        return None
