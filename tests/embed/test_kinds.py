"""Maps, counters and sets: written part by part, read whole."""

import pytest

import gossipsync
from gossipsync import Mesh
from gossipsync.errors import BucketKindError, EndedKeyError, ValueTypeError


def test_a_map_and_its_fields(mesh: Mesh) -> None:
    carts = mesh.bucket("carts", kind="map")
    carts["a"] = {"n": 1, "m": 2}
    fields = carts.fields("a")
    fields["n"] = 3
    del fields["m"]
    fields.update(x=[1])
    assert carts["a"] == dict(fields) == {"n": 3, "x": [1]}
    assert (len(fields), "n" in fields, fields.get("?")) == (2, True, None)
    assert fields.pop("x") == [1]
    carts["a"] = {}
    assert carts["a"] == {}


def test_an_assigned_map_writes_only_what_differs(mesh: Mesh) -> None:
    carts = mesh.bucket("carts", kind="map")
    carts["a"] = {"n": 1, "m": 2}
    watch = carts.watch(since="now", timeout=0)
    carts["a"] = {"n": 1, "k": 3}
    assert carts["a"] == {"n": 1, "k": 3}
    assert [change.key for change in watch] == ["a"]


def test_fields_of_an_absent_map(mesh: Mesh) -> None:
    fields = mesh.bucket("carts", kind="map").fields("a")
    for use in (
        lambda: fields["n"],
        lambda: fields.__setitem__("n", 1),
        lambda: fields.__delitem__("n"),
        lambda: list(fields),
    ):
        with pytest.raises(KeyError):
            use()


def test_a_map_takes_dicts(mesh: Mesh) -> None:
    carts = mesh.bucket("carts", kind="map")
    with pytest.raises(ValueTypeError):
        carts["a"] = 1
    with pytest.raises(ValueTypeError):
        carts["a"] = {1: 2}
    carts["a"] = {"n": 1}
    with pytest.raises(KeyError, match="gone"):
        del carts.fields("a")["gone"]
    with pytest.raises(ValueTypeError):
        carts.fields("a")["n"] = object()
    assert carts["a"] == {"n": 1}


def test_a_counter(mesh: Mesh) -> None:
    hits = mesh.bucket("hits", kind="counter")
    counter = hits.counter("a")
    assert counter.value == 0
    assert "a" not in hits
    counter.add(5)
    counter.add()
    counter.add(-2)
    assert (counter.value, hits["a"]) == (4, 4)
    del hits["a"]
    assert counter.value == 0
    counter.add(7)
    assert hits["a"] == 7
    with pytest.raises(ValueTypeError):
        counter.add(1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueTypeError):
        counter.add(2**63)
    assert hits["a"] == 7


def test_a_set(mesh: Mesh) -> None:
    tags = mesh.bucket("tags", kind="set")
    elements = tags.elements("a")
    assert (set(elements), len(elements), "x" in elements) == (set(), 0, False)
    elements.add("x")
    elements |= {"y", "z"}
    elements.discard("z")
    elements.discard("never there")
    assert tags["a"] == frozenset({"x", "y"})
    assert sorted(elements) == ["x", "y"]
    assert elements == {"x", "y"}
    assert elements & {"y"} == {"y"}
    elements.remove("x")
    with pytest.raises(KeyError):
        elements.remove("x")
    with pytest.raises(ValueTypeError):
        elements.add(7)  # type: ignore[arg-type]
    assert tags["a"] == {"y"}


@pytest.mark.parametrize("kind", ["counter", "set"])
def test_parts_are_not_assigned(mesh: Mesh, kind: str) -> None:
    bucket = mesh.bucket("b", kind=kind)
    for write in (
        lambda: bucket.__setitem__("a", 1),
        lambda: bucket.put("a", {"n": 1}),
        lambda: bucket.setdefault("a", 1),
        lambda: bucket.update(a=1),
    ):
        with pytest.raises(BucketKindError):
            write()
    assert len(bucket) == 0


def test_views_of_another_kind(mesh: Mesh) -> None:
    values = mesh.bucket("values")
    for view in (values.fields, values.counter, values.elements):
        with pytest.raises(BucketKindError, match="holds values"):
            view("a")
    with pytest.raises(BucketKindError, match="holds maps"):
        mesh.bucket("maps", kind="map").counter("a")


def test_one_bucket_one_kind(mesh: Mesh) -> None:
    bucket = mesh.bucket("b", kind="map")
    assert mesh.bucket("b") is bucket
    assert mesh.bucket("b", kind="map") is bucket
    with pytest.raises(BucketKindError, match="kind=map"):
        mesh.bucket("b", kind="set")
    with pytest.raises(BucketKindError):
        mesh.bucket("b", ttl=3, deletes="final")
    bucket["a"] = {"still": "a map"}


def test_a_disagreement_before_the_start_comes_at_once_too() -> None:
    mesh = gossipsync.open()
    mesh.bucket("b", kind="map")
    with pytest.raises(BucketKindError):
        mesh.bucket("b", kind="set")
    assert mesh.bucket("c") is mesh.bucket("c", kind="set")
    with mesh:
        mesh.bucket("c").elements("a").add("x")


def test_arguments_left_out_are_as_in_the_settings() -> None:
    with gossipsync.open(buckets={"b": {"kind": "set", "ttl": "1h"}}) as mesh:
        mesh.bucket("b").elements("a").add("x")
        assert mesh.bucket("b").entry("a").expires is not None


def test_delete_writes_whether_the_key_is_here_or_not(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    receipt = bucket.delete("never here")
    assert (receipt.bucket, receipt.key) == ("b", "never here")
    with pytest.raises(KeyError):
        del bucket["never here"]
    bucket["never here"] = 1
    assert bucket["never here"] == 1


def test_a_final_delete_ends_the_key(mesh: Mesh) -> None:
    sessions = mesh.bucket("sessions", kind="map", ttl=1800, deletes="final")
    sessions["sid"] = {"user": 7}
    del sessions["sid"]
    for write in (
        lambda: sessions.__setitem__("sid", {"user": 8}),
        lambda: sessions.put("sid", {}),
        lambda: sessions.setdefault("sid", {}),
    ):
        with pytest.raises(EndedKeyError):
            write()
    with pytest.raises(KeyError):
        sessions.fields("sid")["user"] = 9
    assert "sid" not in sessions
    sessions["other"] = {"user": 7}


def test_provenance(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    receipt = bucket.put("a", [1], ttl=60)
    entry = bucket.entry("a")
    assert entry.value == [1]
    assert entry.origin == entry.sender == mesh.peer_id
    assert entry.hlc == receipt.hlc
    assert entry.expires is not None
    assert entry.expires.tzinfo is not None
    bucket.put("b", 1)
    assert bucket.entry("b").expires is None
    with pytest.raises(KeyError):
        bucket.entry("absent")
