"""Values: what a peer shows is what the newest write it holds says. No deleted or expired value returns.

The expectation is computed from the ledger with an own, simple rule: of the writes that a peer holds of a key, the one with the
greatest (stamp, writer's key) decides; a delete hides, an expiry hides, and in a bucket with final deletes any delete hides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossipsync.core import Deletes, Kind, Peer, Replica
from gossipsync.core.model.ids import peer_of
from gossipsync.sim.checkers.anew import was_written_anew
from gossipsync.sim.checkers.base import Checker, Violate
from gossipsync.sim.driver import Driver
from gossipsync.sim.ledger import Entry

if TYPE_CHECKING:
    from gossipsync.sim.simulation import Simulation

_ABSENT = object()


def newest_of(entries: list[Entry]) -> Entry:
    """The write that decides."""
    return max(entries, key=lambda entry: (entry.written.hlc, entry.written.origin))


class Values(Checker):
    """Reads agree with the ledger."""

    name = "values"
    reads_all = True
    _is_at_rest = False

    def __init__(self, simulation: Simulation, violate: Violate) -> None:
        super().__init__(simulation, violate)
        self._held: list[Entry] = []
        self._held_by_key: dict[tuple[str, str], list[Entry]] = {}
        self._lasting: dict[tuple[str, str, Deletes], object] = {}

    def changed(self, driver: Driver, peer: Peer) -> None:
        """Compare every key that was ever written, as far as this peer holds the writes."""
        held = self._by_key(self.entries_held(peer))
        wall_ms = driver.now().wall_ms
        is_ahead = not self._is_at_rest and self.may_be_ahead(driver, peer)
        for (bucket, key), entries in held.items():
            replica = peer.replicas.get(bucket)
            if replica is None or replica.rules.kind is not Kind.VALUE:
                continue
            expected = self._expected(entries, replica, wall_ms)
            shown = replica.read(key, wall_ms) if replica.has(key, wall_ms) else _ABSENT
            if shown is expected:
                continue
            if (
                shown is _ABSENT
                and _expected(entries, replica, self.simulation.newest_ms()) is _ABSENT
            ):
                continue  # it expired by this clock before somebody set it back, or by that of whoever handed it on
            if is_ahead and self._is_newer(entries, shown):
                continue
            if shown is _ABSENT and not self._is_at_rest and key in replica.hollow():
                continue  # it had expired here when a touch came late; the value is being fetched
            if shown == expected or _is_tied(entries, shown):
                continue
            is_final = replica.rules.deletes is Deletes.FINAL
            if expected is _ABSENT and not is_final and self._was_apart(entries, shown):
                continue
            value = None if shown is _ABSENT else shown
            if not was_written_anew(self.simulation, replica.group(key), newest_of(entries), value):
                self.violate(
                    f"{key!r} shows {_text(shown)} where the newest write held says {_text(expected)}",
                    driver,
                )
                return

    looked = changed

    def _was_apart(self, entries: list[Entry], shown: object) -> bool:
        """Whether a put of a peer that lived apart met a delete only after the mesh had forgotten that delete.

        Of peers that were apart for longer than a horizon, deleted data may come back; data under a final delete may not.
        """
        options = self.simulation.options
        met_s = options.first_write_s + options.apart
        puts = [entry for entry in entries if entry.op == "put" and entry.value == shown]
        deletes = [entry for entry in entries if entry.op == "delete"]
        return (
            options.apart > 0
            and deletes != []
            and all(self.may_be_forgotten(entry) for entry in deletes)
            and any(entry.at_s < met_s for entry in puts)
        )

    def _by_key(self, held: list[Entry]) -> dict[tuple[str, str], list[Entry]]:
        """Remembered while the same are held: one after the other is asked about many peers that hold the same."""
        if self._held is not held:
            self._held, self._held_by_key, self._lasting = held, {}, {}
            for entry in held:
                self._held_by_key.setdefault((entry.bucket, entry.key), []).append(entry)
        return self._held_by_key

    def _expected(self, entries: list[Entry], replica: Replica, wall_ms: int) -> object:
        """What they say, which hangs on the time only where one of them expires."""
        name = (entries[0].bucket, entries[0].key, replica.rules.deletes)
        if name not in self._lasting:
            expected = _expected(entries, replica, wall_ms)
            if any(entry.expires_ms is not None for entry in entries):
                return expected
            self._lasting[name] = expected
        return self._lasting[name]

    def _is_newer(self, held: list[Entry], shown: object) -> bool:
        """Does what is shown follow from writes that its vector does not claim yet?"""
        newest = newest_of(held)
        rivals = self.simulation.ledger.by_key[newest.bucket, newest.key]
        others = [entry for entry in rivals if entry not in held]
        if shown is _ABSENT:
            return any(entry.op == "delete" or entry.expires_ms is not None for entry in others)
        return any(entry.op == "put" and entry.value == shown for entry in others) or (
            # Kept alive by somebody's touch.
            any(entry.op == "touch" for entry in others)
            and any(entry.op == "put" and entry.value == shown for entry in held)
        )

    def finished(self) -> None:
        """Everybody once more."""
        self._is_at_rest = self.simulation.is_equal
        for driver, peer in self.honest():
            self.changed(driver, peer)


def _is_tied(entries: list[Entry], shown: object) -> bool:
    """Did two machines with one key write at one stamp? Then a hash decides, which the ledger does not know."""
    newest = newest_of(entries)
    return any(
        entry is not newest
        and entry.op == newest.op == "put"
        and entry.written.hlc == newest.written.hlc
        and peer_of(entry.written.origin) == peer_of(newest.written.origin)
        and entry.value == shown
        for entry in entries
    )


def _expected(entries: list[Entry], replica: Replica, wall_ms: int) -> object:
    is_final = replica.rules.deletes is Deletes.FINAL
    deletes = [entry for entry in entries if entry.op == "delete"]
    if is_final and deletes:
        return _ABSENT
    last_delete = max((entry.written.hlc for entry in deletes), default=0)
    puts = [entry for entry in entries if entry.op == "put" and entry.written.hlc > last_delete]
    if not puts:
        return _ABSENT
    alive = [
        entry
        for entry in entries
        if entry.op in ("put", "touch") and entry.written.hlc > last_delete
    ]
    expires_ms = newest_of(alive).expires_ms
    if expires_ms is not None and expires_ms <= wall_ms:
        return _ABSENT
    return newest_of(puts).value


def _text(value: object) -> str:
    return "nothing" if value is _ABSENT else repr(value)[:40]
