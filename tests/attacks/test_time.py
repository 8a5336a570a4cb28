"""Time: stamps around the skew bound, logs that go backwards, and our own clock being wrong."""

from gossipsync.core import Kind
from gossipsync.core.model.events import EpochOpened
from gossipsync.core.model.hlc import hlc_at
from gossipsync.core.model.reasons import Reason
from gossipsync.core.wire.messages import Compare, Delta, Digest, Push, Want
from tests.attacks._marks import Victim
from tests.core._world import START_MS, Author, Stage, World, entry

SKEW_MS = 60_000
YEAR_MS = 365 * 86_400_000


def ahead(span_ms: int) -> tuple[Author, bytes]:
    """A bundle stamped by a clock that is ahead."""
    author = Author("rogue", wall_ms=START_MS + span_ms)
    return author, author.put("k", 1)


def test_just_inside_the_bound_is_merged_and_folded() -> None:
    victim = Victim()
    author = Author("fast", wall_ms=START_MS)
    author.pass_time(SKEW_MS - 1)
    fast = victim.link("fast")
    fast.says(Push((author.put("k", 1),)))
    assert victim.pairs()["k"] == 1
    assert victim.peer._ctx.clock.last >= hlc_at(START_MS + SKEW_MS - 1)
    assert victim.counted == {}
    assert victim.serves_the_honest()


def test_at_the_bound_and_a_year_ahead_are_parked_without_blame() -> None:
    for span_ms in (SKEW_MS, YEAR_MS):
        victim = Victim()
        fast = victim.link("rogue")
        fast.says(Push((ahead(span_ms)[1],)))
        victim.withstood(fast, Reason.SKEW)


def test_what_was_parked_is_asked_for_when_its_time_has_come() -> None:
    victim = Victim()
    _, bundle = ahead(SKEW_MS + 5_000)
    fast = victim.link("rogue")
    fast.says(Push((bundle,)))
    assert fast.hears(Want) == []
    victim.wait(4.9)
    assert fast.hears(Want) == []
    victim.wait(0.2)
    (want,) = fast.hears(Want)
    fast.says(Delta(want.request, (bundle,)))
    assert victim.pairs()["k"] == 1


def test_a_parked_bundle_is_not_asked_for_in_every_exchange() -> None:
    victim = Victim()
    author, bundle = ahead(YEAR_MS)
    fast = victim.link("rogue")
    fast.says(Push((bundle,)))
    line = ("b", author.origin, 1, bytes(8), START_MS << 16)
    for exchange in range(1, 21, 2):
        fast.says(Digest(exchange, bytes(16), b"", START_MS))
        fast.says(Compare(exchange, (), False, (), (line,), ()))
    assert fast.hears(Want) == []
    assert victim.peer.is_synced() or victim.peer.state == "joining"
    assert fast.hung_up is None


def test_a_log_whose_clock_goes_backwards() -> None:
    victim = Victim()
    author = Author("rogue", wall_ms=START_MS)
    rogue = victim.link("rogue")
    rogue.says(Push((author.put("k", 1),)))
    kept = victim.peer.digest
    back = author.wrong([entry("k", 2, at=START_MS << 16)], log_hlc=START_MS << 16)
    rogue.says(Push((back,)))
    assert victim.counted == {Reason.CHAIN: 1}
    assert victim.peer.digest == kept
    assert rogue.hung_up is None
    assert victim.serves_the_honest()


def test_an_honest_relay_of_a_stamp_ahead_of_us_keeps_its_link() -> None:
    """Our clock is two minutes late: everybody else's writes are ahead, and nobody is blamed for that."""
    world = World(3)
    world.run(3)
    world.nodes[2].skew_ms = -2 * SKEW_MS
    world.nodes[0].put("k", 1)
    world.run(10)
    late = world.nodes[2]
    assert late.pairs() == {}
    assert late.up.status(late.now).rejected["skew"] >= 1
    assert len(late.up._ctx.by_peer) == 2
    assert "clock-suspect" in late.up.status(late.now).warnings
    for node in world.nodes[:2]:
        assert node.up.status(node.now).warnings == ()
    late.skew_ms = 0
    world.run(3)
    assert late.pairs() == {"k": 1}


def _count(stage: Stage, bucket: str, amount: int) -> None:
    stage.peer.open_bucket(bucket, stage.now, kind=Kind.COUNTER)
    draft = stage.peer.draft(bucket, stage.now)
    draft.add("n", amount)
    stage.peer.commit_draft(draft, stage.now)
    stage.settle()


def _pull_all(source: Stage, target: Stage) -> None:
    """What `source` holds, pushed to a peer whose clock is right."""
    remote = target.link("self")
    source.disk.rows.sort(key=lambda row: row[2])
    remote.says(Push(tuple(row[3] for row in source.disk.rows)))


def test_a_clock_set_back_by_an_hour_opens_an_epoch() -> None:
    stage = Stage(skew_ms=3_600_000)
    stage.put("before", 1)
    former = stage.peer.epoch
    stage.skew_ms = 0
    stage.put("after", 2)
    assert stage.peer.epoch != former
    assert [event for event in stage.events if isinstance(event, EpochOpened)]

    fresh = Stage("other")
    _pull_all(stage, fresh)
    assert fresh.pairs() == {"before": 1, "after": 2}
    assert fresh.refused == {}


def test_a_draft_that_outlives_its_epoch_is_written_in_the_new_one() -> None:
    """Its total is of the old epoch, and the new epoch's bundle may not carry it."""
    stage = Stage(skew_ms=3_600_000)
    stage.put("k", 1)
    stage.peer.open_bucket("counts", stage.now, kind=Kind.COUNTER)
    draft = stage.peer.draft("counts", stage.now)
    draft.add("n", 5)
    stage.skew_ms = 0
    stage.put("k", 2)  # in another bucket: the draft's own has not changed
    stage.peer.commit_draft(draft, stage.now)
    stage.settle()

    fresh = Stage("other")
    _pull_all(stage, fresh)
    assert fresh.pairs("counts") == {"n": 5}


def test_a_key_that_ended_in_a_future_since_taken_back_can_be_begun_anew() -> None:
    """What covers the old total may not be stamped after the bundle that it is in."""
    stage = Stage(skew_ms=3_600_000)
    _count(stage, "counts", 5)
    stage.skew_ms = 0
    stage.peer.open_bucket("counts", stage.now, kind=Kind.COUNTER)
    draft = stage.peer.draft("counts", stage.now)
    draft.delete("n")
    draft.add("n", 7)
    stage.peer.commit_draft(draft, stage.now)
    stage.settle()

    fresh = Stage("other")
    _pull_all(stage, fresh)
    assert fresh.refused == {Reason.SKEW: 1}
    assert fresh.pairs("counts") == {"n": 7}


def test_stamps_grow_though_the_wall_clock_steps_back() -> None:
    stage = Stage()
    stamps = []
    for skew_ms in (0, 0, -30_000, 5, -5, 0):
        stage.skew_ms = skew_ms
        stage.put("k", skew_ms)
        stamps.append(stage.peer._ctx.clock.last)
    assert stamps == sorted(set(stamps))
    assert stage.pairs() == {"k": 0}
