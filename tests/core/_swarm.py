"""A swarm: one seed decides a mesh, what its applications write and what goes wrong; then faults stop and laws are checked.

Faults: links that break, partitions, crashes (also in the middle of a commit), failing disks, clocks that are off within the
skew bound or beyond it. `Swarm(seed).play()` returns the laws that were broken; a seed replays exactly.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from gossipsync.core import Deletes, Kind, Token, Written
from gossipsync.core.model.ids import Origin, PeerId, epoch_of, peer_of
from gossipsync.core.model.limits import Limits
from gossipsync.errors import EndedKeyError, LocalError, TokenError
from tests.core._world import (
    Node,
    World,
    expected_pairs,
    facts_in,
    facts_of,
    logs_of,
    state_faults,
)

MAX_SKEW_MS = 10_000
SETTLE_S = 60.0
_LONGEST_TTL_S = 31.0
_BUCKETS: dict[str, dict[str, object]] = {
    "values": {},
    "finals": {"deletes": Deletes.FINAL, "ttl_ms": 30_000},
    "maps": {"kind": Kind.MAP},
    "leases": {"kind": Kind.MAP, "ttl_ms": 4_000},
    "sets": {"kind": Kind.SET},
    "counts": {"kind": Kind.COUNTER},
    "resets": {"kind": Kind.COUNTER},
}
"""`counts` is never deleted from, so its sums must be exact; `resets` is."""
_KEYS = ("a", "b", "c", "d", "e", "long " + "k" * 60)
_FIELDS = ("x", "y", "z")
_HARMLESS = {"held", "skew", "gap", "no-credential", "unsolicited", "covered"}
"""What honest peers may count of each other: what came twice, too early or too late."""


class Swarm:
    """One play."""

    def __init__(self, seed: int, *, has_cookies: bool = False) -> None:
        self.rng = random.Random(seed)
        rng = self.rng
        interval = rng.choice((0.2, 0.5, 1.0))
        self.world = World(
            rng.randrange(2, 7),
            seed=seed,
            latency_s=rng.choice((0.0005, 0.005, 0.05)),
            gossip_interval_s=interval,
            fanout=rng.choice((1, 1, 2)),
            max_skew_ms=MAX_SKEW_MS,
            horizon_ms=20_000,
            push=rng.random() < 0.7,
            full_mesh=rng.choice((3, 12)),
            ordering=rng.choice(("mixed", "depth", "breadth", "precise")),
            limits=Limits(
                trim_after_s=random.Random(-seed).choice((60.0, 2.0, 0.2)),
                log_waste_bytes=random.Random(-seed).choice((32 << 20, 2000)),
            ),
        )
        self.world.break_chance = rng.choice((0.0, 0.0, 0.002, 0.02))
        self.adds: dict[tuple[Origin, int], list[tuple[str, int]]] = {}
        """What each bundle of bucket `counts` adds."""
        self.pending: list[tuple[Node, int, Written]] = []
        self.acked: list[Written] = []
        self.vectors: dict[tuple[int, int], dict[tuple[str, Origin], int]] = {}
        self.broken: list[str] = []
        self.did: Counter[str] = Counter()
        self.clocks_differ = rng.random() < 0.5
        self.has_cookies = has_cookies
        """Do some writes come after tokens that applications carry about?"""
        self.cookies: list[str] = []

    def play(self) -> list[str]:
        rng, world = self.rng, self.world
        world.run(rng.choice((0.0, 2.0)))
        for _ in range(rng.randrange(60, 220)):
            action = rng.choices(list(_ACTIONS), weights=list(_ACTIONS.values()))[0]
            action(self)
            self.did[action.__name__] += 1
            world.run(rng.choice((0.0, 0.0, 0.001, 0.02, 0.3)))
            self._look()
        self._end_faults()
        self._settle()
        self._check()
        return self.broken

    # -- what applications do --------------------------------------------------------------------------------

    def write(self) -> None:
        if not self.world.running:
            return
        node = self.rng.choice(self.world.running)
        bucket = self.rng.choice(list(_BUCKETS))
        try:
            node.up.open_bucket(bucket, node.now, **_BUCKETS[bucket])  # type: ignore[arg-type]
        except LocalError:
            self.did["open refused"] += 1
            return
        cookie = self._cookie(node) if self.has_cookies else None
        draft = node.up.draft(bucket, node.now, cookie)
        adds = []
        for _ in range(self.rng.choice((1, 1, 1, 2, 5))):
            key = self.rng.choice(_KEYS)
            operation, amount = self._operation(bucket, key)
            try:
                operation(draft)
                adds.append((key, amount))
            except EndedKeyError:
                self.did["ended"] += 1
            except KeyError:
                self.did["absent"] += 1
        if self.rng.random() < 0.1:
            self.world.run(0.05)  # a batch that stays open while others write
        if node.peer is None or draft.replica is not node.peer.replicas.get(bucket):
            return
        was_empty = draft.is_empty
        try:
            written = node.up.commit_draft(draft, node.now)
        except LocalError:
            self.did["redo refused"] += 1
            return
        finally:
            self.world.touched(node)
        if was_empty:
            return
        if cookie is not None and written.hlc <= cookie.hlc:
            self.broken.append(f"{node.name}: {written} came after {cookie}")
        self.cookies.append(node.up.token_of(written))
        if bucket == "counts":
            self.adds.setdefault((written.origin, written.index), []).extend(adds)
        self.pending.append((node, node.life, written))

    def _cookie(self, node: Node) -> Token | None:
        """What some application has seen somewhere; now and then it waits for that here."""
        if not self.cookies or self.rng.random() < 0.5:
            return None
        text = self.rng.choice((self.cookies[-1], self.rng.choice(self.cookies)))
        try:
            token = node.up.parse_token(text, node.now)
        except TokenError:
            self.did["cookie refused"] += 1
            return None
        if self.rng.random() < 0.5 and not node.up.seek_token(token, node.now):
            self.did["sought"] += 1
            self.world.touched(node)
        self.did["cookie"] += 1
        return token

    def _operation(self, bucket: str, key: str) -> tuple[Callable[..., object], int]:
        rng = self.rng
        value = rng.choice((rng.randrange(9), "v" * rng.randrange(80), None, {"n": rng.random()}))
        field = rng.choice(_FIELDS)
        fields = {name: rng.randrange(5) for name in _FIELDS if rng.random() < 0.6}
        ttl = rng.choice((None, None, 500, 3_000))
        if bucket == "counts" or (bucket == "resets" and rng.random() < 0.7):
            amount = rng.randrange(-5, 10)
            return (lambda draft: draft.add(key, amount)), amount
        if rng.random() < 0.2 or bucket == "resets":
            return (lambda draft: draft.delete(key)), 0
        if rng.random() < 0.1:
            return (lambda draft: draft.touch(key, ttl)), 0
        if bucket in ("values", "finals"):
            return (lambda draft: draft.put(key, value, ttl)), 0
        if bucket == "sets":
            if rng.random() < 0.6:
                return (lambda draft: draft.add_element(key, field)), 0
            return (lambda draft: draft.discard_element(key, field)), 0
        if rng.random() < 0.4:
            return (lambda draft: draft.put(key, fields, ttl)), 0
        if rng.random() < 0.6:
            return (lambda draft: draft.set_field(key, field, value)), 0
        return (lambda draft: draft.delete_field(key, field)), 0

    # -- what goes wrong -------------------------------------------------------------------------------------

    def crash(self) -> None:
        if len(self.world.running) > 1:
            self.world.crash(self.rng.choice(self.world.running))

    def restart(self) -> None:
        stopped = [node for node in self.world.nodes if node.peer is None]
        if stopped:
            self.world.start(self.rng.choice(stopped))

    def join(self) -> None:
        if len(self.world.nodes) < 8:
            self.world.start(self.world.add())

    def break_link(self) -> None:
        a, b = self.rng.sample(self.world.nodes, 2)
        self.world.break_link(a, b)

    def split(self) -> None:
        half = self.rng.randrange(1, len(self.world.nodes))
        nodes = self.rng.sample(self.world.nodes, len(self.world.nodes))
        self.world.split(nodes[:half], nodes[half:])

    def heal(self) -> None:
        self.world.heal()

    def skew(self) -> None:
        if not self.clocks_differ:
            return
        node = self.rng.choice(self.world.nodes)
        node.skew_ms = self.rng.choice((0, 0, -4_000, 4_000, MAX_SKEW_MS + 5_000, -MAX_SKEW_MS))

    def fail_disk(self) -> None:
        node = self.rng.choice(self.world.nodes)
        node.disk.is_failing = not node.disk.is_failing

    # -- laws ------------------------------------------------------------------------------------------------

    @staticmethod
    def _is_withdrawn(node: Node, origin: Origin) -> bool:
        """A peer whose clock was set back takes back what nobody else had taken."""
        return peer_of(origin) == node.up.peer_id and epoch_of(origin) in node.up.withdrawn

    def _look(self) -> None:
        """Between two actions: vectors only grow, and acks are noted."""
        for node in self.world.running:
            vector = {key: log.index for key, log in logs_of(node.up).items()}
            former = self.vectors.get((node.number, node.life), {})
            lost = [
                key
                for key, index in former.items()
                if vector.get(key, 0) < index and not self._is_withdrawn(node, key[1])
            ]
            if lost:
                self.broken.append(f"{node.name}: a line went back: {lost}")
            self.vectors[node.number, node.life] = vector
        for node, life, written in list(self.pending):
            if node.life != life:
                self.pending.remove((node, life, written))
            elif node.up.is_stored(written) and node.up.acked_by(written):
                self.pending.remove((node, life, written))
                self.acked.append(written)

    def _end_faults(self) -> None:
        world = self.world
        world.heal()
        world.break_chance = 0.0
        for node in world.nodes:
            node.skew_ms = 0
            node.disk.is_failing = False
            if node.peer is None:
                world.start(node)

    def _settle(self) -> None:
        """What was stamped ahead of the bound has come of age by then, and every partner has been met."""
        if not self.world.run_until(self._is_even, SETTLE_S):
            self.broken.append(f"not even after {SETTLE_S} s: {self._unevenness()}")
        # Whose clock was ahead has seen things expire that live on elsewhere: until they expire there too.
        self.world.run(_LONGEST_TTL_S if self.clocks_differ else 0.1)

    def _is_even(self) -> bool:
        digests = {node.up.digest for node in self.world.running}
        return (
            len(digests) == 1
            and all(node.up.is_idle for node in self.world.running)
            and all(node.up.state in ("ready", "alone") for node in self.world.running)
        )

    def _unevenness(self) -> str:
        vectors = {
            node.name: {key: log.index for key, log in logs_of(node.up).items()}
            for node in self.world.running
        }
        keys = {key for vector in vectors.values() for key in vector}
        uneven = [
            (key[0], key[1].hex()[:8], [vector.get(key, 0) for vector in vectors.values()])
            for key in sorted(keys)
            if len({vector.get(key, 0) for vector in vectors.values()}) > 1
        ]
        states = [(node.name, node.up.state, node.up.is_idle) for node in self.world.running]
        return f"{uneven} {states}"

    def _check(self) -> None:
        nodes = self.world.running
        # Expiry is swept in full seconds, so all agree on one of those.
        wall_ms = -(-max(node.now.wall_ms for node in nodes) // 1000) * 1000
        for node in nodes:
            self.broken += [f"{node.name}: {fault}" for fault in state_faults(node.up, wall_ms)]
            refused = node.up.status(node.now).rejected
            if unexpected := refused.keys() - _HARMLESS:
                self.broken.append(f"{node.name} refused honest peers: {unexpected} {refused}")
        for bucket in _BUCKETS:
            shown = {
                (bytes(node.up.replicas[bucket].totals(wall_ms).fingerprint, "ascii"))
                for node in nodes
                if bucket in node.up.replicas
            }
            if len(shown) > 1:
                self.broken.append(f"{bucket}: fingerprints differ")
        self._check_counts(nodes)
        self._check_acked(nodes)
        self._check_all_seen(nodes)
        self._check_history(nodes, wall_ms)

    def _check_history(self, nodes: list[Node], wall_ms: int) -> None:
        """What is shown is what follows from all that was ever written and reached anybody who is left, trimmed or not."""
        seen = {place: data for node in self.world.nodes for place, data in node.disk.seen.items()}
        written = {place: facts_in(data) for place, data in seen.items()}
        for node in nodes:
            logs = logs_of(node.up)
            for bucket in _BUCKETS:
                reached = [
                    fact
                    for (name, origin, index), facts in written.items()
                    if name == bucket and (log := logs.get((name, origin))) is not None
                    if index <= log.index
                    for fact in facts
                ]
                # What came by itself counts, too: its line may be at an end before it, with its writer, or since he took it back.
                reached += facts_of(logs.values(), bucket)
                replica = node.up.replicas.get(bucket)
                if replica is None:
                    continue
                expected = expected_pairs(reached, replica.rules.kind, wall_ms)
                shown = dict(replica.pairs(wall_ms))
                if shown != expected:
                    odd = [
                        k for k in {*shown, *expected} if shown.get(k, ...) != expected.get(k, ...)
                    ]
                    what = [(k, shown.get(k), expected.get(k)) for k in odd[:3]]
                    self.broken.append(f"{node.name}: {bucket} is not what was written: {what}")

    def _check_counts(self, nodes: list[Node]) -> None:
        for node in nodes:
            if "counts" not in node.up.replicas:
                continue
            logs = logs_of(node.up)
            expected: Counter[str] = Counter()
            for (origin, index), adds in self.adds.items():
                log = logs.get(("counts", origin))
                if log is not None and index <= log.index:
                    for key, amount in adds:
                        expected[key] += amount
            for key in _KEYS:
                value = node.up.replicas["counts"].counter(key, node.now.wall_ms)
                if value != expected[key]:
                    self.broken.append(f"{node.name}: {key} is {value}, not {expected[key]}")

    def _check_all_seen(self, nodes: list[Node]) -> None:
        """Whoever has the same has seen the same."""
        for node in nodes:
            for other in nodes:
                token = other.up.parse_token(node.up.token(node.now), other.now)
                if not other.up.is_satisfied(token):
                    self.broken.append(f"{other.name} lacks what {node.name} has seen")

    def _check_acked(self, nodes: list[Node]) -> None:
        for node in nodes:
            logs = logs_of(node.up)
            lost = [
                written
                for written in self.acked
                if (written.bucket, written.origin) not in logs
                or logs[written.bucket, written.origin].index < written.index
            ]
            if lost:
                self.broken.append(f"{node.name}: lost {len(lost)} acknowledged writes")


_ACTIONS: dict[Callable[[Swarm], None], int] = {
    Swarm.write: 60,
    Swarm.crash: 3,
    Swarm.restart: 6,
    Swarm.join: 2,
    Swarm.break_link: 4,
    Swarm.split: 2,
    Swarm.heal: 3,
    Swarm.skew: 2,
    Swarm.fail_disk: 2,
}


def peers_of(swarm: Swarm) -> set[PeerId]:
    return {node.up.peer_id for node in swarm.world.running}
