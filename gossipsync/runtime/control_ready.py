"""Readiness for callers of the control socket: a command on a peer that has just started waits for its data, as a read in its process.

Invariant: an operation that depends on the data in a bucket passes here first; one that shows the peer's own state does not.
"""

from gossipsync.errors import NotReadyError
from gossipsync.runtime.control_waits import ServedEngine, until
from gossipsync.runtime.settings import NO_BUCKET_SETTINGS, NOT_READY

__all__ = ["admit"]


async def admit(engine: ServedEngine, bucket: str) -> None:
    """Return once a bucket may be read, by its setting `unready`. Raises NotReadyError, ClosedError."""
    gate = engine.gate
    match engine.settings.buckets.get(bucket, NO_BUCKET_SETTINGS).unready:
        case "empty":
            return
        case "raise":
            if not gate.is_ready():
                raise NotReadyError(NOT_READY.format(bucket=bucket))
        case _:
            if not gate.is_open and not await until(engine, gate.is_ready, gate.left_s()):
                gate.expire()
