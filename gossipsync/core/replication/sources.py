"""Source ranking: which members delivered the data that they were asked for, and which did not.

A source that was asked for data it claimed, and delivered none, *rests*: others are asked before it. Each further failure doubles
the rest, and one delivery ends it. Nothing is refused to a resting source: the only member that has some data is asked for it
after a short pause, however often it has failed, because an honest source may be slow. Failures are remembered by peer, not by
link, so that a source that hangs up when it is asked gains nothing.

Bounded: the oldest record is forgotten when there are too many.
"""

from __future__ import annotations

from typing import Final

from attrs import define

from gossipsync.core.model.ids import PeerId

_REST_S: Final = 30.0
"""Rest after a first failure; longer than the patience for one question, so that all others have had a turn."""
_LONGEST_REST_S: Final = 960.0
_PAUSE_S: Final = 1.0
"""Pause after a first failure, before a source is asked again though no other is there."""
_LONGEST_PAUSE_S: Final = 15.0
_FAILING: Final = 2
"""Failures in a row after which nothing waits for this source: one may be a matter of moments."""


@define
class _Failures:
    count: int = 0
    failed_s: float = float("-inf")


class Sources:
    """The failures of one peer's sources, as far as they are not made up for."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._failures: dict[PeerId, _Failures] = {}

    def __len__(self) -> int:
        return len(self._failures)

    def failed(self, peer: PeerId, asked_s: float, now_s: float) -> bool:
        """A source delivered nothing. False if it was asked before its last failure: several questions at once fail as one."""
        failures = self._failures.get(peer)
        if failures is None:
            if len(self._failures) >= self._room:
                del self._failures[next(iter(self._failures))]
            failures = self._failures[peer] = _Failures()
        elif asked_s < failures.failed_s:
            return False
        failures.count += 1
        failures.failed_s = now_s
        return True

    def delivered(self, peer: PeerId) -> None:
        """A source delivered data: its failures are forgotten."""
        self._failures.pop(peer, None)

    def rests_until_s(self, peer: PeerId) -> float:
        """The moment up to which others are asked first; the distant past for a source that has not failed."""
        return self._until_s(peer, _REST_S, _LONGEST_REST_S)

    def pauses_until_s(self, peer: PeerId) -> float:
        """The moment up to which a source is not asked at all."""
        return self._until_s(peer, _PAUSE_S, _LONGEST_PAUSE_S)

    def failures_of(self, peer: PeerId) -> int:
        """Failures in a row."""
        failures = self._failures.get(peer)
        return 0 if failures is None else failures.count

    def is_failing(self, peer: PeerId) -> bool:
        """Whether nothing is to wait for this source: it has failed more than once in a row."""
        return self.failures_of(peer) >= _FAILING

    def _until_s(self, peer: PeerId, first_s: float, longest_s: float) -> float:
        failures = self._failures.get(peer)
        if failures is None:
            return float("-inf")
        return failures.failed_s + min(longest_s, first_s * 2.0 ** min(failures.count - 1, 16))
