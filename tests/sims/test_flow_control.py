"""Flow control: what a narrow link carries sets the pace, of deltas and in the end of writers, and queues stay bounded."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from gossipsync.core import Limits, PeerConfig
from gossipsync.sim.driver import Driver
from gossipsync.sim.options import Options
from gossipsync.sim.run import run
from gossipsync.sim.simulation import Simulation

BANDWIDTH = 20_000
"""Bytes a second: a delta of the default budget takes thirteen, which is longer than anybody waits for an answer."""
NARROW = Limits(unconfirmed_bytes=50_000, link_queue_bytes=30_000, delta_bytes=10_000)
OVERLOAD = Options(
    peers=2,
    workload="poisson",
    updates=100_000,
    rate=200.0,
    value_bytes=500,
    bandwidth=BANDWIDTH,
    push=True,
    until=10.0,
)


def links_of(driver: Driver) -> list[Any]:
    assert driver.peer is not None
    links = driver.peer.gossip_info(driver.now())["links"]
    assert isinstance(links, list)
    return links


def test_a_slow_link_gets_smaller_deltas_and_all_of_the_data() -> None:
    budgets: list[int] = []

    def look(simulation: Simulation) -> None:
        for driver in simulation.honest():
            budgets.extend(link["asking_budget_bytes"] for link in links_of(driver))

    result = run(Options(peers=2, updates=600, value_bytes=1_000, bandwidth=BANDWIDTH), look=look)
    assert result.converged
    assert result.violations == ()
    assert min(budgets) < BANDWIDTH < Limits().delta_first_bytes


def test_a_fast_link_gets_the_largest_deltas() -> None:
    budgets: list[int] = []

    def look(simulation: Simulation) -> None:
        budgets.extend(link["asking_budget_bytes"] for link in links_of(simulation.drivers[1]))

    options = Options(peers=2, updates=3_000, value_bytes=1_000, bandwidth=10_000_000)
    assert run(options, look=look).converged
    assert max(budgets) == Limits().delta_bytes


class Narrow(Simulation):
    """Peers with little room."""

    limits = NARROW

    def _config(self, number: int) -> PeerConfig:
        return evolve(super()._config(number), limits=self.limits)


class Boundless(Narrow):
    """Peers whose writers need not care whether anybody follows."""

    limits = evolve(NARROW, unconfirmed_bytes=1 << 30)


class Seen:
    """The most that a run ever had of something."""

    def __init__(self, make: type[Narrow], seed: int) -> None:
        self.unconfirmed_bytes = self.link_queue_bytes = self.behind = 0
        self.written = self.refused = 0
        result = run(OVERLOAD.replaced(seed=seed), look=self.look, make=make)
        assert result.violations == ()

    def look(self, simulation: Simulation) -> None:
        writer, reader = (driver.peer for driver in simulation.drivers)
        assert writer is not None
        assert reader is not None
        queues = writer.queues()
        self.unconfirmed_bytes = max(self.unconfirmed_bytes, queues["unconfirmed_bytes"])
        self.link_queue_bytes = max(self.link_queue_bytes, queues["link_queue_bytes"])
        lack = sum(writer.vector().values()) - sum(reader.vector().values())
        self.behind = max(self.behind, lack)
        self.written = len(simulation.ledger.entries)
        self.refused = simulation.workload.refused


@pytest.mark.parametrize("seed", [1, 2])
def test_a_writer_that_outruns_its_neighbour_is_refused_and_queues_stay_bounded(seed: int) -> None:
    bounded, boundless = Seen(Narrow, seed), Seen(Boundless, seed)
    assert bounded.unconfirmed_bytes < NARROW.unconfirmed_bytes + 2_000
    assert bounded.link_queue_bytes < NARROW.link_queue_bytes + 2 * NARROW.delta_bytes
    assert bounded.refused > 0 == boundless.refused
    carried = BANDWIDTH * OVERLOAD.end / 1_000  # an update takes less than that with its signature
    assert bounded.written > 0.8 * carried
    assert bounded.behind < 120
    assert boundless.behind > 8 * bounded.behind
