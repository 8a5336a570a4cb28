"""Batches: all or nothing, and they read what they wrote."""

import pytest

from gossipsync import Mesh
from gossipsync.errors import BucketKindError, LocalError, ValueTooLargeError, ValueTypeError


def test_written_whole_at_the_end(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    bucket.update(old=0, gone=0)
    with bucket.batch() as b:
        b["x"] = {"n": 1}
        del b["gone"]
        b.put("y", 2, ttl=60)
        b.delete("never here")
        assert b["x"] == {"n": 1}
        assert "gone" not in b
        assert b.get("gone", "?") == "?"
        assert b["old"] == 0
        assert dict(bucket) == {"old": 0, "gone": 0}
        assert b.receipt is None
    assert dict(bucket) == {"old": 0, "x": {"n": 1}, "y": 2}
    assert b.receipt is not None
    assert (b.receipt.bucket, b.receipt.key) == ("b", None)
    assert bucket.entry("x").hlc == bucket.entry("y").hlc == b.receipt.hlc


def test_an_exception_discards_it(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    batch = bucket.batch()

    def fail() -> None:
        with batch as b:
            b["x"] = 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert dict(bucket) == {}
    assert batch.receipt is None


def test_a_refused_write_leaves_the_batch_as_it_was(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    with bucket.batch() as b:
        b["x"] = 1
        with pytest.raises(ValueTypeError):
            b["y"] = object()
        with pytest.raises(KeyError):
            del b["absent"]
    assert dict(bucket) == {"x": 1}


def test_one_too_large_writes_nothing(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")

    def write() -> None:
        with bucket.batch() as b:
            for number in range(10):
                b[f"{number}"] = b"x" * 200_000

    with pytest.raises(ValueTooLargeError):
        write()
    assert dict(bucket) == {}


def test_an_empty_one_writes_nothing(mesh: Mesh) -> None:
    with mesh.bucket("b").batch() as b:
        pass
    assert b.receipt is None


def test_used_once_and_within_its_block(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    batch = bucket.batch()
    with pytest.raises(LocalError, match="within"):
        batch["x"] = 1
    with batch:
        batch["x"] = 1
    with pytest.raises(LocalError, match="within"):
        batch["y"] = 1
    with pytest.raises(LocalError, match="once"), batch:
        pass


def test_parts_within_a_batch(mesh: Mesh) -> None:
    maps = mesh.bucket("maps", kind="map")
    with maps.batch() as b:
        b["a"] = {"n": 1}
        b.fields("a")["m"] = 2
        assert b.touch("a")
        with pytest.raises(BucketKindError):
            b.counter("a")
    assert maps["a"] == {"n": 1, "m": 2}
    counters = mesh.bucket("counters", kind="counter")
    with counters.batch() as b:
        b.counter("a").add(2)
        b.counter("a").add(3)
        b.counter("b").add(1)
        assert b.counter("a").value == 5
        assert counters.counter("a").value == 0
    assert dict(counters) == {"a": 5, "b": 1}
    sets = mesh.bucket("sets", kind="set")
    with sets.batch() as b:
        b.elements("a").add("x")
        b.elements("a").add("y")
        b.elements("a").discard("x")
        assert set(b.elements("a")) == {"y"}
    assert sets["a"] == {"y"}


def test_others_may_write_while_it_is_open(mesh: Mesh) -> None:
    counters = mesh.bucket("counters", kind="counter")
    counters.counter("a").add(1)
    with counters.batch() as b:
        b.counter("a").add(10)
        counters.counter("a").add(100)
    assert counters["a"] == 111


def test_a_receipt_of_a_batch_waits(mesh: Mesh) -> None:
    with mesh.bucket("b").batch(ack="self", timeout=5) as b:
        b["x"] = 1
    assert b.receipt is not None
    b.receipt.wait("majority")  # alone, half of the others are none
    assert b.receipt.acked_by == ()
    mesh.wait_for(b.receipt.token, timeout=1)
