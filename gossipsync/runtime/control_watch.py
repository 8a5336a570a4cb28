"""`watch` over the control socket: what is there, then what changes, until the caller goes away.

Invariant: nothing is queued for the caller: a slow one gets fewer, newer changes.
"""

from typing import Final

import trio

from gossipsync.core.model.ids import peer_text
from gossipsync.core.model.values import encode_value
from gossipsync.errors import CursorError
from gossipsync.runtime.control_arguments import Arguments
from gossipsync.runtime.control_ready import admit
from gossipsync.runtime.control_waits import SendPart, ServedEngine, until
from gossipsync.runtime.watching import Shown, Watching, first_cursor

__all__ = ["watch"]

_PART_CHANGES: Final = 200
_PART_BYTES: Final = 1 << 20


async def watch(engine: ServedEngine, arguments: Arguments, send_part: SendPart) -> object:
    """Send changes, several a part, until nothing has changed for `timeout_s`."""
    bucket, prefix = arguments.text("bucket"), arguments.text("prefix")
    since, timeout_s = arguments.text_or_none("since"), arguments.seconds_or_none("timeout_s")
    if since in {None, "now"}:  # a cursor goes on where it was, also in a peer that is joining
        await admit(engine, bucket)
    if bucket not in engine.peer.replicas:
        if since not in {None, "now"}:
            raise CursorError(f"there is no bucket {bucket!r} here; watch from the beginning")
        if since == "now":
            since = first_cursor(engine.peer.run_name, bucket)
        if not await until(engine, lambda: bucket in engine.peer.replicas, timeout_s):
            return None
    watching = Watching(
        engine.peer,
        engine.lock,
        lambda: engine.now().wall_ms,
        bucket,
        prefix,
        since,
    )
    quiet_since_s = trio.current_time()
    while True:
        if await _send_all(watching, send_part):
            quiet_since_s = trio.current_time()
        # Changes of other keys than the prefix asks for do not make the caller wait longer.
        left_s = None
        if timeout_s is not None:
            left_s = max(0.0, quiet_since_s + timeout_s - trio.current_time())
        if not await until(engine, watching.has_more, left_s, bucket=bucket):
            return None


async def _send_all(watching: Watching, send_part: SendPart) -> bool:
    """Send what there is to show by now; False where that is nothing."""
    part: list[dict[str, object]] = []
    size_bytes, was_sent = 0, False
    while (shown := watching.next()) is not None:
        part.append(_row(shown))
        size_bytes += len(value) if isinstance(value := part[-1]["value"], bytes) else 0
        if len(part) >= _PART_CHANGES or size_bytes >= _PART_BYTES:
            await send_part(part)
            part, size_bytes, was_sent = [], 0, True
    if part:
        await send_part(part)
    return was_sent or bool(part)


def _row(shown: Shown) -> dict[str, object]:
    value, origin = None, None
    if shown.found is not None:
        seen = shown.found.value
        value = encode_value(sorted(seen) if isinstance(seen, frozenset) else seen)
        origin = peer_text(shown.found.origin)
    return {
        "key": shown.key,
        "kind": shown.kind,
        "value": value,
        "origin": origin,
        "cursor": shown.cursor,
    }
