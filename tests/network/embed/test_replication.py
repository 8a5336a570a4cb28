"""What is written at one member is read at the others: every kind, whole batches, concurrent adding."""

from threading import Barrier, Thread

import pytest

from gossipsync import Bucket, Mesh
from gossipsync.errors import BucketKindError, EndedKeyError
from tests.network.embed.conftest import Spawn

Pair = tuple[Mesh, Mesh]


def follow(reader: Mesh, writer: Mesh) -> None:
    """Return once the reader has seen all that the writer has."""
    reader.wait_for(writer.token(), timeout=10)


def test_values_and_their_provenance(pair: Pair) -> None:
    a, b = pair
    here, there = a.bucket("b"), b.bucket("b")
    here["k"] = {"user": 7, "bytes": b"\x00"}
    b.wait_for(here.put("l", [1]).token, timeout=10)
    assert dict(there) == {"k": {"user": 7, "bytes": b"\x00"}, "l": [1]}
    entry = there.entry("k")
    assert entry.origin == entry.sender == a.peer_id
    assert entry.hlc == here.entry("k").hlc


def test_the_sender_may_be_another_than_the_origin(three: tuple[Mesh, Mesh, Mesh]) -> None:
    a, b, c = three
    a.bucket("b")["k"] = 1
    for mesh in (b, c):
        follow(mesh, a)
        entry = mesh.bucket("b").entry("k")
        assert entry.origin == a.peer_id
        assert entry.sender in {a.peer_id, b.peer_id, c.peer_id} - {mesh.peer_id}


def test_a_late_joiner_gets_everything(spawn: Spawn) -> None:
    a = spawn("a")
    bucket = a.bucket("b")
    bucket.update((f"key-{number}", "x" * 100) for number in range(2000))
    del bucket["key-7"]
    c = spawn("c", a.address)
    c.wait_synced(timeout=20)
    assert dict(c.bucket("b")) == dict(bucket)
    (mine,), (theirs,) = a.status().buckets, c.status().buckets
    assert (mine.keys, mine.fingerprint) == (theirs.keys, theirs.fingerprint)


def test_rules_come_with_the_data(pair: Pair) -> None:
    a, b = pair
    a.bucket("b", kind="map", ttl=60)["k"] = {"n": 1}
    follow(b, a)
    bucket = b.bucket("b")
    bucket.fields("k")["m"] = 2
    assert bucket.entry("k").expires is not None
    with pytest.raises(BucketKindError):
        b.bucket("b", kind="set")
    follow(a, b)
    assert a.bucket("b")["k"] == {"n": 1, "m": 2}


def test_fields_written_at_once_are_both_kept(pair: Pair) -> None:
    buckets = [mesh.bucket("b", kind="map") for mesh in pair]
    buckets[0]["k"] = {"n": 0}
    follow(pair[1], pair[0])
    for number, bucket in enumerate(buckets):
        bucket.fields("k")[f"from {number}"] = number
    follow(pair[0], pair[1])
    follow(pair[1], pair[0])
    assert buckets[0]["k"] == buckets[1]["k"] == {"n": 0, "from 0": 0, "from 1": 1}


def test_a_logout_that_no_late_save_undoes(pair: Pair) -> None:
    a, b = pair
    sessions = [mesh.bucket("sessions", kind="map", ttl=1800, deletes="final") for mesh in (a, b)]
    sessions[0]["sid"] = {"user": 7}
    follow(b, a)
    del sessions[0]["sid"]
    try:
        sessions[1]["sid"] = {"user": 7, "late": True}
    except EndedKeyError:
        pass  # the delete was faster
    follow(a, b)
    follow(b, a)
    for bucket in sessions:
        assert "sid" not in bucket
        with pytest.raises(EndedKeyError):
            bucket["sid"] = {}


def test_a_batch_is_seen_whole(pair: Pair) -> None:
    a, b = pair
    here, there = a.bucket("b"), b.bucket("b")
    here.update(x=0, y=0)
    follow(b, a)
    seen: set[tuple[object, object]] = set()
    watch = there.watch(since="now", timeout=10)

    def read() -> None:
        for _ in watch:
            both = dict(there)
            seen.add((both["x"], both["y"]))
            if both["x"] == 50:
                return

    reader = Thread(target=read)
    reader.start()
    for number in range(1, 51):
        with here.batch() as batch:
            batch["x"] = number
            batch["y"] = number
    reader.join(20)
    assert not reader.is_alive()
    assert all(x == y for x, y in seen)
    assert (50, 50) in seen


def test_counters_from_four_threads_on_two_peers(pair: Pair) -> None:
    counters = [mesh.bucket("hits", kind="counter") for mesh in pair]
    barrier = Barrier(8)

    def add(bucket: Bucket) -> None:
        barrier.wait()
        for _ in range(250):
            bucket.counter("page").add(1)

    threads = [Thread(target=add, args=(bucket,)) for bucket in counters for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    follow(pair[0], pair[1])
    follow(pair[1], pair[0])
    assert [bucket["page"] for bucket in counters] == [2000, 2000]


def test_sets_and_deletes(pair: Pair) -> None:
    a, b = pair
    here, there = (mesh.bucket("tags", kind="set") for mesh in pair)
    here.elements("k").add("x")
    there.elements("k").add("y")
    follow(a, b)
    follow(b, a)
    assert here["k"] == there["k"] == {"x", "y"}
    here.delete("k")
    follow(b, a)
    assert "k" not in there


def test_watching_another_peers_writes(pair: Pair) -> None:
    a, b = pair
    watch = b.bucket("b").watch(since="now", timeout=10)
    a.bucket("b")["k"] = 1
    change = next(watch)
    assert (change.kind, change.key, change.value, change.origin) == ("put", "k", 1, a.peer_id)
    a.bucket("b").delete("k")
    assert next(watch).kind == "delete"
