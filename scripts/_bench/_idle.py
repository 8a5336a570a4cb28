"""What a mesh says when nothing happens."""

from collections.abc import Iterator
from time import sleep

from _bench._figures import Figure, Scale
from _bench._fleet import fleet, wire_bytes

__all__ = ["idle_traffic"]

_TARGET_BYTES_PER_S = 5000
_SETTLE_S = 1.0


def idle_traffic(scale: Scale) -> Iterator[Figure]:
    """Bytes a second that each peer of a small, equal mesh sends."""
    for size in scale.idle_meshes:
        with fleet(size) as workers:
            workers.open()
            workers[0].call("write", prefix="k", count=100, size=100)
            sleep(_SETTLE_S)  # the measure is of a span of time, not of something to wait for
            before = workers.call("usage")
            sleep(scale.idle_s)
            after = workers.call("usage")
        span_s = after[0]["monotonic_s"] - before[0]["monotonic_s"]
        per_s = wire_bytes(before, after) / size / span_s
        yield Figure(f"idle traffic, {size} peers", per_s, "B/s", _TARGET_BYTES_PER_S)
