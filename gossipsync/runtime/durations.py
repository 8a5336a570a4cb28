"""Durations as people give them. Apart from the other readers, because embedding needs it before trio.

Invariant: the result is a finite number of seconds above zero; of a pause, zero or above.
"""

import math
import re
from datetime import timedelta
from typing import Final

__all__ = ["UnreadableError", "parse_duration", "parse_pause"]

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)\s*", re.ASCII)
_MAX_S: Final = 100 * 365 * 86400.0  # beyond, stamps in milliseconds would leave their field


class UnreadableError(ValueError):
    """What was given is no value of this setting; the message says what would be."""


def parse_pause(given: object) -> float:
    """As `parse_duration`, and zero too: 0, "0", "0s"."""
    try:
        return parse_duration(given)
    except UnreadableError:
        is_zero = isinstance(given, timedelta) and not given
        is_zero |= type(given) in (int, float) and given == 0
        if isinstance(given, str) and (match := _DURATION.fullmatch(given)):
            is_zero = float(match[1]) == 0
        if is_zero:
            return 0.0
        raise


def parse_duration(given: object) -> float:
    """Seconds, from a number of seconds, a timedelta, or text like "20ms", "30s", "10m", "1h", "7d".

    Raises UnreadableError for anything else, for what is not above zero, and beyond a century.
    """
    if isinstance(given, timedelta):
        seconds = given.total_seconds()
    elif isinstance(given, (int, float)) and not isinstance(given, bool):
        seconds = float(given) if abs(given) <= _MAX_S else math.inf
    elif isinstance(given, str) and (match := _DURATION.fullmatch(given)):
        seconds = float(match[1]) * _UNITS_S[match[2]]
    else:
        raise UnreadableError(
            'a duration is a number of seconds, or text like "20ms", "30s", "10m", "1h", "7d"'
        )
    if not math.isfinite(seconds) or not 0 < seconds <= _MAX_S:
        raise UnreadableError("a duration is above zero and at most a century")
    return seconds
