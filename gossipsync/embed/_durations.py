"""Times to live and time-outs, as callers give them and as the core takes them.

Invariant: nothing that is no duration gets past this module.
"""

import math
from datetime import timedelta
from enum import Enum
from typing import Final, Literal

from gossipsync.errors import ConfigError
from gossipsync.runtime.durations import UnreadableError, parse_duration

__all__ = ["NEVER", "Ttl", "check_timeout", "ttl_ms"]


class _Never(Enum):
    NEVER = "NEVER"

    def __repr__(self) -> str:
        return "gossipsync.NEVER"


NEVER: Final = _Never.NEVER
"""A ttl that says: live until deleted. In a bucket with final deletes its ttl is still the cap."""

Ttl = float | timedelta | Literal[_Never.NEVER] | None
"""Seconds or a timedelta; NEVER for no end; None for the bucket's own ttl."""

_NO_EXPIRY: Final = -1  # as the core spells NEVER
_MS_PER_S: Final = 1000


def ttl_ms(ttl: Ttl) -> int | None:
    """Milliseconds, at least one; None for the bucket's ttl, -1 for none. Raises ConfigError."""
    if ttl is None:
        return None
    if ttl is NEVER:
        return _NO_EXPIRY
    try:
        return max(1, round(parse_duration(ttl) * _MS_PER_S))
    except UnreadableError as error:
        raise ConfigError(f"ttl: {error}") from None


def check_timeout(timeout: object) -> float | None:
    """Seconds from zero up, None for ever. Raises ConfigError."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or math.isnan(timeout):
        raise ConfigError(f"timeout: a number of seconds or None is needed, not {timeout!r}")
    return None if math.isinf(timeout) and timeout > 0 else max(0.0, float(timeout))
