"""Allowances: token buckets over what somebody may have us do."""

from __future__ import annotations

from attrs import define


@define
class Allowance:
    """What is left now of a burst that grows back at a steady rate."""

    left: float
    at_s: float

    def grow(self, now_s: float, burst: float, per_s: float) -> None:
        """Time has gone by."""
        self.left = min(burst, self.left + (now_s - self.at_s) * per_s)
        self.at_s = now_s

    def take(self, amount: float = 1.0) -> bool:
        """Use some of it; False, and nothing used, where too little is left."""
        if self.left < amount:
            return False
        self.left -= amount
        return True
