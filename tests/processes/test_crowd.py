"""Sixteen real peers in a few processes, too many for everybody to be linked with everybody, and what happens to three of them.

The processes are those of `scripts/bench --only hundred`, which says how soon; here it only has to come about.
"""

import importlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.tidy._rules import ROOT

LONE = ("killed", "stopped", "stalled")
NAMES = [[f"{number}-{each}" for each in range(size)] for number, size in enumerate((6, 6))]
NAMES += [[name] for name in LONE]
PEERS = 1 + sum(map(len, NAMES))
IN_TIME_S = 40.0  # far above what anything here takes
STALL_S = 1.5


@pytest.fixture
def crowds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Five processes, one seed, everybody known to everybody."""
    scripts = str(ROOT / "scripts")
    monkeypatch.syspath_prepend(scripts)
    monkeypatch.setenv("PYTHONPATH", scripts)
    fleet = importlib.import_module("_bench._fleet").fleet
    with fleet(len(NAMES), module="_crowd") as workers:
        key = workers.cluster_key
        seed = workers[0].call("open", names=["seed"], cluster_key=key, seeds=[])
        for worker, names in zip(workers, NAMES, strict=True):
            worker.call("open", names=names, cluster_key=key, seeds=[seed])
        workers.call("settle", members=PEERS, within_s=IN_TIME_S)
        yield workers


def test_a_death_a_silence_and_a_stall(crowds: Any) -> None:
    killed, stopped, stalled = crowds[-len(LONE) :]
    crowds[1].call("write", key="before")
    crowds.call("have", key="before", within_s=IN_TIME_S)
    killed.process.kill()
    stopped.process.send_signal(signal.SIGSTOP)
    others = [*crowds[: -len(LONE)], stalled]
    for name in ("killed", "stopped"):
        for worker in others:
            worker.call("see", name=name, state="down", within_s=IN_TIME_S)
    stopped.process.send_signal(signal.SIGCONT)
    for worker in others:
        worker.call("see", name="stopped", state="alive", within_s=IN_TIME_S)
    alive = [*others, stopped]
    stalled.call("news")
    stalls = stalled.call("stalls")
    stalled.call("stall", span_s=STALL_S)
    stalled.call("write", key="after")
    for worker in alive:
        worker.call("have", key="after", within_s=IN_TIME_S)
        worker.call("settle", members=PEERS - 1, within_s=IN_TIME_S)
    assert stalled.call("stalls") > stalls
    assert not [about for _, about, state, _ in stalled.call("news") if state == "down"]
    for worker in alive:
        assert all(seen == {"alive": PEERS - 1, "down": 1} for seen in worker.call("states"))
