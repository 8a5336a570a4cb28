"""Vectors never regress: within one run of a peer no line goes back or disappears, but for those of its own that it takes back."""

from __future__ import annotations

from gossipsync.core import Peer
from gossipsync.core.model.ids import Origin, epoch_of, peer_of
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver

_Vector = dict[tuple[str, Origin], int]


class Vectors(Checker):
    """Each peer's vector is at least what it was."""

    name = "vectors"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]  # the base's own arguments, passed through
        self._former: dict[tuple[int, int], _Vector] = {}

    def changed(self, driver: Driver, peer: Peer) -> None:
        """Compare with what it was."""
        vector = peer.vector()
        for (bucket, origin), index in self._former.get((driver.number, driver.run), {}).items():
            is_withdrawn = peer_of(origin) == peer.peer_id and epoch_of(origin) in peer.withdrawn
            if vector.get((bucket, origin), 0) < index and not is_withdrawn:
                self.violate(
                    f"a line of {bucket!r} went from {index} back to {vector.get((bucket, origin), 0)}",
                    driver,
                )
                return
        self._former[driver.number, driver.run] = vector

    looked = changed
