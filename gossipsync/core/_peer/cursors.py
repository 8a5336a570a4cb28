"""Cursors: how far watchers have seen a bucket, kept over a restart that loses nothing.

A cursor is a position in a change log, and the log ends with the run. Whoever ends a run in good order, all committed and no more to
come, leaves in the store where each log that anybody follows stood, and its newest keys. The next run goes on from there, for it
loads the very state that was left. After a crash it cannot: watchers may have been shown what was never stored.

Invariant: what is left in the store is taken out by the first commit that changes anything; so it is never of another state than
that beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from attrs import define, field

from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.context import Context
from gossipsync.core.model import strict
from gossipsync.core.replication.replica import Replica

_HEADS: Final = "changes/"
_NOTE_BYTES: Final = 60 << 10
"""Of keys in one note: a store's head has room for them."""
_RUN_NAME_BYTES: Final = 6
_RUNS: Final = 32
"""Earlier runs whose cursors are still known."""
_DEPTH: Final = 3


@define(eq=False)
class Cursors:
    """What is known of earlier runs' cursors, and what the next run is to know of this one's."""

    _ctx: Context
    _commits: Commits
    run_name: bytes = b""
    _runs: dict[str, dict[bytes, int]] = field(factory=dict)
    """By bucket: names of earlier runs, oldest first, and where each ended."""

    def load(self, heads: dict[str, bytes]) -> None:
        """Go on where the last run ended in good order; all else of the state has been loaded."""
        for name, note in sorted(heads.items()):
            if name.startswith(_HEADS):
                self._ctx.store.put_head(name, None)
                replica = self._ctx.replicas.get(name.removeprefix(_HEADS))
                if replica is not None:
                    self._go_on(replica, note)

    def _go_on(self, replica: Replica, note: bytes) -> None:
        try:
            swept_ms, live, runs, position, floor, changed = _parse(note)
        except strict.MalformedError:
            self._ctx.counters["cursors-unreadable"] += 1  # they are refused, and all else is fine
            return
        # What had expired by then was shown to have.
        replica.sweep(swept_ms)
        if len(replica) == live:
            replica.changes.go_on(position, floor, changed)
            self._runs[replica.name] = runs

    def start(self) -> None:
        """A run begins, with an epoch of its own."""
        self.run_name = sha256(self._ctx.origin).digest()[:_RUN_NAME_BYTES]

    def last_position(self, bucket: str, run_name: bytes) -> int | None:
        """Up to where positions of an earlier run mean what they mean now; None for a run that is not known."""
        return self._runs.get(bucket, {}).get(run_name)

    def leave(self) -> None:
        """The last thing of a run, after everything else has been committed: buffer where it ends."""
        ctx = self._ctx
        for bucket, replica in ctx.replicas.items():
            changes = replica.changes
            if not changes.is_followed or replica.has_dropped:
                continue
            swept_ms = ctx.now.wall_ms
            replica.sweep(swept_ms)
            runs = {**self._runs.get(bucket, {}), self.run_name: changes.position}
            floor, changed = changes.newest(_NOTE_BYTES)
            rows = tuple(list(runs.items())[-_RUNS:])
            note = (swept_ms, len(replica), rows, changes.position, floor, tuple(changed))
            self._commits.put_head(_HEADS + bucket, strict.encode(note))


_Note = tuple[int, int, dict[bytes, int], int, int, list[tuple[str, int]]]


def _parse(note: bytes) -> _Note:
    match strict.decode(note, _DEPTH):
        case (int(swept_ms), int(live), tuple(rows), int(position), int(floor), tuple(changed)):
            runs = [(name, end) for name, end in _pairs(rows) if isinstance(name, bytes)]
            keys = [(key, at) for key, at in _pairs(changed) if isinstance(key, str)]
            if len(runs) == len(rows) and len(keys) == len(changed):
                return swept_ms, live, dict(runs), position, floor, keys
        case _:
            pass
    raise strict.MalformedError("no note of where a run's cursors ended")


def _pairs(rows: tuple[object, ...]) -> Iterator[tuple[object, int]]:
    for row in rows:
        match row:
            case (name, int(number)):
                yield name, number
            case _:
                return
