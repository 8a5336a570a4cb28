"""The dead are found, the living are not given up, and a mesh that was cut finds itself again: membership in virtual time."""

import pytest
from attrs import evolve

from gossipsync.core.model.ids import peer_text
from gossipsync.sim import Options
from gossipsync.sim.driver import Driver
from gossipsync.sim.simulation import Simulation

_FIND_S = 5.0


def _mesh(
    peers: int, *, seed: int = 3, until_s: float = 15.0, loss: float = 0.0, **settings: object
) -> Simulation:
    options = Options(
        peers=peers, seed=seed, membership="on", jitter=0.2, loss=loss, latency=0.01, spread="lan"
    )
    simulation = Simulation(options)
    for driver in simulation.drivers:
        driver.config = evolve(driver.config, **settings)  # type: ignore[arg-type]
    simulation.start()
    simulation.world.run_until(until_s)
    return simulation


def _states(driver: Driver) -> dict[str, str]:
    assert driver.peer is not None
    return {member.name: member.state for member in driver.peer.members(driver.now())}


def _who_sees(simulation: Simulation, names: set[str], state: str) -> int:
    """How many of the others see all of these in a state."""
    return sum(
        all(states.get(name) == state for name in names)
        for driver in simulation.honest()
        if driver.config.name not in names and (states := _states(driver))
    )


def _all_see(simulation: Simulation, names: set[str], state: str, within_s: float) -> float:
    """Seconds until all others see these in a state; infinite where they do not within `within_s`."""
    world, began_s = simulation.world, simulation.world.now_s
    others = len(simulation.honest()) - sum(
        driver.config.name in names for driver in simulation.honest()
    )
    while world.now_s < began_s + within_s:
        world.run_until(world.now_s + 0.1)
        if _who_sees(simulation, names, state) == others:
            return world.now_s - began_s
    return float("inf")


def _verdicts(simulation: Simulation, span_s: float) -> set[tuple[str, str]]:
    """(who, whom) of everybody seen down at any half second of a span."""
    found = set()
    end_s = simulation.world.now_s + span_s
    while simulation.world.now_s < end_s:
        simulation.world.run_until(simulation.world.now_s + 0.5)
        for driver in simulation.honest():
            found |= {
                (driver.config.name, name)
                for name, state in _states(driver).items()
                if state == "down"
            }
    return found


def _lose(simulation: Simulation, driver: Driver, how: str) -> set[str]:
    """Killed: its links end. Unplugged: nothing comes from it any more, and nobody is told."""
    if how == "killed":
        simulation.stop_driver(driver, leaves=False, is_for_good=False)
    else:
        simulation.network.split({driver.number: 1})
    return {driver.config.name}


@pytest.mark.parametrize(("loss", "limit_s"), [(0.0, 5.0), (0.5, 10.0)])
def test_a_mesh_of_100_finds_the_dead_and_gives_up_nobody_who_lives(
    loss: float, limit_s: float
) -> None:
    simulation = _mesh(100, loss=loss)
    assert _verdicts(simulation, 30.0) == set()
    names = _lose(simulation, simulation.drivers[50], "killed")
    assert _all_see(simulation, names, "down", limit_s) < limit_s
    names |= _lose(simulation, simulation.drivers[60], "unplugged")
    assert _all_see(simulation, names, "down", limit_s) < limit_s
    assert {whom for _, whom in _verdicts(simulation, 1.0)} == names


def test_no_verdict_after_our_own_loop_stood_still() -> None:
    """It was deaf for 5 s. Others may have missed it; it blames nobody."""
    simulation = _mesh(40)
    stalled = simulation.drivers[20]
    stalled.stall(5.0)
    verdicts = _verdicts(simulation, 20.0)
    assert not {whom for who, whom in verdicts if who == stalled.config.name}
    assert {whom for _, whom in verdicts} <= {stalled.config.name}
    assert set(_states(stalled).values()) == {"alive"}
    assert _who_sees(simulation, {stalled.config.name}, "alive") == 39


def test_half_of_a_mesh_dies_at_once() -> None:
    """Most of those who watched a victim are victims too."""
    simulation = _mesh(30)
    victims = simulation.drivers[15:]
    for victim in victims:
        simulation.stop_driver(victim, leaves=False, is_for_good=False)
    names = {victim.config.name for victim in victims}
    assert _all_see(simulation, names, "down", 30.0) < 30.0


def test_a_verdict_reaches_newcomers_and_ends_when_its_peer_returns() -> None:
    simulation = _mesh(40)
    victim = simulation.drivers[20]
    simulation.stop_driver(victim, leaves=False, is_for_good=False)
    name = victim.config.name
    assert _all_see(simulation, {name}, "down", _FIND_S) < _FIND_S
    newcomer = simulation.new_driver()
    simulation.start_driver(newcomer)
    simulation.world.run_until(simulation.world.now_s + 10.0)
    assert _states(newcomer)[name] == "down"
    simulation.start_driver(victim)
    assert _all_see(simulation, {name}, "alive", 10.0) < 10.0


def test_the_long_absent_are_evicted_and_return() -> None:
    """Past the horizon they count no more; one that comes back is a member again, and old presence brings nobody back."""
    simulation = _mesh(30, horizon_ms=60_000, max_skew_ms=1000)
    victim = simulation.drivers[20]
    simulation.stop_driver(victim, leaves=False, is_for_good=False)
    simulation.world.run_until(simulation.world.now_s + 90.0)
    for driver in simulation.honest():
        assert victim.config.name not in _states(driver)
        assert driver.peer is not None
        assert driver.peer.needed_acks("all") == 28
    simulation.world.run_until(simulation.world.now_s + 60.0)
    assert _who_sees(simulation, {victim.config.name}, "down") == 0
    simulation.start_driver(victim)
    assert _all_see(simulation, {victim.config.name}, "alive", 15.0) < 15.0


def test_two_halves_that_have_evicted_each_other_find_each_other() -> None:
    """hashicorp/memberlist#222: after a partition nobody knew anybody. No seed lies across the cut, and nobody operates it."""
    simulation = _mesh(30, horizon_ms=40_000, max_skew_ms=1000)
    for driver in simulation.drivers:
        assert driver.peer is not None
        driver.peer.handle_seeds((), driver.now())
    simulation.network.split({driver.number: 1 for driver in simulation.drivers[15:]})
    simulation.world.run_until(simulation.world.now_s + 120.0)
    for driver in simulation.honest():
        assert len(_states(driver)) == 15
    simulation.network.heal()
    everybody = {driver.config.name for driver in simulation.drivers}
    world, began_s = simulation.world, simulation.world.now_s
    while world.now_s < began_s + 60.0:
        world.run_until(world.now_s + 1.0)
        if all(set(_states(driver)) == everybody for driver in simulation.honest()):
            break
    for driver in simulation.honest():
        assert set(_states(driver)) == everybody


def test_forgetting_reaches_everybody_and_the_forgotten_may_return() -> None:
    simulation = _mesh(40)
    victim, operated = simulation.drivers[20], simulation.drivers[5]
    name = victim.config.name
    simulation.stop_driver(victim, leaves=False, is_for_good=False)
    assert _all_see(simulation, {name}, "down", _FIND_S) < _FIND_S
    cut_off = simulation.drivers[30]
    simulation.network.split({cut_off.number: 1})
    simulation.world.run_until(simulation.world.now_s + 5.0)
    assert operated.peer is not None
    operated.peer.forget(peer_text(victim.identity.peer), operated.now())
    operated.pump()
    simulation.world.run_until(simulation.world.now_s + 1.0)
    for driver in simulation.honest():
        assert (name in _states(driver)) == (driver is cut_off)
    simulation.network.heal()
    simulation.world.run_until(simulation.world.now_s + 60.0)
    for driver in simulation.honest():
        assert name not in _states(driver)
        assert driver.peer is not None
        assert driver.peer.needed_acks("all") == 38
    simulation.start_driver(victim)
    assert _all_see(simulation, {name}, "alive", 15.0) < 15.0


def test_zones_talk_across_a_share_of_the_time() -> None:
    """Two zones of unequal size: all know all, and the small one is not left alone."""
    simulation = Simulation(
        Options(peers=40, seed=4, membership="on", jitter=0.2, latency=0.01, spread="lan")
    )
    for driver in simulation.drivers:
        zone = "small" if driver.number < 4 else "large"
        driver.config = evolve(driver.config, zone=zone)
    simulation.start()
    simulation.world.run_until(20.0)
    for driver in simulation.honest():
        assert driver.peer is not None
        zones = [member.zone for member in driver.peer.members(driver.now())]
        assert (zones.count("small"), zones.count("large")) == (4, 36)
