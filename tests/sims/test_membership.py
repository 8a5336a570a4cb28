"""Membership by gossip, from three seeds on: everybody finds everybody, and the idle mesh stays quiet."""

from attrs import evolve

from gossipsync.core import Limits
from gossipsync.sim import Options, run
from gossipsync.sim.simulation import Simulation

IDLE_BYTES_PER_S = 5_000


def _mesh(peers: int, until_s: float, limits: Limits | None = None) -> Simulation:
    simulation = Simulation(Options(peers=peers, seed=3, membership="on"))
    for driver in simulation.drivers:
        driver.config = evolve(driver.config, limits=limits or Limits())
    simulation.start()
    simulation.world.run_until(until_s)
    return simulation


def test_everybody_knows_everybody() -> None:
    simulation = _mesh(80, 15.0)
    for driver in simulation.honest():
        assert driver.peer is not None
        counts = driver.peer.status(driver.now()).members
        assert counts["alive"] == 80, (driver.number, counts)


def test_who_leaves_is_forgotten_and_who_comes_is_known() -> None:
    simulation = _mesh(40, 12.0)
    simulation.stop_driver(simulation.drivers[20], leaves=True, is_for_good=True)
    simulation.start_driver(simulation.new_driver())
    simulation.world.run_until(24.0)
    names = {f"peer-{number}" for number in range(41)} - {"peer-20"}
    for driver in simulation.honest():
        assert driver.peer is not None
        assert {member.name for member in driver.peer.members(driver.now())} == names


def test_more_newcomers_than_a_seed_has_links() -> None:
    """Whoever finds no room at a seed is told some others."""
    simulation = _mesh(60, 20.0, limits=Limits(links=12))
    known = [
        driver.peer.status(driver.now()).members["alive"]
        for driver in simulation.honest()
        if driver.peer is not None
    ]
    assert min(known) == 60


def test_an_idle_mesh_is_quiet() -> None:
    result = run(peers=80, seed=3, membership="on", updates=1, until=40.0)
    early, late = result.rows[-21], result.rows[-1]
    sent = sum(
        getattr(late, name) - getattr(early, name)
        for name in ("digest_bytes", "delta_bytes", "membership_bytes", "other_bytes")
    )
    per_peer_s = sent / 80 / (late.virtual_s - early.virtual_s)
    assert per_peer_s < IDLE_BYTES_PER_S
