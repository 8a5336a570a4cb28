"""What it costs when a whole mesh fails at once: bounded for each member, nobody alive is given up, and nobody dead is overlooked."""

from collections import Counter

from attrs import evolve

from gossipsync.sim import Options
from gossipsync.sim.driver import Driver
from gossipsync.sim.simulation import Simulation


def _mesh(peers: int, **settings: object) -> Simulation:
    options = Options(peers=peers, seed=3, membership="on", jitter=0.2, latency=0.01, spread="lan")
    simulation = Simulation(options)
    for driver in simulation.drivers:
        driver.config = evolve(driver.config, **settings)  # type: ignore[arg-type]
    simulation.start()
    simulation.world.run_until(15.0)
    return simulation


def _states(driver: Driver) -> Counter[str]:
    assert driver.peer is not None
    return Counter(member.state for member in driver.peer.members(driver.now()))


def _health(driver: Driver) -> dict[str, int]:
    assert driver.peer is not None
    return driver.peer._parts._health()


def _sent_bytes(simulation: Simulation) -> int:
    return sum(driver.peer.traffic["sent_bytes"] for driver in simulation.drivers if driver.peer)


def test_dials_that_are_all_refused_give_up_nobody_and_cost_little() -> None:
    """The links hold, and nobody can open another: whoever dials doubts, whoever is doubted lives and says so."""
    simulation = _mesh(30)
    for driver in simulation.drivers:
        simulation.network.silence(driver.address)
    spent = []
    for second in range(16, 28):
        before = _sent_bytes(simulation)
        simulation.world.run_until(float(second))
        spent.append((_sent_bytes(simulation) - before) / 30)
        assert not any(_states(driver)["down"] for driver in simulation.drivers)
    assert max(spent) < 120_000
    assert sum(spent[4:]) / len(spent[4:]) < 30_000


def test_who_loses_all_probes_some_at_a_time_and_misses_nobody() -> None:
    """A full mesh of 60 whose machines all lose their network but for one, which says nothing it cannot know."""
    simulation = _mesh(60, full_mesh=64)
    (alone, *others) = simulation.drivers
    assert alone.links == 59
    for driver in others:
        simulation.stop_driver(driver, leaves=False, is_for_good=False)
    simulation.world.run_until(16.0)
    assert alone.peer is not None
    under_way = len(alone.peer._parts.probing._probes)
    assert 0 < under_way <= alone.config.limits.probes
    assert _health(alone)["probes_delayed"] >= 59 - alone.config.limits.probes
    simulation.world.run_until(18.0)
    limits = alone.config.limits
    assert _states(alone)["suspect"] > 0
    assert _health(alone)["probes_failed"] <= limits.doubts + 3 * limits.doubts_per_s
    simulation.world.run_until(60.0)
    assert _states(alone) == {"alive": 1, "down": 59}
    assert _health(alone)["probes_failed"] == 59


def test_statements_beyond_the_bound_wait_and_all_arrive() -> None:
    """Half of a mesh dies, and each may pass on a few statements a second only."""
    simulation = _mesh(40)
    for driver in simulation.drivers:
        assert driver.peer is not None
        limits = driver.config.limits
        driver.peer._ctx.config = evolve(
            driver.config, limits=evolve(limits, spread_bytes=8 << 10, spread_bytes_per_s=8 << 10)
        )
    for driver in simulation.drivers[20:]:
        simulation.stop_driver(driver, leaves=False, is_for_good=False)
    alive = simulation.drivers[:20]
    simulation.world.run_until(17.5)
    delayed = sum(_health(driver)["statements_delayed"] for driver in alive)
    assert delayed > 0
    simulation.world.run_until(60.0)
    seen = [_states(driver) for driver in alive]
    assert seen == [Counter(alive=20, down=20)] * 20
