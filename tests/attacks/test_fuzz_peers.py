"""Whole peers with a driver against one hostile member with valid credentials: no message ends or corrupts an honest peer.

Two honest peers serve a mesh while the member sends every kind of message with its parts mutated (see _mutate), signs mutated data,
repeats and reorders messages, and damages frames. The driver of tests/core/_world lets exceptions through and checks the
effects of the honest peers. Afterwards these must be linked with each other, hold the same data with all their own writes in
it, hold no more than their limits allow, have blamed each other for nothing, and show a valid `status`.

CI runs the seeds of FAST. For a longer run: GOSSIPSYNC_FUZZ_SEEDS=1000:1200 pytest tests/attacks/test_fuzz_peers.py
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from contextlib import suppress

import cbor2
import pytest

from gossipsync.core import Deletes, Kind
from gossipsync.core.model import strict
from gossipsync.core.model.events import LinkClosed, Refused
from gossipsync.core.model.ids import PeerId
from gossipsync.core.model.reasons import SENDERS_FAULT, Reason
from gossipsync.core.model.text import is_clean_text
from gossipsync.core.wire.evidence import Evidence
from gossipsync.core.wire.framing import FrameReader, frame
from gossipsync.core.wire.liveness import Statements
from gossipsync.core.wire.messages import Delta, Message, Presences, Push, decode_message
from gossipsync.core.wire.reconciling import Parts
from gossipsync.errors import BucketKindError, RemoteError
from tests.attacks._intruder import KINDS, NAME, TEMPLATES, GuardedWorld, Intruder
from tests.attacks._mutate import Mutator, encoded
from tests.core._world import Node, identity, state_faults
from tests.core._world.world import _End

FAST = range(6)
STEPS = 220
_SETTLE_S = 120.0
_SIGNED = (Presences, Statements, Push, Delta, Evidence, Parts)
"""Kinds that carry what their maker has signed."""
_BLAMES = {*SENDERS_FAULT, Reason.RATE}


def _seeds() -> range:
    first, _, end = os.environ.get("GOSSIPSYNC_FUZZ_SEEDS", "").partition(":")
    return range(int(first), int(end)) if end else FAST


class Mesh:
    """Honest peers of one seed, and what must hold of them."""

    def __init__(self, world: GuardedWorld, seed: int, rogue: PeerId) -> None:
        self.rng = random.Random(seed)
        self.world = world
        self.honest = list(world.nodes)
        self.rogue = rogue
        self.written: dict[str, int] = {}
        world.run(3.0)
        first = self.honest[0]
        first.up.open_bucket("n", first.now, kind=Kind.COUNTER)
        first.write("n", lambda draft: draft.add("counter", 1))
        first.up.open_bucket("m", first.now, kind=Kind.MAP, deletes=Deletes.FINAL, ttl_ms=3_600_000)
        first.write("m", lambda draft: draft.put("map", {"a": 1, "b": b"x" * 40}))
        first.write("m", lambda draft: draft.delete("map 2"))
        first.up.open_bucket("s", first.now, kind=Kind.SET, history_ms=60_000)
        first.write("s", lambda draft: draft.add_element("set", "element"))

    def write(self, number: int) -> None:
        """A write of an honest peer; the intruder never signs one of such a key."""
        node = self.rng.choice(self.honest)
        with suppress(BucketKindError):  # a member may have announced another kind, earlier
            node.put(f"k{number}", number)
            self.written[f"k{number}"] = number

    def restart(self, node: Node) -> None:
        """What an honest peer was made to store must not stop its next start. Its own writes are committed."""
        self.world.run(0.1)
        self.world.crash(node)
        self.world.start(node)

    def join(self) -> None:
        """A newcomer, which depends on what it is answered."""
        node = self.world.add(gossip_interval_s=0.5)
        self.honest.append(node)
        self.world.start(node)

    # -- what must hold --------------------------------------------------------------------------------------

    def check(self) -> None:
        assert self.world.run_until(self.is_converged, _SETTLE_S), self.differences()
        for node in self.honest:
            self.check_limits(node)
            self.check_views(node)
            self.check_blame(node)
            with suppress(
                RemoteError, cbor2.CBORError
            ):  # the rogue has signed a value that is none
                assert state_faults(node.up, node.now.wall_ms) == []

    def is_converged(self) -> bool:
        first = self.honest[0]
        are_linked = all(
            identity(other.name).peer in node.up._ctx.by_peer
            for node in self.honest
            for other in self.honest
            if other is not node
        )
        if not are_linked or any("b" not in node.up.replicas for node in self.honest):
            return False
        are_equal = all(self.state(node) == self.state(first) for node in self.honest)
        return are_equal and not self.lost(first)

    def state(self, node: Node) -> dict[str, str]:
        """The fingerprint of each bucket's live data."""
        wall_ms = node.now.wall_ms
        found = {name: replica.totals(wall_ms) for name, replica in node.up.replicas.items()}
        return {
            name: totals.fingerprint
            for name, totals in found.items()
            if len(node.up.replicas[name])
        }

    def lost(self, node: Node) -> list[str]:
        """Honest writes that a peer does not show."""
        replica, wall_ms = node.up.replicas["b"], node.now.wall_ms
        if replica.rules.kind is not Kind.VALUE:
            return []  # a member has announced another kind, earlier: it hides what it does not fit
        return [
            key
            for key, value in self.written.items()
            if not replica.has(key, wall_ms) or replica.read(key, wall_ms) != value
        ]

    def differences(self) -> str:
        told = []
        for node in self.honest:
            peer = node.up
            lost = self.lost(node) if "b" in peer.replicas else "everything"
            links = len(peer._ctx.by_peer)
            state = peer.status(node.now).state
            told.append(
                f"{node.name}: {state}, {links} links, lacks {lost}, holds {self.state(node)}"
            )
        return "\n".join(told)

    def check_limits(self, node: Node) -> None:
        ctx, limits = node.up._ctx, node.up.config.limits
        queues = node.up.gossip_info(node.now)["queues"]
        assert queues["early_bytes"] <= limits.reassembly_bytes  # type: ignore[index]
        assert queues["lines_behind"] <= limits.lines_per_link  # type: ignore[index]
        assert len(ctx.logs) <= limits.logs
        assert sum(log.origin[:32] == self.rogue for log in ctx.logs.logs()) <= limits.logs_per_peer
        assert len(ctx.replicas) <= limits.buckets
        assert len(ctx.members) <= len(self.honest)
        assert len(ctx.credentials) <= len(self.honest) + 1
        assert not ctx.effects

    def check_views(self, node: Node) -> None:
        status, members = node.up.status(node.now), node.up.members(node.now)
        counted = Counter(event.reason for event in node.events if isinstance(event, Refused))
        assert counted, "the counters have moved"
        shown = [
            status.name,
            *(member.name for member in members),
            *(member.address for member in members),
        ]
        shown += [bucket.name for bucket in status.buckets]
        assert all(text is None or is_clean_text(text, 261) for text in shown), shown
        self.check_reads(node)
        json.dumps(node.up.gossip_info(node.now), allow_nan=False)
        json.dumps([str(status), list(map(str, members))], allow_nan=False)

    def check_reads(self, node: Node) -> None:
        """Whatever was signed, a read gives a value or says that its origin wrote none."""
        now = node.now
        node.up.token(now)
        for name, replica in node.up.replicas.items():
            for key in replica.keys(now.wall_ms):
                looks = (
                    lambda replica=replica, key=key: replica.read(key, now.wall_ms),
                    lambda replica=replica, key=key: replica.provenance(key, now.wall_ms),
                    node.up.history(name, key, now),
                )
                for look in looks:
                    with suppress(RemoteError):
                        look()

    def check_blame(self, node: Node) -> None:
        honest = {identity(other.name).peer for other in self.honest}
        for event in node.events:
            if isinstance(event, LinkClosed) and event.peer in honest:
                assert event.reason not in _BLAMES, event
            if isinstance(event, Refused) and event.peer in honest:
                assert event.reason not in _BLAMES, event


class Siege(Mesh):
    """A member that says what it likes, in any order."""

    def __init__(self, seed: int) -> None:
        super().__init__(
            GuardedWorld(2, seed=seed, gossip_interval_s=0.5), seed, identity(NAME).peer
        )
        self.intruder = Intruder(self.world, self.rng)
        self.mutator = Mutator(self.rng, self.intruder.me)
        self.sent: Counter[type[Message]] = Counter()
        self.past: list[bytes] = []
        for number in range(6):
            self.write(number)

    def end(self) -> None:
        """The intruder goes; its addresses are still dialled. What must hold holds."""
        for node in self.honest:
            self.intruder.leave(node)
        self.world.run(20.0)
        self.world.intruder = None
        self.check()

    def step(self, number: int) -> None:
        """One thing that the intruder does, and now and then some time or an honest write."""
        rng, intruder = self.rng, self.intruder
        node = rng.choice(self.honest)
        kind = rng.choice(_SIGNED) if rng.random() < 0.3 else KINDS[number % len(KINDS)]
        payload = intruder.payload(kind)
        self.sent[kind] += 1
        match rng.random():
            case chance if chance < 0.6:
                intruder.say_payload(node, self.mutated(payload))
            case chance if chance < 0.85:
                intruder.say_payload(node, payload)  # well-formed, out of place
            case chance if chance < 0.95 and self.past:
                intruder.say_payload(node, rng.choice(self.past))
            case _:
                intruder.say(node, self.mutator.raw(frame(payload)))
                if rng.random() < 0.5:
                    intruder.leave(node)  # or the rest of a frame is awaited for ever
        self.past = [*self.past[-50:], payload]
        match rng.random():
            case chance if chance < 0.3:
                self.world.run(rng.choice((0.001, 0.01, 0.3, 2.0)))
            case chance if chance < 0.4:
                self.write(len(self.written))
            case chance if chance < 0.42:
                intruder.leave(node)
            case chance if chance < 0.43:
                self.restart(node)

    def restart(self, node: Node) -> None:
        self.intruder.leave(node)
        super().restart(node)

    def mutated(self, payload: bytes) -> bytes:
        tree: object = strict.decode(payload, 12)
        for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
            tree = self.mutator.tree(tree)
        return encoded(tree)


class Turncoat(GuardedWorld):
    """Its last node is a rogue that runs the real core, and mutates a share of the messages that this sends.

    So mutated messages come in the midst of conversations that are in good order: with the run numbers, in the states and in answer
    to the questions of the moment.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, gossip_interval_s=0.5, probe_interval_s=0.5)
        for _ in range(2):
            self.start(self.add())
        self.rogue: Node | None = None
        self.share = 0.06
        self.altered: Counter[type[Message]] = Counter()
        self.dice = random.Random(seed)

    def betray(self) -> Node:
        """The rogue joins."""
        node = self.rogue = self.add()
        self.mutator = Mutator(self.dice, identity(node.name), gentleness=0.9)
        self.start(node)
        return node

    def _send(self, end: _End, data: bytes) -> None:
        if end.node is not self.rogue or self.share == 0:
            super()._send(end, data)
            return
        reader = FrameReader(1 << 24)
        reader.feed(data)
        super()._send(end, b"".join(frame(self._altered(payload)) for payload in reader))

    def _altered(self, payload: bytes) -> bytes:
        if self.dice.random() >= self.share:
            return payload
        self.altered[type(decode_message(payload))] += 1
        return encoded(self.mutator.tree(strict.decode(payload, 12)))

    def dial_all(self) -> None:
        """The rogue does not wait before it dials again whoever hung up on it."""
        assert self.rogue is not None
        for node in self.nodes:
            if node is not self.rogue and node.peer is not None:
                self._dial(self.rogue, self.rogue.life, node.address)


def betray_once(rogue: Node, number: int) -> None:
    """A write of the rogue's own, of whatever kind; none where its own lies have changed the kind."""
    with suppress(BucketKindError):
        _write_as_rogue(rogue, number)


def _write_as_rogue(rogue: Node, number: int) -> None:
    match number % 5:
        case 0 if "n" in rogue.up.replicas:
            rogue.write("n", lambda draft: draft.add("counter", number))
        case 1 if "m" in rogue.up.replicas:
            rogue.write("m", lambda draft: draft.put(f"rogue {number % 7}", {"f": number}))
        case 2 if "s" in rogue.up.replicas:
            rogue.write("s", lambda draft: draft.add_element("rogue", f"element {number}"))
        case _:
            rogue.put(f"rogue {number % 7}", number)


@pytest.mark.parametrize("seed", _seeds())
def test_a_member_that_mutates_what_its_own_peer_says(seed: int) -> None:
    world = Turncoat(seed)
    mesh = Mesh(world, seed, identity("p2").peer)
    for number in range(40):
        mesh.write(number)
    rogue = world.betray()
    for number in range(40, 100):
        world.dial_all()
        world.run(mesh.rng.choice((0.01, 0.1, 0.5, 3.0)))
        betray_once(rogue, number)
        if number % 3 == 0:
            mesh.write(number)
        if number == 60:
            mesh.join()
        if mesh.rng.random() < 0.03:
            mesh.restart(mesh.rng.choice(mesh.honest))
    world.crash(rogue)
    world.rogue = None
    mesh.check()
    assert sum(world.altered.values()) > 20


@pytest.mark.parametrize("seed", _seeds())
def test_a_hostile_member_ends_and_corrupts_nothing(seed: int) -> None:
    siege = Siege(seed)
    for number in range(STEPS):
        siege.step(number)
        if number == STEPS // 2:
            siege.join()
    assert set(siege.sent) == set(KINDS)
    assert siege.intruder.hung_up > 0
    siege.end()


def test_every_kind_of_message_is_mutated() -> None:
    """A kind that is added later needs a template here before it may be merged."""
    assert set(TEMPLATES) == set(KINDS), f"kinds without a template: {set(KINDS) - set(TEMPLATES)}"
    siege = Siege(0)
    for kind in KINDS:
        assert type(siege.intruder.template(kind)) is kind
        payload = siege.intruder.payload(kind)
        assert {siege.mutated(payload) for _ in range(50)} - {payload}, (
            f"{NAME} mutates no {kind.__name__}"
        )
