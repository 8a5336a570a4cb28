"""Membership by gossip: from three seeds on everybody finds everybody, in operation everybody keeps knowing everybody, and the
idle mesh stays quiet."""

from collections import Counter

import pytest
from attrs import evolve

from gossipsync.core import Limits
from gossipsync.core.membership.dialling import view_size
from gossipsync.sim import Options, run
from gossipsync.sim.driver import Driver
from gossipsync.sim.network import Host, Network
from gossipsync.sim.simulation import Simulation

IDLE_BYTES_PER_S = 5_000


def _mesh(peers: int, until_s: float, limits: Limits | None = None) -> Simulation:
    simulation = Simulation(Options(peers=peers, seed=3, membership="on", start="cold"))
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
    simulation = _mesh(60, 25.0, limits=Limits(links=12))
    known = [
        len(driver.peer.members(driver.now()))
        for driver in simulation.honest()
        if driver.peer is not None
    ]
    assert min(known) == 60


def test_a_warm_mesh_begins_as_gossip_would_leave_it() -> None:
    simulation = Simulation(Options(peers=40, seed=3, membership="on"))
    simulation.start()
    presences = set()
    for driver in simulation.drivers:
        assert driver.peer is not None
        counts = driver.peer.status(driver.now()).members
        assert counts["alive"] == 40
        shown = driver.peer.members(driver.now())
        presences.add(frozenset((member.peer_id, member.epoch) for member in shown))
    assert len(presences) == 1, "all know the same of each other"
    assert simulation.authority.verifications >= 40, "each presence was verified"


def test_presence_goes_on_in_a_warm_mesh() -> None:
    simulation = Simulation(Options(peers=40, seed=3, membership="on"))
    simulation.start()
    simulation.world.run_until(3.0)
    simulation.stop_driver(simulation.drivers[20], leaves=False, is_for_good=True)
    simulation.world.run_until(45.0)
    for driver in simulation.honest():
        assert driver.peer is not None
        counts = driver.peer.status(driver.now()).members
        assert (counts["alive"], counts["down"]) == (39, 1), (driver.number, counts)


@pytest.mark.parametrize("peers", [80, 250])
def test_an_idle_mesh_is_quiet(peers: int) -> None:
    """In bytes a second of each peer; level, for presence slows down as the mesh grows (design §7)."""
    result = run(peers=peers, seed=3, membership="on", updates=0, until=25.0)
    early, late = result.rows[-16], result.rows[-1]
    sent = sum(
        getattr(late, name) - getattr(early, name)
        for name in ("digest_bytes", "delta_bytes", "membership_bytes", "other_bytes")
    )
    per_peer_s = sent / peers / (late.virtual_s - early.virtual_s)
    assert 0 < per_peer_s < IDLE_BYTES_PER_S


def _links(driver: Driver) -> tuple[int, int]:
    """To other zones, and all."""
    assert driver.peer is not None
    zones = {member.peer_id: member.zone for member in driver.peer.members(driver.now())}
    links = driver.peer.gossip_info(driver.now())["links"]
    assert isinstance(links, list)
    return sum(zones[link["peer_id"]] != driver.config.zone for link in links), len(links)


@pytest.mark.parametrize("sizes", [(20, 20, 20), (50, 7, 3)])
def test_a_view_keeps_links_to_other_zones(sizes: tuple[int, ...]) -> None:
    """Most links stay within a zone, every peer has some that leave it, and what one writes is soon everywhere."""
    zones = [f"zone {zone}" for zone, size in enumerate(sizes) for _ in range(size)]
    simulation = Simulation(Options(peers=60, seed=5, membership="on", push="on", interval=1.0))
    for driver, zone in zip(simulation.drivers, zones, strict=True):
        driver.config = evolve(driver.config, zone=zone)
    simulation.start()
    world = simulation.world
    world.run_until(40.0)
    for _ in range(5):
        world.run_until(world.now_s + 10.0)
        far, links = zip(*map(_links, simulation.honest()), strict=True)
        assert min(far) >= 2
        assert sum(far) < sum(links) / 2
    writer = simulation.drivers[0]
    assert writer.peer is not None
    writer.peer.open_bucket("b", writer.now())
    draft = writer.peer.draft("b", writer.now())
    draft.put("k", 1)
    writer.peer.commit_draft(draft, writer.now())
    writer.pump()
    world.run_until(world.now_s + 3.0)
    for driver in simulation.honest():
        assert driver.peer is not None
        assert driver.peer.replicas["b"].read("k", driver.now().wall_ms) == 1


def test_a_mesh_with_zones_is_as_determined_as_any() -> None:
    traces = []
    for _ in range(2):
        simulation = Simulation(Options(peers=40, seed=6, membership="on", start="cold"))
        for driver in simulation.drivers:
            driver.config = evolve(driver.config, zone=f"zone {driver.number % 3}")
        simulation.start()
        simulation.world.run_until(30.0)
        traces.append([_links(driver) for driver in simulation.honest()])
    assert traces[0] == traces[1]


def test_a_seed_does_not_stay_linked_with_all_and_is_seldom_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At a start everybody dials it; once they know each other, it is a member like others."""
    simulation = Simulation(Options(peers=40, seed=3, membership="on", start="cold"))
    for driver in simulation.drivers:
        driver.config = evolve(driver.config, seeds=driver.config.seeds[:1])
    simulation.start()
    simulation.world.run_until(8.0)
    links = [driver.links for driver in simulation.drivers]
    assert links[0] == 39
    simulation.world.run_until(16.0)
    links = [driver.links for driver in simulation.drivers]
    assert links[0] <= 3 * view_size(40, 12)
    assert min(links) >= view_size(40, 12) // 2
    called: Counter[str] = Counter()
    dial = Network.dial

    def count(network: Network, host: Host, address: str) -> None:
        called[address] += 1
        dial(network, host, address)

    monkeypatch.setattr(Network, "dial", count)
    simulation.world.run_until(36.0)
    assert (
        0 < called[simulation.drivers[0].address] < 40
    )  # by each of the others every tenth round it would be 78
