"""What it costs until every process has every update, and how soon one sees another's write."""

from collections.abc import Iterator
from statistics import quantiles

from _bench._figures import Figure, Scale
from _bench._fleet import Fleet, Worker, cpu_s, fleet, wire_bytes

__all__ = ["latency", "sessions", "updates"]

_CPU_TARGET_S = {2: 2.5, 8: 8.0}
_ALL_WRITE_TARGET_S = 10.0
_WIRE_TARGET_BYTES = {2: 150.0, 8: 1100.0}
_LATENCY_TARGET_MS = {2: 0.7, 8: 1.5}
_PACE_PER_S = 200


def sessions(scale: Scale) -> Iterator[Figure]:
    """Sessions of 1 KiB, a third written by each of 3 processes."""
    for store in ("memory", "SQLite"):
        with fleet(3) as workers:
            workers.open(is_durable=store == "SQLite")
            share = scale.sessions // len(workers)
            for number, worker in enumerate(workers):
                worker.send("usage")
                worker.send("write_sessions", prefix=str(number), count=share)
            taken_s, used_s, _ = _until_all_have_it(workers, workers)
        per_s = share * len(workers) / taken_s
        yield Figure(f"sessions of 1 KiB among 3 ({store})", per_s, "writes/s")
        yield Figure(f"CPU a 1,000 sessions ({store})", used_s / share / 3 * 1000, "s")


def updates(scale: Scale) -> Iterator[Figure]:
    """Updates of 100 B, written as fast as may be, until every process has every one; memory stores."""
    for size in (2, *scale.meshes):
        yield from _updates(scale, size, writers=1)
    for size in scale.meshes:
        yield from _updates(scale, size, writers=size)


def _updates(scale: Scale, size: int, writers: int) -> Iterator[Figure]:
    with fleet(size) as workers:
        workers.open()
        share = scale.entries // writers
        for number, worker in enumerate(workers):
            worker.send("usage")
            if number < writers:
                worker.send("write", prefix=str(number), count=share, size=100)
        taken_s, used_s, sent_bytes = _until_all_have_it(workers, workers[:writers])
    count = share * writers
    label = f"{count // 1000}k updates, {writers} of {size} write"
    target_s = _CPU_TARGET_S.get(size) if writers == 1 else _ALL_WRITE_TARGET_S
    yield Figure(f"{label}: CPU of all", used_s, "CPU-s", target_s)
    yield Figure(f"{label}: until all have all", taken_s, "s")
    if writers == 1:
        target = _WIRE_TARGET_BYTES.get(size)
        yield Figure(f"{label}: wire an update", sent_bytes / count, "B", target)


def _until_all_have_it(workers: Fleet, writers: list[Worker]) -> tuple[float, float, int]:
    """Seconds, CPU seconds and bytes from the `usage` asked for before until everybody has the writers' all."""
    before = [worker.answer() for worker in workers]
    tokens = [worker.answer() for worker in writers]
    arrived_s = max(workers.call("wait_for", tokens=tokens))
    after = workers.call("usage")
    began_s = min(usage["monotonic_s"] for usage in before)
    return arrived_s - began_s, cpu_s(before, after), wire_bytes(before, after)


def latency(scale: Scale) -> Iterator[Figure]:
    """Age of a write when another process's `watch` shows it, at 200 writes a second; memory stores."""
    count = round(_PACE_PER_S * scale.paced_s)
    for size in (2, *scale.meshes):
        with fleet(size) as workers:
            workers.open()
            writer, *readers = workers
            for reader in readers:
                reader.call("watch", count=count)
            writer.call("write_paced", count=count, per_s=_PACE_PER_S)
            lags_ms = [lag for reader in readers for lag in reader.answer()]
        cuts = quantiles(lags_ms, n=100)
        label = f"write to visible, {size} processes"
        yield Figure(f"{label}: p50", cuts[49], "ms", _LATENCY_TARGET_MS.get(size))
        yield Figure(f"{label}: p99", cuts[98], "ms")
