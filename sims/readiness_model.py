"""Readiness model: which peer may call itself ready, and which one founds a mesh that has no ready member (design §4, §5.5).

Independent of gossipsync: no wire, no crypto; a peer holds a set of facts. A fact is *whole* at a peer as long as its log
can give it to any other peer. Later it is trimmed, and only an established peer gives it, as part of its state. One tick is
a tenth of a second. A link is two FIFO queues, so what a peer says about itself holds for everything that it says later.

`Peer.decide` states the rules of `gossipsync/core/_peer/standing.py`, except two that the code has in addition: no peer founds while a
known member or seed is undialled, nor right after it stood still itself. Each rule in RULES can be left out, to show which
invariant needs it:

- no false ready: a peer that becomes ready holds what two ready members (one, if only one is linked) held when it asked;
- no permanent joining: once faults have stopped, every linked peer becomes ready, and all hold the same facts;
- nothing lost: every peer holds each durable fact in the end;
- no founding beside a ready member: a peer that founds a mesh is linked with no ready member whose word is on its way;
- seniority: an empty newcomer never founds a mesh while it is linked to an established peer;
- an established peer that founds a mesh holds what other established peers, linked to it, held.

    python sims/readiness_model.py --seeds 1000 [--first SEED] [--without RULE]
"""

from __future__ import annotations

import argparse
import random
from collections import Counter, deque
from enum import IntEnum

RULES = {
    "evidence": "only a ready member's state is evidence (else equality with any member is)",
    "request": "a comparison counts only if it began after the member said that it is ready",
    "second": "a second ready member is compared where there is one",
    "founder": "one of several unready peers founds the mesh",
    "turns": "the next peer in order founds the mesh if those before it do not",
    "union": "an established peer compares with all other established ones before it founds",
    "seniority": "established peers found before holders of data, these before empty peers",
    "untold": "a linked peer that has not told its stage yet may be ready",
    "stale": "ready members that bring nothing for long are disregarded",
}
SETTLE, UNTOLD, TURN, STALE = 5, 20, 100, 300
PLAY, REST = 300, 2500
Facts = frozenset[int]


class Stage(IntEnum):
    """What a peer says about itself."""

    EMPTY = 0
    HOLDING = 1
    ESTABLISHED = 2
    READY = 3


class Link:
    """One end of a link."""

    def __init__(self, other: int, now: int) -> None:
        self.other, self.opened, self.gave = other, now, now
        self.inbox: deque[tuple[int, tuple]] = deque()
        self.stage: Stage | None = None
        self.told: Stage | None = None
        self.began: Stage | None = None
        """The other's stage when the exchange under way began."""
        self.is_asking = False
        self.seen: Facts = frozenset()
        self.target: Facts | None = None
        """What the other held when it was compared, at its present stage."""
        self.truth: Facts = frozenset()
        """What the other held when this end heard that it is ready; for the oracle alone."""


class Peer:
    """One peer: `held` and `is_established` survive a restart if it is durable."""

    def __init__(self, world: World, key: int) -> None:
        self.world, self.key, self.is_up = world, key, False
        self.is_durable = world.rng.random() < world.durable_share
        self.claim: Stage | None = None
        """What a faulty peer says about itself; it answers nothing."""
        self.held: set[int] = set()
        self.is_established, self.has_met = False, False
        self.links: dict[int, Link] = {}

    def start(self) -> None:
        if not self.is_durable:
            self.held, self.is_established, self.has_met = set(), False, False
        self.whole: set[int] = set()
        self.is_up, self.state, self.started, self.stuck = True, "alone", self.world.now, None
        self.was_loaded, self.is_founded, self.is_settled = bool(self.held), False, False

    @property
    def stage(self) -> Stage:
        if self.claim is not None:
            return self.claim
        if self.state == "ready":
            return Stage.READY
        if self.is_established:
            return Stage.ESTABLISHED
        return Stage.HOLDING if self.was_loaded or self.is_founded else Stage.EMPTY

    # -- rules ---------------------------------------------------------------------------------

    def has_reached(self, link: Link) -> bool:
        return link.target is not None and link.target <= self.held

    def decide(self) -> None:
        now, rules = self.world.now, self.world.rules
        links = [link for link in self.links.values() if link.stage is not None]
        self.is_settled |= now - self.started >= SETTLE
        if not links:
            self.state, self.stuck = "alone", None
            self.is_founded |= self.is_settled and not self.has_met
            return
        self.has_met = True
        if self.state == "ready":
            return
        self.state = "joining"
        untold = [link.opened for link in self.links.values() if link.stage is None]
        may_be_ready = "untold" in rules and now - max(untold, default=-UNTOLD) < UNTOLD
        ready = [link for link in links if link.stage is Stage.READY or "evidence" not in rules]
        if "stale" in rules and ready and now - max(link.gave for link in ready) > STALE:
            ready = []
        if ready:
            self.stuck = None
            done = sum(map(self.has_reached, ready))
            needed = min(2 if "second" in rules else 1, len(ready) + may_be_ready)
            is_late = now - max(link.gave for link in ready) > TURN
            if done >= needed or (done and is_late):
                self.become_ready()
            return
        links = [link for link in links if link.stage is not Stage.READY]
        gave = max((link.gave for link in links), default=0)
        self.stuck = now if self.stuck is None else self.stuck
        weight = 1 if "seniority" in rules else 0
        mine = (-self.stage * weight, self.key)
        place = sum((-link.stage * weight, link.other) < mine for link in links)
        seniors = [link for link in links if link.stage is Stage.ESTABLISHED]
        is_first = place == 0 and not self.is_established
        if self.is_established and "union" in rules:
            is_first = all(map(self.has_reached, seniors))
        elif self.is_established:
            is_first = place == 0
        opened = max((link.opened for link in links), default=0)
        is_calm = self.is_founded or self.is_established or now - opened >= SETTLE
        is_late = "turns" in rules and now - max(self.stuck, gave) > TURN * (1 + place)
        is_calm = is_calm and not may_be_ready
        if "founder" in rules and ((is_first and is_calm and self.is_settled) or is_late):
            self.become_ready()

    def become_ready(self) -> None:
        self.world.check_ready(self)
        self.state, self.is_established = "ready", True

    # -- talk ----------------------------------------------------------------------------------

    def send(self, link: Link, *message: object) -> None:
        self.world.send(self, link, message)

    def ask(self, link: Link) -> None:
        if not link.is_asking and link.stage is not None:
            link.is_asking, link.began, link.seen = True, link.stage, frozenset()
            self.send(link, "ask", 0)

    def tick(self) -> None:
        rng = self.world.rng
        for link in list(self.links.values()):
            while link.inbox and link.inbox[0][0] <= self.world.now:
                self.receive(link, *link.inbox.popleft()[1])
            if rng.random() < 0.1:
                self.ask(link)
        self.decide()
        for link in self.links.values():
            if link.told is not self.stage:
                link.told = self.stage
                self.send(link, "stage", self.stage)

    def receive(self, link: Link, kind: str, *rest: object) -> None:
        if kind == "stage":
            (stage,) = rest
            link.stage, link.target, link.gave = Stage(stage), None, self.world.now
            if "request" in self.world.rules and link.is_asking:
                link.began = None
            link.truth = frozenset(self.world.peers[link.other].held)
            self.ask(link)
        elif self.claim is not None:
            return
        elif kind == "ask":
            (half,) = rest
            told = frozenset(fact for fact in self.held if fact % 2 == half)
            self.send(link, "tell", half, told, told & frozenset(self.whole))
        elif kind == "tell":
            self.told(link, *rest)  # type: ignore[arg-type]
        elif kind == "join":
            if self.is_established:
                self.send(link, "give", frozenset(self.held))
        elif kind == "give":
            (facts,) = rest
            if facts - self.held:
                link.gave = self.world.now
            self.held |= facts
        self.decide()

    def told(self, link: Link, half: int, told: Facts, whole: Facts) -> None:
        if whole - self.held:
            link.gave = self.world.now
        self.held |= whole
        self.whole |= whole
        link.seen |= told
        if half == 0:
            self.send(link, "ask", 1)
            return
        link.is_asking = False
        is_current = link.began is link.stage or "request" not in self.world.rules
        if is_current and link.target is None:
            link.target = link.seen
        least = Stage.ESTABLISHED if self.is_established else Stage.READY
        if "evidence" not in self.world.rules:
            least = Stage.EMPTY
        if link.seen - self.held and link.stage is not None and link.stage >= least:
            self.send(link, "join")
        if not is_current:
            self.ask(link)


class World:
    """All peers, what goes wrong with them, and the oracle."""

    def __init__(self, seed: int, rules: set[str]) -> None:
        self.rng, self.rules, self.now, self.facts = random.Random(seed), rules, 0, 0
        rng = self.rng
        self.durable: set[int] = set()
        self.bad: list[str] = []
        self.durable_share = rng.choice((0.0, 0.8, 1.0))
        self.peers = [Peer(self, key) for key in range(rng.randint(2, 8))]
        self.delay = rng.choice((0, 2, 10))
        pairs = [(a.key, b.key) for a in self.peers for b in self.peers if a.key < b.key]
        kept = rng.choice((1.0, 1.0, 0.5))
        chain = {(key, key + 1) for key in range(len(self.peers) - 1)}
        self.ways = [pair for pair in pairs if pair in chain or rng.random() < kept]
        self.alone_until = rng.choice((0, 0, 50))
        if len(self.peers) > 3 and kept == 1.0 and rng.random() < 0.5:
            rng.choice(self.peers).claim = rng.choice(list(Stage))

    def send(self, sender: Peer, link: Link, message: tuple[object, ...]) -> None:
        there = self.peers[link.other].links.get(sender.key)
        if there is not None:
            last = there.inbox[-1][0] if there.inbox else 0
            there.inbox.append((max(last, self.now + self.rng.randint(0, self.delay)), message))

    def check_ready(self, peer: Peer) -> None:
        if peer.claim is not None:
            return
        links = [link for link in peer.links.values() if link.stage is not None]
        honest = [link for link in links if self.peers[link.other].claim is None]
        ready = [link for link in honest if link.stage is Stage.READY]
        seniors = [link for link in honest if link.stage is Stage.ESTABLISHED]
        has = sum(link.truth <= peer.held for link in ready)
        if has < min(2, len(ready)) - (len(honest) < len(links)):
            self.bad.append(f"false ready: {peer.key} at {self.now}")
        silent = [self.peers[link.other] for link in peer.links.values() if link.stage is None]
        if not links or ready:
            silent = []
        if any(other.claim is None and other.stage is Stage.READY for other in silent):
            self.bad.append(f"founded beside: {peer.key} at {self.now}")
        if not ready and peer.stage is Stage.EMPTY and seniors:
            self.bad.append(f"seniority: {peer.key} at {self.now}")
        is_short = not all(link.truth <= peer.held for link in seniors)
        if not ready and peer.is_established and is_short:
            self.bad.append(f"founded short: {peer.key} at {self.now}")

    def connect(self) -> None:
        for a, b in self.ways:
            one, other = self.peers[a], self.peers[b]
            is_linked = b in one.links
            may = one.is_up and other.is_up and self.now >= self.alone_until
            if may and not is_linked and self.rng.random() < 0.3:
                one.links[b], other.links[a] = Link(b, self.now), Link(a, self.now)

    def stop(self, peer: Peer) -> None:
        peer.is_up = False
        for key in list(peer.links):
            self.peers[key].links.pop(peer.key, None)
        peer.links.clear()

    def write(self, peer: Peer) -> None:
        self.facts += 1
        peer.held.add(self.facts)
        peer.whole.add(self.facts)
        peer.is_founded |= not peer.links and not peer.has_met
        if peer.is_durable:
            self.durable.add(self.facts)

    def play(self, ticks: int, *, has_faults: bool) -> None:
        rng = self.rng
        for _ in range(ticks):
            self.now += 1
            self.connect()
            for peer in self.peers:
                if not peer.is_up:
                    if not has_faults or rng.random() < 0.05:
                        peer.start()
                    continue
                peer.tick()
                if has_faults and rng.random() < 0.05:
                    self.write(peer)
                if rng.random() < 0.1:
                    peer.whole = {fact for fact in peer.whole if rng.random() < 0.5}
            if has_faults and rng.random() < 0.03:
                for peer in rng.sample(self.peers, rng.choice((1, 1, len(self.peers)))):
                    self.stop(peer)

    def run(self) -> list[str]:
        self.play(PLAY, has_faults=True)
        self.play(REST, has_faults=False)
        stuck = [peer.key for peer in self.peers if peer.state != "ready" and peer.claim is None]
        if stuck:
            self.bad.append(f"permanent joining: {stuck}")
        honest = [peer for peer in self.peers if peer.claim is None]
        if any(peer.held != honest[0].held for peer in honest):
            self.bad.append("not equal")
        kept = self.durable - {f for p in self.peers if p.claim is not None for f in p.held}
        if kept - honest[0].held:
            self.bad.append(f"lost: {kept - honest[0].held}")
        return self.bad


def violations(seed: int, without: set[str] | frozenset[str] = frozenset()) -> list[str]:
    """What one seed breaks under the rules, or under all but some of them."""
    return World(seed, set(RULES) - without).run()


def main() -> None:
    """Play worlds, and say which of them broke an invariant."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--without", choices=RULES, action="append", default=[])
    given = parser.parse_args()
    kinds: Counter[str] = Counter()
    for seed in range(given.first, given.first + given.seeds):
        found = violations(seed, set(given.without))
        kinds.update({text.partition(":")[0] for text in found})
        if found:
            print(seed, *found[:3], sep="\n    ")
    print(f"{given.seeds} seeds: {dict(kinds) or 'all hold'}")


if __name__ == "__main__":
    main()
