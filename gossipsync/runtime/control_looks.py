"""Looks over the control socket: what a named member has, or this peer itself where none is named.

Invariant: a caller that goes away, or whose time is up, leaves no look under way.
"""

from collections.abc import Sequence
from typing import Final

from gossipsync.core import Aspect, Sight
from gossipsync.core.model.ids import epoch_of, peer_of, peer_text
from gossipsync.core.model.values import encode_value
from gossipsync.errors import WaitTimeoutError
from gossipsync.runtime.control_arguments import Arguments
from gossipsync.runtime.control_ready import admit
from gossipsync.runtime.control_waits import SendPart, ServedEngine, until

__all__ = ["fetch", "lines", "outlines"]

_PART_BYTES: Final = 1 << 20
_PART_ROWS: Final = 2000


async def fetch(engine: ServedEngine, arguments: Arguments, send_part: SendPart) -> object:
    """Send what a member has of some keys."""
    sight = await _look(engine, arguments, Aspect.VALUES, arguments.texts("keys"))
    part: list[object] = []
    size_bytes = 0
    found = sight.values(engine.now().wall_ms)
    for key, value in found.items():
        encoded = encode_value(sorted(value) if isinstance(value, frozenset) else value)
        part.append([key, encoded])
        size_bytes += len(encoded)
        if len(part) >= _PART_ROWS or size_bytes >= _PART_BYTES:
            await send_part(part)
            part, size_bytes = [], 0
    await send_part(part)
    return len(found)


async def outlines(engine: ServedEngine, arguments: Arguments, send_part: SendPart) -> object:
    """Send what stands for each key of a bucket; nothing for a bucket that the member does not have."""
    sight = await _look(engine, arguments, Aspect.OUTLINES)
    rows = list(sight.outlines(engine.now().wall_ms).items())
    for start in range(0, len(rows), _PART_ROWS):
        await send_part([[key, outline] for key, outline in rows[start : start + _PART_ROWS]])
    return len(rows)


async def lines(engine: ServedEngine, arguments: Arguments, send_part: SendPart) -> object:
    """Send how far the lines of a bucket go, and who that is."""
    sight = await _look(engine, arguments, Aspect.LINES)
    rows = [
        {
            "peer_id": peer_text(peer_of(origin)),
            "epoch": str(epoch_of(origin)),
            "index": index,
            "head": head.hex(),
        }
        for origin, (index, head) in sorted(sight.lines.items())
    ]
    for start in range(0, len(rows), _PART_ROWS):
        await send_part(rows[start : start + _PART_ROWS])
    return {"name": sight.name, "peer_id": peer_text(sight.peer)}


async def _look(
    engine: ServedEngine, arguments: Arguments, aspect: Aspect, keys: Sequence[str] | None = None
) -> Sight:
    """One look to its end. Raises what came of it, but for a bucket that is unknown there."""
    called, bucket = arguments.text_or_none("peer"), arguments.text("bucket")
    timeout_s = arguments.seconds_or_none("timeout_s")
    if called is not None:
        await admit(engine, bucket)  # before it has met anyone, a peer knows no member to ask
    with engine.lock:
        sight = engine.peer.look(called, bucket, engine.now(), aspect=aspect, keys=keys)
        engine.wake()
    try:
        is_over = await until(engine, lambda: sight.is_over, timeout_s)
    finally:
        with engine.lock:
            engine.peer.end_look(sight, engine.now())
            engine.wake()
    if not is_over:
        raise WaitTimeoutError(f"{sight.name!r} has not shown all of it within {timeout_s:g} s")
    if sight.error is not None and not sight.is_unknown:
        raise sight.error
    return sight
