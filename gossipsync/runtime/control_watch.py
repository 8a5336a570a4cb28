"""`watch` over the control socket: what is there, then what changes, until the caller goes away.

A cursor names a place in this peer's change log, which lives as long as its epoch.

Invariant: the caller sees every key's newest state, in an order in which they were reached; nothing is
queued for it: a slow caller gets fewer, newer changes.
"""

import re
from collections.abc import Awaitable, Callable

from gossipsync.core import Replica
from gossipsync.core.model.ids import peer_text
from gossipsync.core.model.values import encode_value
from gossipsync.errors import CursorError
from gossipsync.runtime.control_arguments import Arguments
from gossipsync.runtime.control_waits import ServedEngine, until

__all__ = ["watch"]

_CURSOR = re.compile(r"([0-9]{1,19})-([0-9]{1,19})", re.ASCII)
_KINDS = {"present": "put", "expired": "expire"}  # deleted, or forgotten since: delete

SendPart = Callable[[object], Awaitable[None]]


async def watch(engine: ServedEngine, arguments: Arguments, send_part: SendPart) -> object:
    """Send changes until nothing has changed for `timeout_s`."""
    bucket, prefix = arguments.text("bucket"), arguments.text("prefix")
    since, timeout_s = arguments.text_or_none("since"), arguments.seconds_or_none("timeout_s")
    position = None if since is None else _position(engine, bucket, since)
    if not await until(engine, lambda: bucket in engine.peer.replicas, timeout_s):
        return None
    replica = engine.peer.replicas[bucket]
    while True:
        keys, kind, reached = _read_on(engine, replica, prefix, position)
        for key in keys:
            # A cursor in the middle goes back to the start of this run: some changes come twice, none is lost.
            is_last = key is keys[-1]
            cursor = f"{engine.peer.epoch}-{reached if is_last else position or 0}"
            await send_part(_change(engine, replica, key, kind, cursor))
        position = reached

        def has_changed(seen: int = reached) -> bool:
            return replica.changes.position > seen

        if not await until(engine, has_changed, timeout_s, bucket=bucket):
            return None


def _read_on(
    engine: ServedEngine, replica: Replica, prefix: str, position: int | None
) -> tuple[list[str], str | None, int]:
    """Keys to report, how (None: by their state), and the position then reached."""
    with engine.lock:
        reached = replica.changes.position
        changed = None if position is None else replica.changes.since(position)
        if changed is not None:
            return [key for key in changed if key.startswith(prefix)], None, reached
        # From the beginning, or so far behind that only the state itself brings the caller up to date.
        return replica.keys(engine.now().wall_ms, prefix), "present", reached


def _change(
    engine: ServedEngine, replica: Replica, key: str, kind: str | None, cursor: str
) -> dict[str, object]:
    with engine.lock:
        wall_ms = engine.now().wall_ms
        state = replica.state_of(key, wall_ms)
        value, origin = None, None
        if state == "present":
            seen = replica.provenance(key, wall_ms)
            shown = sorted(seen.value) if isinstance(seen.value, frozenset) else seen.value
            value, origin = encode_value(shown), peer_text(seen.origin)
            kind = kind or "put"
        else:
            kind = _KINDS.get(state, "delete")
    return {"key": key, "kind": kind, "value": value, "origin": origin, "cursor": cursor}


def _position(engine: ServedEngine, bucket: str, since: str) -> int:
    """Where a cursor points. Raises CursorError."""
    with engine.lock:
        replica = engine.peer.replicas.get(bucket)
        here = 0 if replica is None else replica.changes.position
        if since == "now":
            return here
        found = _CURSOR.fullmatch(since)
        if found is None or int(found[1]) != engine.peer.epoch:
            raise CursorError(
                "the cursor was given by another peer, or before this one's last start"
            )
        position = int(found[2])
        if replica is None or replica.changes.since(position) is None:
            raise CursorError("what the cursor points at is no longer kept")
        return position
