"""Bounded memory and queues: whatever comes in, what a peer holds for it stays below the limits that the core names."""

from __future__ import annotations

from gossipsync.core import Peer
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver


class Bounds(Checker):
    """Queues against limits."""

    name = "bounds"

    def looked(self, driver: Driver, peer: Peer) -> None:
        """Compare each queue with its limit, give or take one frame."""
        limits, queues = peer.config.limits, peer.queues()
        allowed = {
            "pending_bytes": limits.pending_bytes + limits.bundle_bytes,
            "early_bytes": limits.reassembly_bytes,
            "lines_behind": limits.logs,
            "link_queue_bytes": limits.link_queue_bytes + 8 * limits.frame_bytes,
            "links": limits.links + 4 * peer.config.full_mesh + 64,
        }
        for name, limit in allowed.items():
            if queues[name] > limit:
                self.violate(f"{name} is {queues[name]:,}, above {limit:,}", driver)
                return

    def finished(self) -> None:
        """Everybody once more."""
        for driver, peer in self.honest():
            self.looked(driver, peer)
