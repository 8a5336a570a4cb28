"""Starts: one seed decides how two to eight peers start, live apart, meet, restart and are killed; then all are left in peace.

`Starts(seed).play()` returns the laws that were broken: at rest every peer is ready and all are equal; a peer that becomes ready
holds what a ready member, linked to it, held when it asked; no write that a durable store confirmed is lost.
"""

from __future__ import annotations

import random
from collections import Counter

from gossipsync.core import Written
from gossipsync.core.model.events import StateChanged
from gossipsync.core.model.ids import Origin
from gossipsync.core.model.limits import Limits
from gossipsync.core.model.stage import Stage
from tests.core._world import Node, World
from tests.core._world.disk import Disk

REST_S = 40.0
_Vector = dict[tuple[str, Origin], int]


class Starts:
    """One play."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.world = World(
            seed=seed,
            latency_s=rng.choice((0.0005, 0.005, 0.05)),
            gossip_interval_s=rng.choice((0.1, 0.5, 1.0)),
            full_mesh=rng.choice((3, 12)),
            horizon_ms=rng.choice((20_000, 3_600_000)),
            max_skew_ms=2_000,
            limits=Limits(
                trim_after_s=rng.choice((0.2, 60.0)),
                log_waste_bytes=1,
                delta_bytes=rng.choice((500, 65_536)),
            ),
        )
        self.nodes = [self.world.add() for _ in range(rng.randint(2, 8))]
        self.in_memory = {node.number for node in self.nodes if rng.random() < 0.2}
        self.confirmed: list[tuple[Node, Written]] = []
        self.pending: list[tuple[Node, int, Written]] = []
        self.asked: dict[tuple[int, int, int, int], _Vector] = {}
        """What a member held when it was first both ready and linked with a peer; keys name either's life."""
        self.seen: Counter[tuple[int, int]] = Counter()
        self.broken: list[str] = []

    def play(self) -> list[str]:
        rng, world = self.rng, self.world
        if rng.random() < 0.6:
            world.split(*[[node] for node in self.nodes])
        for _ in range(rng.randint(4, 14)):
            action = rng.choices(list(_ACTIONS), weights=list(_ACTIONS.values()))[0]
            action(self)
            self._run(rng.choice((0.0, 0.02, 0.3, 0.6, 2.0)))
        world.heal()
        for node in self.nodes:
            if node.peer is None:
                self._start(node)
        if not world.run_until(self._is_at_rest, REST_S):
            states = [(node.name, str(node.up.state), len(node.up.vector())) for node in self.nodes]
            self.broken.append(f"no rest: {states}")
        for node, written in self.confirmed:
            key = (written.bucket, written.origin)
            if node.number in self.in_memory:
                continue
            if any(other.up.vector().get(key, 0) < written.index for other in self.nodes):
                self.broken.append(f"lost: {written} of {node.name}")
        return self.broken

    # -- what happens ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """From one to all of the stopped peers start at once."""
        stopped = [node for node in self.nodes if node.peer is None]
        for node in self.rng.sample(stopped, self.rng.randint(0, len(stopped))):
            self._start(node)

    def kill(self) -> None:
        running = self.world.running
        for node in self.rng.sample(running, self.rng.choice((1, len(running))) if running else 0):
            self._kill(node)

    def restart(self) -> None:
        """All are killed and start again, as in a deploy."""
        for node in self.world.running:
            self._kill(node)
            self._start(node)

    def write(self) -> None:
        self._look()  # what is written from now on was not there when a peer asked
        for node in self.world.running:
            for number in range(self.rng.choice((1, 30))):
                written = node.put(f"{node.name} {number % 7}", self.rng.random())
                self.pending.append((node, node.life, written))
                node.put("noise", number)

    def meet(self) -> None:
        self.world.heal()

    def part(self) -> None:
        nodes = self.rng.sample(self.nodes, len(self.nodes))
        half = self.rng.randrange(1, len(nodes))
        self.world.split(nodes[:half], nodes[half:])

    def _start(self, node: Node) -> None:
        if node.number in self.in_memory:
            node.disk = Disk()
        self.world.start(node)

    def _kill(self, node: Node) -> None:
        self._look()
        self.world.crash(node)

    def _run(self, seconds: float) -> None:
        end_s = self.world.time_s + seconds
        self.world.run_until(self._look, seconds)
        assert self.world.time_s == end_s

    # -- laws ------------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        for node, life, written in list(self.pending):
            if node.life != life:
                self.pending.remove((node, life, written))
            elif node.up.is_stored(written):
                self.pending.remove((node, life, written))
                self.confirmed.append((node, written))
        for node in self.world.running:
            self._watch(node)
        return False

    def _watch(self, node: Node) -> None:
        """Note what ready members hold, and compare with that once this peer is ready."""
        ready = []
        for other in self.world.running:
            link = node.up._ctx.by_peer.get(other.up.peer_id)
            if link is None or link.epoch != other.up.epoch:
                continue
            name = (node.number, node.life, other.number, other.life)
            if name not in self.asked and other.up.state == "ready":
                self.asked[name] = other.up.vector()
            if link.stage is Stage.READY:
                ready.append(other)
        count = node.events.count(StateChanged("ready"))
        if count == self.seen[node.number, node.life]:
            return
        is_first = not self.seen[node.number, node.life]
        self.seen[node.number, node.life] = count
        if not is_first or not ready:
            return
        mine = node.up.vector()
        held = [self.asked[node.number, node.life, other.number, other.life] for other in ready]
        if not any(all(mine.get(key, 0) >= at for key, at in lines.items()) for lines in held):
            self.broken.append(f"false ready: {node.name} at {self.world.time_s}")

    def _is_at_rest(self) -> bool:
        self._look()
        peers = [node.up for node in self.nodes]
        return (
            all(peer.state == "ready" and peer.is_synced() for peer in peers)
            and all(peer.vector() == peers[0].vector() for peer in peers)
            and len({str(sorted(node.pairs().items())) for node in self.nodes}) == 1
        )


_ACTIONS = {
    Starts.start: 5,
    Starts.kill: 2,
    Starts.restart: 2,
    Starts.write: 4,
    Starts.meet: 3,
    Starts.part: 1,
}
