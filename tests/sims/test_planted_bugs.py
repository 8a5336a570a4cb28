"""Each checker against a bug planted in a copy of the component it watches over: silent without, loud with it."""

from collections.abc import Callable
from typing import Any

import pytest

from gossipsync.core import Limits
from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.concern import Concern
from gossipsync.core._peer.exchange import Exchanges
from gossipsync.core._peer.forks import Forks
from gossipsync.core._peer.lives import Lives
from gossipsync.core._peer.reconciling import Reconciler
from gossipsync.core._peer.standing import Standing, State
from gossipsync.core.model.entry import Op
from gossipsync.core.model.events import StateChanged
from gossipsync.core.model.hlc import HybridClock
from gossipsync.core.model.reasons import SENDERS_FAULT, Reason
from gossipsync.core.replication import cells, views
from gossipsync.core.replication.admission import Admission
from gossipsync.core.replication.draft import NOTHING
from gossipsync.core.replication.fetching import Fetcher
from gossipsync.core.replication.forks import Fork
from gossipsync.core.replication.logs import Log, LogBook
from gossipsync.core.replication.replica import Replica
from gossipsync.sim import checkers, run
from gossipsync.sim.identities import Authority
from gossipsync.sim.stores import SimulatedStore

Plant = Callable[[pytest.MonkeyPatch], None]


def store_keeps_nothing(patch: pytest.MonkeyPatch) -> None:
    """The disk says yes and forgets."""
    patch.setattr(SimulatedStore, "commit", lambda self: self._waiting.clear())


def lines_slip_back(patch: pytest.MonkeyPatch) -> None:
    sound = LogBook.append

    def append(self: LogBook, bundle: Any, entries: Any, sender: Any) -> Log:
        log = sound(self, bundle, entries, sender)
        log.index = 1 if log.index == 4 else log.index
        return log

    patch.setattr(LogBook, "append", append)


def entries_get_lost(patch: pytest.MonkeyPatch) -> None:
    """The vector moves, the state does not."""
    sound = Replica.apply

    def apply(self: Replica, entries: Any, origin: Any, index: int) -> Any:
        return sound(self, [] if index == 3 else entries, origin, index)

    patch.setattr(Replica, "apply", apply)


def removals_are_lost(patch: pytest.MonkeyPatch) -> None:
    """The removal of an element leaves it where it is."""
    sound = Replica.apply

    def apply(self: Replica, entries: Any, origin: Any, index: int) -> Any:
        kept = [entry for entry in entries if entry.op != Op.DELETE]
        return sound(self, kept, origin, index)

    patch.setattr(Replica, "apply", apply)


def nothing_expires(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(views, "is_expired", lambda group, wall_ms: False)
    patch.setattr(Replica, "sweep", lambda self, wall_ms: bool(self._wheel.due(wall_ms)))
    sound = Replica.read

    def read(self: Replica, key: str, wall_ms: int) -> object:
        return sound(self, key, 0)

    patch.setattr(Replica, "read", read)


def final_is_not_final(patch: pytest.MonkeyPatch) -> None:
    """A final tombstone covers only what was stamped before it, as any other does."""
    patch.setattr(cells, "rank", lambda tombstone: tombstone[cells.STAMP])


def sums_count_twice(patch: pytest.MonkeyPatch) -> None:
    sound = views.total_in
    patch.setattr(views, "total_in", lambda cell, base: 2 * sound(cell, base))


def early_bundles_without_limit(patch: pytest.MonkeyPatch) -> None:
    sound = Fetcher.keep_early

    def keep_early(self: Fetcher, *args: Any) -> bool:
        named, self._limits = self._limits, Limits(reassembly_bytes=1 << 40)
        try:
            return sound(self, *args)
        finally:
            self._limits = named

    patch.setattr(Fetcher, "keep_early", keep_early)
    patch.setattr("gossipsync.sim.simulation.Limits", lambda **_: Limits(reassembly_bytes=300))


def clocks_ignore_others(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(HybridClock, "fold", lambda self, seen: None)


def tokens_order_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Concern, "after", lambda self, token: NOTHING)


def acks_for_nothing(patch: pytest.MonkeyPatch) -> None:
    """Whoever is linked is said to have stored everything; and what is written last is soon gone."""

    def acked_by(self: Commits, bucket: str, index: int) -> list[Any]:
        return list(self._ctx.by_peer)

    patch.setattr(Commits, "acked_by", acked_by)
    store_keeps_nothing(patch)


def acks_short_of_one(patch: pytest.MonkeyPatch) -> None:
    """Every level is taken for one member less."""
    sound = Concern.needed_acks

    def needed_acks(self: Concern, ack: Any) -> int:
        return max(0, sound(self, ack) - 1)

    patch.setattr(Concern, "needed_acks", needed_acks)


def tokens_are_always_satisfied(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Concern, "is_satisfied", lambda self, token: True)


def relays_are_blamed(patch: pytest.MonkeyPatch) -> None:
    """Whoever hands on what is ahead of its time is taken for its author."""
    patch.setattr("gossipsync.core._peer.context.SENDERS_FAULT", SENDERS_FAULT | {Reason.SKEW})


def forks_are_told_and_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The event goes out, and the line stays open."""

    def freeze(self: LogBook, log: Log, proof: Any, cut: Any) -> None:
        log.fork = Fork(proof, cut)

    patch.setattr(LogBook, "freeze", freeze)


def proofs_stay_where_they_were_found(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Forks, "_show", lambda self, link, found: None)


def branches_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    """All learn of the fork, and nobody asks what the others have of it."""
    patch.setattr(Reconciler, "need", lambda self, link, need=None: None)


def clones_go_unnoticed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lives, "is_cloned", property(lambda self: False))
    patch.setattr("gossipsync.sim.checkers.lives._TOLD_S", 60.0)


def all_are_clones(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lives, "is_cloned", property(lambda self: True))


def all_are_restored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lives, "is_restored", property(lambda self: True))


def chains_go_unchecked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Admission, "_check_chain", lambda self, header, log: None)


def the_future_is_let_in(patch: pytest.MonkeyPatch) -> None:
    """The gate knows no bound on stamps."""
    sound = Admission.__init__

    def init(self: Admission, *args: Any) -> None:
        sound(self, *args)
        self._max_skew_ms = 1 << 40

    patch.setattr(Admission, "__init__", init)


def anything_verifies(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Authority, "verify", lambda self, public_key, signature, message: True)


def digests_go_unread(patch: pytest.MonkeyPatch) -> None:
    """What others have more of is not asked for, from the third bundle on."""
    sound = Exchanges._note

    def note(self: Exchanges, link: Any, key: Any, index: int) -> None:
        if index < 3:
            sound(self, link, key, index)

    patch.setattr(Exchanges, "_note", note)


def ready_at_first_sight(patch: pytest.MonkeyPatch) -> None:
    """A peer says ready as soon as it has a link."""
    sound = Standing.update

    def update(self: Standing) -> None:
        sound(self)
        if self.state is State.JOINING:
            self.state, self.was_ready, self.is_established = State.READY, True, True
            self._ctx.emit(StateChanged("ready"))

    patch.setattr(Standing, "update", update)


def no_peer_begins(patch: pytest.MonkeyPatch) -> None:
    """Each peer waits for another to be ready first."""
    sound = Standing.update

    def update(self: Standing) -> None:
        sound(self)
        if self.state is State.READY:
            self.state = State.JOINING

    patch.setattr(Standing, "update", update)


def the_first_joins_for_ever(patch: pytest.MonkeyPatch) -> None:
    """The peer with the smallest key among those linked never becomes ready."""
    sound = Standing.update

    def update(self: Standing) -> None:
        sound(self)
        if self.state is State.READY and all(self._ctx.peer_id < one for one in self._ctx.by_peer):
            self.state = State.JOINING

    patch.setattr(Standing, "update", update)


def older_copies_go_unnoticed(patch: pytest.MonkeyPatch) -> None:
    """A store that has returned to an older copy loses what it is given from then on, and says that it is stored."""
    sound = SimulatedStore.commit

    def commit(self: SimulatedStore) -> None:
        if self._is_rolled_back:
            self._waiting.clear()
        else:
            sound(self)

    patch.setattr(SimulatedStore, "commit", commit)


def older_copies_are_not_read(patch: pytest.MonkeyPatch) -> None:
    """A peer starts empty where its store is an older copy."""
    sound, sound_pieces = SimulatedStore.load_logs, SimulatedStore.load_pieces

    def load_logs(self: SimulatedStore) -> Any:
        return {} if self._copied else sound(self)

    def load_pieces(self: SimulatedStore) -> Any:
        return iter(()) if self._copied else sound_pieces(self)

    patch.setattr(SimulatedStore, "load_logs", load_logs)
    patch.setattr(SimulatedStore, "load_pieces", load_pieces)
    patch.setattr(SimulatedStore, "keep_copy", _keep_whole_copy)


def _keep_whole_copy(self: SimulatedStore) -> None:
    """A copy that shares no log with the store, so that only a restored store shares any with its copy."""
    twin = self.twin()
    self._copy = (twin._logs, twin._heads, twin.doubt)


WRITES = {"peers": 6, "updates": 60, "writers": 3, "workload": "poisson", "rate": 10.0}
SESSIONS = {**WRITES, "workload": "sessions", "updates": 200, "writers": 6}
ROGUES = {**WRITES, "rogues": 0.5}
CLONES = {**WRITES, "peers": 3, "updates": 5, "membership": "on", "clones": 2.0, "until": 150.0}
COLD = {**WRITES, "peers": 4, "membership": "on", "start": "cold", "push": True}
PLANTED: list[tuple[type[checkers.Checker], Plant, dict[str, Any]]] = [
    (checkers.Acks, store_keeps_nothing, WRITES),
    (checkers.Vectors, lines_slip_back, WRITES),
    (checkers.Prefix, entries_get_lost, WRITES),
    (checkers.Elements, removals_are_lost, {**WRITES, "workload": "sets"}),
    (checkers.Values, nothing_expires, {**SESSIONS, "updates": 120, "rate": 3.0}),
    (checkers.Finals, final_is_not_final, {**SESSIONS, "skew": 2000.0, "push": False}),
    (checkers.Counters, sums_count_twice, {**WRITES, "workload": "counters"}),
    (
        checkers.Bounds,
        early_bundles_without_limit,
        {**WRITES, "push": True, "reorders": 0.6, "rate": 60.0},
    ),
    (checkers.Causality, clocks_ignore_others, {**WRITES, "skew": 5000.0}),
    (checkers.Causality, tokens_order_nothing, {**WRITES, "skew": 5000.0}),
    (checkers.Durability, acks_for_nothing, {**WRITES, "crashes": 40.0, "quiet": 6.0}),
    (checkers.Acks, acks_short_of_one, {**WRITES, "ack": "mixed"}),
    (checkers.Causality, tokens_are_always_satisfied, WRITES),
    (checkers.Causality, entries_get_lost, {**WRITES, "workload": "hot"}),
    (checkers.Blame, relays_are_blamed, {**ROGUES, "skew": 20_000.0, "habit": "ahead"}),
    (checkers.Forks, forks_are_told_and_forgotten, {**ROGUES, "habit": "fork"}),
    (checkers.Forks, proofs_stay_where_they_were_found, {**ROGUES, "habit": "fork", "quiet": 4.0}),
    (checkers.Forks, branches_are_not_compared, {**ROGUES, "habit": "fork", "quiet": 4.0}),
    (checkers.Forks, chains_go_unchecked, {**ROGUES, "habit": "flaw"}),
    (checkers.Lives, clones_go_unnoticed, CLONES),
    (checkers.Lives, all_are_clones, WRITES),
    (checkers.Lives, all_are_restored, WRITES),
    (checkers.Clocks, the_future_is_let_in, {**ROGUES, "habit": "ahead"}),
    (checkers.Signatures, anything_verifies, {**ROGUES, "habit": "tamper"}),
    (
        checkers.Convergence,
        digests_go_unread,
        {**WRITES, "interval": 0.2, "peers": 4, "quiet": 6.0},
    ),
    (checkers.Liveness, no_peer_begins, {**COLD, "apart": 4.0, "quiet": 10.0}),
    (checkers.Liveness, the_first_joins_for_ever, {**COLD, "until": 90.0}),
    (
        checkers.Readiness,
        ready_at_first_sight,
        {**COLD, "joiners": (3, 8.0), "quiet": 10.0, "trim_after": 0.2},
    ),
    (
        checkers.Durability,
        older_copies_are_not_read,
        {**COLD, "apart": 19.0, "crashes": 20.0, "restores": 1.0, "quiet": 20.0},
    ),
    (checkers.Acks, older_copies_go_unnoticed, {**COLD, "rollbacks": 60.0, "quiet": 20.0}),
]


@pytest.mark.parametrize(
    ("checker", "plant", "world"), PLANTED, ids=lambda value: getattr(value, "__name__", "")
)
def test_the_checker_catches_its_bug(
    checker: type[checkers.Checker],
    plant: Plant,
    world: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkers, "CHECKERS", (checker,))
    if "habit" in world:
        world = {**world}
        monkeypatch.setattr("gossipsync.sim.simulation.HABITS", (world.pop("habit"),))
    assert not run(seed=0, **world).violations
    plant(monkeypatch)
    found = next(filter(None, (run(seed=seed, **world).violations for seed in range(8))), ())
    assert [violation.checker for violation in found[:1]] == [checker.name]
    assert found[0].events > 0


def test_every_checker_has_a_planted_bug() -> None:
    assert {checker for checker, _, _ in PLANTED} == set(checkers.CHECKERS)


def test_a_violation_comes_with_the_trace_that_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lines_slip_back(monkeypatch)
    result = run(seed=1, **WRITES)
    first = result.violations[0]
    assert not result.is_fine
    assert first.trace
    assert all(line.split()[2] == str(first.peer) for line in first.trace)
    assert int(first.trace[-1].split()[0]) <= first.events
    assert "--seed 1" in result.options.command()
