"""`watch` over the control socket: what is there, then what changes, until the caller goes away.

A cursor names a place in this peer's change log, which lives as long as its epoch.

Invariant: the caller sees every key's newest state, in an order in which they were reached; nothing is
queued for it: a slow caller gets fewer, newer changes.
"""

import re
from collections.abc import Sequence
from typing import Final

import trio
from attrs import frozen

from gossipsync.core import Replica
from gossipsync.core.model.ids import peer_text
from gossipsync.core.model.values import encode_value
from gossipsync.errors import CursorError
from gossipsync.runtime.control_arguments import Arguments
from gossipsync.runtime.control_waits import SendPart, ServedEngine, until

__all__ = ["watch"]

_CURSOR = re.compile(r"([0-9]{1,19})-([0-9]{0,19})", re.ASCII)
_KINDS = {"present": "put", "expired": "expire"}  # deleted, or forgotten since: delete
_PART_CHANGES: Final = 200
_PART_BYTES: Final = 1 << 20


async def watch(engine: ServedEngine, arguments: Arguments, send_part: SendPart) -> object:
    """Send changes, several a part, until nothing has changed for `timeout_s`."""
    bucket, prefix = arguments.text("bucket"), arguments.text("prefix")
    since, timeout_s = arguments.text_or_none("since"), arguments.seconds_or_none("timeout_s")
    position = None if since is None else _position(engine, bucket, since)
    if not await until(engine, lambda: bucket in engine.peer.replicas, timeout_s):
        return None
    replica = engine.peer.replicas[bucket]
    quiet_since_s = trio.current_time()
    while True:
        run = _read_on(engine, replica, prefix, position)
        if run.keys:
            await _send_run(engine, replica, run, send_part)
            quiet_since_s = trio.current_time()
        position = run.reached

        def has_changed(seen: int = run.reached) -> bool:
            return replica.changes.position > seen

        # Changes of other keys than the prefix asks for do not make the caller wait longer.
        left_s = None
        if timeout_s is not None:
            left_s = max(0.0, quiet_since_s + timeout_s - trio.current_time())
        if not await until(engine, has_changed, left_s, bucket=bucket):
            return None


@frozen
class _Run:
    """Keys to report together. `began` None: they are what is present, not what has changed."""

    keys: Sequence[str]
    began: int | None
    reached: int


def _read_on(engine: ServedEngine, replica: Replica, prefix: str, position: int | None) -> _Run:
    with engine.lock:
        reached = replica.changes.position
        changed = None if position is None else replica.changes.since(position)
        if changed is not None:
            return _Run([key for key in changed if key.startswith(prefix)], position, reached)
        # From the beginning, or so far behind that only the state itself brings the caller up to date.
        return _Run(replica.keys(engine.now().wall_ms, prefix), None, reached)


async def _send_run(engine: ServedEngine, replica: Replica, run: _Run, send_part: SendPart) -> None:
    part: list[dict[str, object]] = []
    size_bytes = 0
    for number, key in enumerate(run.keys, start=1):
        # A cursor in the middle goes back to the start of the run: some changes come twice, none is lost.
        is_last = number == len(run.keys)
        position = run.reached if is_last else run.began
        cursor = f"{engine.peer.epoch}-{'' if position is None else position}"
        change = _change(engine, replica, key, cursor, is_present=run.began is None)
        if change is not None:
            part.append(change)
            size_bytes += len(value) if isinstance(value := change["value"], bytes) else 0
        if is_last or len(part) >= _PART_CHANGES or size_bytes >= _PART_BYTES:
            await send_part(part)
            part, size_bytes = [], 0


def _change(
    engine: ServedEngine, replica: Replica, key: str, cursor: str, *, is_present: bool
) -> dict[str, object] | None:
    """One change as it is now; None for a key that was present when the run began and is gone since."""
    with engine.lock:
        wall_ms = engine.now().wall_ms
        state = replica.state_of(key, wall_ms)
        value, origin, kind = None, None, _KINDS.get(state, "delete")
        if state == "present":
            seen = replica.provenance(key, wall_ms)
            shown = sorted(seen.value) if isinstance(seen.value, frozenset) else seen.value
            value, origin = encode_value(shown), peer_text(seen.origin)
            kind = "present" if is_present else "put"
        elif is_present:
            return None
    return {"key": key, "kind": kind, "value": value, "origin": origin, "cursor": cursor}


def _position(engine: ServedEngine, bucket: str, since: str) -> int | None:
    """Where a cursor points; None for the beginning. Raises CursorError."""
    with engine.lock:
        replica = engine.peer.replicas.get(bucket)
        if since == "now":
            return 0 if replica is None else replica.changes.position
        found = _CURSOR.fullmatch(since)
        if found is None or int(found[1]) != engine.peer.epoch:
            raise CursorError(
                "the cursor was given by another peer, or before this one's last start"
            )
        if not found[2]:
            return None
        position = int(found[2])
        if replica is None or replica.changes.since(position) is None:
            raise CursorError("what the cursor points at is no longer kept")
        return position
