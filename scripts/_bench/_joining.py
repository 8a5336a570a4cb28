"""What it takes to come in: joining from nothing, and catching up after having been away."""

from collections.abc import Iterator

from _bench._figures import Figure, Scale
from _bench._fleet import Worker, cpu_s, fleet

__all__ = ["catch_up", "join"]

_MB = 1e6


def join(scale: Scale) -> Iterator[Figure]:
    """A new process joins one that holds keys of 200 B; memory stores."""
    empty = _joined_memory()
    with fleet(2) as workers:
        founder, joiner = workers
        founder.open(workers.cluster_key, [], is_durable=False)
        token = founder.call("write", prefix="k", count=scale.entries, size=200)
        founder.call("wait_for", tokens=[token])
        joiner.open(
            workers.cluster_key, [], is_durable=False
        )  # alone: for the clocks to start from
        before = workers.call("usage")
        joiner.call("close")
        joiner.open(workers.cluster_key, [founder.address], is_durable=False)
        joiner.call("settle", members=2)
        arrived_s = joiner.call("wait_for", tokens=[token])
        after = workers.call("usage")
        memory = joiner.call("memory")
    label = f"join {scale.entries // 1000}k keys × 200 B"
    received = after[1]["received_bytes"] + after[1]["sent_bytes"]
    yield Figure(f"{label}: time", arrived_s - before[1]["monotonic_s"], "s", 1.5)
    yield Figure(f"{label}: bytes both ways", received / _MB, "MB", 22)
    yield Figure(f"{label}: CPU of both", cpu_s(before, after), "CPU-s", 1.5)
    yield Figure(
        f"{label}: resident over an empty peer", memory["now_mb"] - empty["now_mb"], "MB", 55
    )
    yield Figure(
        f"{label}: peak over an empty peer", memory["peak_mb"] - empty["peak_mb"], "MB", 55
    )


def _joined_memory() -> dict[str, float]:
    """Memory of a peer that has joined a mesh without data."""
    with fleet(2) as workers:
        workers.open()
        return workers[1].call("memory")


def catch_up(scale: Scale) -> Iterator[Figure]:
    """A process that was away comes back with its SQLite store and gets what it missed."""
    with fleet(2) as workers:
        stayed, went = workers
        stayed.open(workers.cluster_key, [], is_durable=False)
        had = stayed.call("write", prefix="k", count=scale.entries, size=100)
        went.open(workers.cluster_key, [stayed.address], is_durable=True)
        went.call("settle", members=2)
        went.call("wait_for", tokens=[had])
        went.call("close")
        missed = stayed.call("write", prefix="m", count=scale.missed, size=100)
        opened = went.open(workers.cluster_key, [stayed.address], is_durable=True)
        taken_s, used = _caught_up(went, missed)
    label = f"catch up on {scale.missed:,} of {scale.entries // 1000}k"
    total = used["received_bytes"] + used["sent_bytes"]
    yield Figure(f"{label}: bytes a key, both ways", total / scale.missed, "B", 250)
    yield Figure(f"{label}: from serving, TLS included", taken_s * 1000, "ms", 20)
    yield Figure(f"{label}: open, journal replayed", opened["open_s"], "s")


def _caught_up(worker: Worker, token: str) -> tuple[float, dict[str, float]]:
    before = worker.call("usage")
    arrived_s = worker.call("wait_for", tokens=[token])
    return arrived_s - before["monotonic_s"], worker.call("usage")
