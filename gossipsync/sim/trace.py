"""The trace: one canonical line for every input that any peer got, and a SHA-256 over all of them.

Two runs that give the same hash gave every peer the same bytes at the same moments in the same order. Times are in whole
microseconds, peers are numbers, data stands as it is. Nothing in a line depends on the machine, the Python or its hash seed.
"""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from typing import Final

_KEPT_LINES: Final = 400
"""Lines kept for people, where they are kept at all: the newest."""
_SHOWN_BYTES: Final = 16


class Trace:
    """Hash and count of all lines; with `keeps`, also the newest lines as text."""

    def __init__(self, *, keeps: bool = False) -> None:
        self._hash = sha256()
        self._lines: deque[str] | None = deque(maxlen=_KEPT_LINES) if keeps else None
        self.count = 0

    def note(self, time_s: float, peer: int, what: str, number: int, data: bytes = b"") -> None:
        """One input: when, to whom, what, and its bytes."""
        self.count += 1
        line = b"%d %d %s %d %d " % (int(time_s * 1e6), peer, what.encode(), number, len(data))
        self._hash.update(line + data)
        if self._lines is not None:
            shown = data[:_SHOWN_BYTES].hex() + ("…" if len(data) > _SHOWN_BYTES else "")
            self._lines.append(f"{self.count:>8} {line.decode()}{shown}")

    def hash(self) -> str:
        """64 hex digits."""
        return self._hash.hexdigest()

    def lines(self) -> list[str]:
        """The newest lines, oldest first."""
        return list(self._lines or ())
