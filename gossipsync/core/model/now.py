"""The moment that a driver hands in with every input: the core has no clock of its own."""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_WALL_MS: Final = 1 << 47
"""Wall-clock milliseconds of peers are below it (the year 6429): a stamp has room for them, and so has a datetime."""


class Now(NamedTuple):
    """One moment on both clocks."""

    mono_s: float
    """Monotonic seconds, for deadlines."""
    wall_ms: int
    """Milliseconds since 1970, for stamps and expiry; may step."""
