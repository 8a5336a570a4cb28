"""How long bytes are under way: distributions by tables of quantiles, so that no machine's logarithm gets into a trace."""

from __future__ import annotations

from typing import Final

from gossipsync.sim.randomness import Randomness

SPREADS: Final = {
    "constant": (1.0, 1.0),
    "uniform": (0.5, 1.5),
    # Log-normal with sigma 0.5, by tenths: many a little faster than the median, a few much slower.
    "lan": (0.31, 0.53, 0.66, 0.77, 0.88, 1.0, 1.14, 1.30, 1.52, 1.90, 3.20),
    # Pareto with exponent 2 above half the median, cut at the 99.9th percentile: a wide-area network at its worst.
    "wan": (0.71, 0.75, 0.79, 0.85, 0.91, 1.0, 1.12, 1.29, 1.58, 2.24, 22.4),
}
"""Quantiles at equal steps from 0 to 1, in medians."""


class Latency:
    """One-way latencies around a median."""

    def __init__(self, median_s: float, spread: str) -> None:
        self._quantiles = tuple(median_s * quantile for quantile in SPREADS[spread])

    def draw(self, randomness: Randomness) -> float:
        """One latency in seconds."""
        place = randomness.random() * (len(self._quantiles) - 1)
        position = int(place)
        low, high = self._quantiles[position], self._quantiles[position + 1]
        return low + (high - low) * (place - position)
