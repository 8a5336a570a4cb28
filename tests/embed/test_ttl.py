"""Times to live, by a clock that the test moves."""

from datetime import timedelta

import pytest

from gossipsync import NEVER, Bucket, Mesh
from gossipsync.runtime.clock import ManualClock


def expired(bucket: Bucket, key: str) -> bool:
    return key not in bucket


def settle(mesh: Mesh, clock: ManualClock, seconds: float) -> None:
    """Let time pass, and have the engine notice."""
    clock.advance(seconds)
    engine = mesh._life.engine()
    with engine.lock:
        engine.peer.handle_deadline(engine.now())
        engine.wake()


def test_a_key_ends_with_its_ttl(mesh: Mesh, clock: ManualClock) -> None:
    bucket = mesh.bucket("b", ttl=10)
    bucket["bucket's"] = 1
    bucket.put("longer", 1, ttl=timedelta(minutes=1))
    bucket.put("shorter", 1, ttl=0.5)
    bucket.put("for ever", 1, ttl=NEVER)
    assert len(bucket) == 4
    settle(mesh, clock, 1)
    assert set(bucket) == {"bucket's", "longer", "for ever"}
    with pytest.raises(KeyError):
        bucket["shorter"]
    settle(mesh, clock, 10)
    assert set(bucket) == {"longer", "for ever"}
    settle(mesh, clock, 60)
    assert dict(bucket.items()) == {"for ever": 1}
    settle(mesh, clock, 2)
    assert len(bucket) == 1


def test_reads_see_the_end_before_the_engine_does(mesh: Mesh, clock: ManualClock) -> None:
    bucket = mesh.bucket("b")
    bucket.put("a", 1, ttl=1)
    clock.advance(1.001)
    assert expired(bucket, "a")
    assert list(bucket) == []
    with pytest.raises(KeyError):
        bucket.entry("a")
    with pytest.raises(KeyError):
        del bucket["a"]


def test_touch(mesh: Mesh, clock: ManualClock) -> None:
    bucket = mesh.bucket("b", ttl=100)
    assert bucket.touch("absent") is False
    bucket["a"] = 1
    clock.advance(60)
    assert bucket.touch("a") is True
    clock.advance(60)
    assert bucket["a"] == 1
    assert bucket.touch("a", ttl=1000)
    clock.advance(500)
    assert bucket["a"] == 1
    clock.advance(501)
    assert bucket.touch("a") is False


def test_a_touch_that_gains_little_writes_nothing(mesh: Mesh, clock: ManualClock) -> None:
    bucket = mesh.bucket("b", ttl=100)
    before = bucket.put("a", 1).hlc
    clock.advance(4)
    assert bucket.touch("a") is True
    assert bucket.entry("a").expires == bucket.entry("a").expires
    assert bucket.watch(since="now", timeout=0)._next() is None
    assert bucket.entry("a").hlc == before


def test_each_write_of_a_map_renews_its_life(mesh: Mesh, clock: ManualClock) -> None:
    carts = mesh.bucket("carts", kind="map", ttl=100)
    carts["a"] = {"n": 1}
    clock.advance(60)
    carts.fields("a")["m"] = 2
    clock.advance(60)
    assert carts["a"] == {"n": 1, "m": 2}
    clock.advance(60)
    assert "a" not in carts
    carts["a"] = {"k": 3}
    assert carts["a"] == {"k": 3}


def test_the_ttl_caps_all_where_deletes_are_final(mesh: Mesh, clock: ManualClock) -> None:
    sessions = mesh.bucket("sessions", ttl=100, deletes="final")
    sessions.put("a", 1, ttl=1000)
    sessions.put("b", 1, ttl=NEVER)
    clock.advance(101)
    assert list(sessions) == []
    sessions["a"] = "an expired key may be used again"
    assert len(sessions) >= 1


def test_counters_and_sets_expire_whole(mesh: Mesh, clock: ManualClock) -> None:
    hits = mesh.bucket("hits", kind="counter", ttl=10)
    tags = mesh.bucket("tags", kind="set", ttl=10)
    hits.counter("a").add(5)
    tags.elements("a").add("x")
    clock.advance(11)
    assert (hits.counter("a").value, set(tags.elements("a"))) == (0, set())
    hits.counter("a").add(2)
    tags.elements("a").add("y")
    assert (hits["a"], tags["a"]) == (2, {"y"})
