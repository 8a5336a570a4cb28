"""A hundred real peers on one machine: what they cost, and whether they find the dead and spare the living.

Nearly all share a few processes. Three have one each, so that something can happen to them: one is killed, one is stopped, which is
what a machine that loses its network looks like to others, and one's loop stands still.
"""

import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import quantiles
from time import sleep, time

from _bench._figures import Figure, Scale
from _bench._fleet import Fleet, Worker, cpu_s, fleet, wire_bytes

__all__ = ["hundred"]

_LONE = ("killed", "stopped", "stalled")
_START_S = 60.0
_VIEWS_S = 10.0
"""For views to take shape: at first all are linked with the seed."""
_WRITES = 10
_PACE_S = 0.5
_STALL_S = 5.0
_FIND_S = 5.0
"""What is promised for a mesh of 100."""
_IDLE_BYTES_PER_S = 5000
_PATIENCE_S = 300.0
_LOOPBACK = Path("/proc/net/dev")

News = list[tuple[str, str, str, float]]
"""Who has seen whom in which state, and when, by the wall clock."""


def hundred(scale: Scale) -> Iterator[Figure]:
    """Start, idle, ten writes, and then a death, a silence and a stall; memory stores."""
    with fleet(len(scale.crowds) + len(_LONE), module="_crowd", patience_s=_PATIENCE_S) as workers:
        killed, stopped, stalled = workers[-len(_LONE) :]
        peers = sum(scale.crowds) + len(_LONE)
        yield from _start(workers, scale, peers)
        sleep(_VIEWS_S)
        yield from _idle(workers, scale, peers)
        yield from _writes(workers, peers)
        news = _news(workers)
        yield Figure(
            "nothing wrong: times that one who lives was seen down", len(_downs(news)), "", 0
        )
        left = _without(workers, killed)
        yield from _loss("killed", left, peers - 1, scale, killed.process.kill)
        left = _without(left, stopped)
        stop = partial(stopped.process.send_signal, signal.SIGSTOP)
        yield from _loss("stopped", left, peers - 2, scale, stop)
        stopped.process.kill()
        yield from _stall(stalled, _without(left, stalled), peers - 3, scale)


def _start(workers: Fleet, scale: Scale, peers: int) -> Iterator[Figure]:
    """All at once, with one seed."""
    key = workers.cluster_key
    seed = workers[0].call("open", names=["seed"], cluster_key=key, seeds=[])
    before = workers.call("usage")
    for number, (worker, size) in enumerate(zip(workers, scale.crowds, strict=False)):
        names = [f"{number}-{each}" for each in range(size - (number == 0))]
        worker.send("open", names=names, cluster_key=key, seeds=[seed])
    for worker, name in zip(workers[-len(_LONE) :], _LONE, strict=True):
        worker.send("open", names=[name], cluster_key=key, seeds=[seed])
    for worker in workers:
        worker.answer()
    settled_s = max(workers.call("settle", members=peers, within_s=_START_S))
    after = workers.call("usage")
    yield Figure(f"{peers} peers: until all know all", settled_s - before[0]["monotonic_s"], "s")
    yield Figure("start: CPU of all", cpu_s(before, after), "CPU-s")
    yield Figure("start: sent a peer", wire_bytes(before, after) / peers / 1000, "kB")


def _idle(workers: Fleet, scale: Scale, peers: int) -> Iterator[Figure]:
    before, loopback = workers.call("usage"), _loopback_bytes()
    sleep(scale.watch_s)  # the measure is of a span of time, not of something to wait for
    after, loopback_after = workers.call("usage"), _loopback_bytes()
    span_s = after[0]["monotonic_s"] - before[0]["monotonic_s"]
    sent = wire_bytes(before, after) / peers / span_s
    yield Figure("idle: sent a peer", sent, "B/s", _IDLE_BYTES_PER_S)
    through = (loopback_after - loopback) / peers / span_s
    yield Figure("idle: through the loopback interface a peer", through, "B/s", _IDLE_BYTES_PER_S)
    yield Figure("idle: CPU a peer", 1000 * cpu_s(before, after) / peers / span_s, "ms/s")
    yield Figure("idle: links a peer", sum(each["links"] for each in after) / peers, "")
    yield Figure("idle: links of the one with most", max(each["links_most"] for each in after), "")
    resident_mb = sum(each["resident_mb"] for each in after)
    yield Figure("resident memory a peer, Python's own shared", resident_mb / peers, "MB")


def _writes(workers: Fleet, peers: int) -> Iterator[Figure]:
    for number in range(_WRITES):
        workers.call("expect", key=f"key{number}")
        workers[1].call("write", key=f"key{number}")
        sleep(_PACE_S)
    sleep(_PACE_S)
    lags_ms = [lag for each in workers.call("lags_ms") for lag in each]
    cuts = quantiles(lags_ms, n=100)
    yield Figure("a write seen by another: p50", cuts[49], "ms")
    yield Figure("a write seen by another: p99", cuts[98], "ms")
    missing = _WRITES * peers - len(lags_ms)
    yield Figure("not seen by somebody half a second later", missing, "", 0)


def _loss(
    name: str, left: Fleet, peers: int, scale: Scale, lose: Callable[[], None]
) -> Iterator[Figure]:
    """One is lost without a word to the others."""
    _news(left)
    began_s = time()
    lose()
    sleep(scale.watch_s)
    downs = _downs(_news(left))
    found_s = sorted(at_s - began_s for _, about, at_s in downs if about == name)
    yield Figure(f"{name}: first sees it down", found_s[0], "s")
    yield Figure(f"{name}: half see it down", found_s[len(found_s) // 2], "s")
    yield Figure(f"{name}: last sees it down", found_s[-1], "s", _FIND_S)
    yield Figure(f"{name}: do not see it down", peers - len(found_s), "", 0)
    yield Figure(
        f"{name}: times that one who lives was seen down", len(downs) - len(found_s), "", 0
    )


def _stall(stalled: Worker, others: Fleet, peers: int, scale: Scale) -> Iterator[Figure]:
    """One's loop stands still: others may give it up and take it back, it gives up nobody."""
    _news(others)
    stalled.call("news")
    began_s = time()
    stalled.call("stall", span_s=_STALL_S)
    sleep(scale.watch_s)
    news = _news(others)
    own = _downs(stalled.call("news"))
    yield Figure("its loop stalled 5 s: whom it sees down then", len(own), "", 0)
    given_up = [about for _, about, _ in _downs(news)]
    yield Figure("stalled: others that give it up", given_up.count("stalled"), "")
    yield Figure("stalled: others seen down", len(given_up) - given_up.count("stalled"), "", 0)
    back_s = [at_s for _, about, state, at_s in news if (about, state) == ("stalled", "alive")]
    if back_s:
        yield Figure("stalled: seen alive by all again", max(back_s) - began_s - _STALL_S, "s")
    states = [each for told in others.call("states") for each in told]
    lacking = sum(each["alive"] != peers + 1 for each in states)
    yield Figure("at the end: do not see all the others alive", lacking, "", 0)


def _without(workers: Fleet, lost: Worker) -> Fleet:
    left = Fleet()
    left += [worker for worker in workers if worker is not lost]
    return left


def _news(workers: Fleet) -> News:
    return [tuple(each) for told in workers.call("news") for each in told]


def _downs(news: News) -> list[tuple[str, str, float]]:
    """Who has seen whom down, and when."""
    return [(who, about, at_s) for who, about, state, at_s in news if state == "down"]


def _loopback_bytes() -> int:
    lines = _LOOPBACK.read_text().splitlines()
    (received,) = [line.split()[1] for line in lines if line.split()[0] == "lo:"]
    return int(received)
