"""The moment that a driver hands in with every input: the core has no clock of its own."""

from __future__ import annotations

from typing import NamedTuple


class Now(NamedTuple):
    """One moment on both clocks."""

    mono_s: float
    """Monotonic seconds, for deadlines."""
    wall_ms: int
    """Milliseconds since 1970, for stamps and expiry; may step."""
