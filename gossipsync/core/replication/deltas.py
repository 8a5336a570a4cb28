"""Deltas: what another peer lacks, cut to a byte budget.

Whatever the budget, what is sent of each log is a gap-free prefix of what was asked for, and at least one bundle in all, so the
receiver's vector is true wherever the cut falls. Orders after van Renesse et al., "Efficient Reconciliation and Flow Control
for Anti-Entropy Protocols" (LADIS 2008): depth finishes one log after another, the longest first; breadth takes a bundle of each in
turn; precise takes what was sealed first, whosever it is; mixed sends short logs first, so that new origins become known at once,
and the rest in turn. The paper's precise order may also begin with the newest: a log without gaps cannot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Final, NamedTuple

from gossipsync.core.model.ids import Origin
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.logs import Log, LogBook

_SHORT: Final = 2
"""Bundles up to which a log counts as short in the mixed order."""


class Span(NamedTuple):
    """Bundles `first` to `last` of one log."""

    bucket: str
    origin: Origin
    first: int
    last: int

    @property
    def key(self) -> LineKey:
        """The line it is of."""
        return (self.bucket, self.origin)


def build_delta(
    logs: LogBook, spans: Sequence[Span], budget_bytes: int, ordering: str
) -> list[tuple[Origin, bytes]]:
    """The bundles of the spans that fit the budget with their origins, at least one if any is held."""
    chosen: list[tuple[Origin, bytes]] = []
    used = 0
    for log, index in _in_order(logs, spans, ordering):
        data = log.encoded(index)
        used += len(data)
        if chosen and used > budget_bytes:
            break
        chosen.append((log.origin, data))
    return chosen


def _in_order(logs: LogBook, spans: Sequence[Span], ordering: str) -> Iterator[tuple[Log, int]]:
    runs = [
        (log, span.first, min(span.last, log.index))
        for span in spans
        if (log := logs.find(span.key)) is not None and log.fork is None
    ]
    runs = [run for run in runs if 1 <= run[1] <= run[2]]
    if ordering == "precise":
        each = [[(log, index) for index in range(first, last + 1)] for log, first, last in runs]
        # A log's HLC never goes back, so to merge by it keeps every log in its own order.
        yield from merge(*each, key=lambda bundle: bundle[0].hlc_at(bundle[1]))
        return
    if ordering == "depth":
        runs.sort(key=lambda run: run[1] - run[2])
        for log, first, last in runs:
            yield from ((log, index) for index in range(first, last + 1))
        return
    if ordering == "mixed":
        short = [run for run in runs if run[2] - run[1] < _SHORT]
        runs = [run for run in runs if run[2] - run[1] >= _SHORT]
        for log, first, last in short:
            yield from ((log, index) for index in range(first, last + 1))
    yield from _in_turn(runs)


def _in_turn(runs: Sequence[tuple[Log, int, int]]) -> Iterator[tuple[Log, int]]:
    queue = deque(runs)
    while queue:
        log, index, last = queue.popleft()
        yield log, index
        if index < last:
            queue.append((log, index + 1, last))
