"""Faults of this program that some input brings to light: counted each time, logged with a traceback once per place.

No remote input may end the service, so the engine survives an exception that it did not expect and goes on with the next
input. An operator must still learn of it, and a remote that can repeat it must not fill a disk.

Invariant: a fault that is noted moves a counter, and the first fault at each place of the program has its traceback in the log.
"""

import logging
from collections import Counter
from traceback import walk_tb
from types import TracebackType
from typing import Final

__all__ = ["EFFECTS_FAILED", "INTERNAL", "Faults"]

INTERNAL: Final = "internal"
"""Counter of inputs that met a fault."""
EFFECTS_FAILED: Final = "effects-failed"
"""Counter of effects that could not be carried out."""
_PLACES: Final = 256
"""Places whose traceback has been logged, at most; beyond, a fault is only counted."""

_log = logging.getLogger("gossipsync.engine")


class Faults:
    """Notes the faults of one engine in its counters."""

    def __init__(self, tally: Counter[str]) -> None:
        self._tally = tally
        self._places: set[tuple[str, int, str]] = set()

    def note(self, error: BaseException, context: str, counter: str = INTERNAL) -> None:
        """Count a fault, and log it if it is the first at its place. `context` says what was being done."""
        self._tally[counter] += 1
        place = _place_of(error)
        if place in self._places or len(self._places) >= _PLACES:
            _log.debug("the fault at %s:%d again (%s)", place[0], place[1], context)
            return
        self._places.add(place)
        _log.error(
            "a bug in gossipsync (%s): please report it with this traceback; this peer goes on, and counts"
            " further faults of this kind under %r",
            context,
            counter,
            exc_info=error,
        )


def _place_of(error: BaseException) -> tuple[str, int, str]:
    """Where it was raised, and its type; of a group, the first of its exceptions."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    file, line = "", 0
    trace: TracebackType | None = error.__traceback__
    for frame, number in walk_tb(trace):
        file, line = frame.f_code.co_filename, number
    return file, line, type(error).__name__
