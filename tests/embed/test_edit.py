"""Edits save only the changes that were made to a copy: no save undoes what was written while the copy was out."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gossipsync
from gossipsync import Mesh
from gossipsync.errors import BucketKindError, EndedKeyError, LocalError, ValueTypeError


def test_a_block_that_only_read_writes_nothing(mesh: Mesh) -> None:
    bucket = mesh.bucket("s", kind="map", ttl=60, deletes="final")
    bucket["a"] = {"user": 7}
    before = bucket.entry("a").hlc
    with bucket.edit("a") as slow:
        assert slow == {"user": 7}
    assert bucket.entry("a").hlc == before
    assert bucket.merge("a", {"user": 7}, {"user": 7}) is None


def test_only_changed_and_removed_fields_are_written(mesh: Mesh) -> None:
    bucket = mesh.bucket("s", kind="map", ttl=60, deletes="final")
    bucket["a"] = {"user": 7, "flash": "hi", "cart": ["pen"], "theme": "light"}
    with bucket.edit("a") as slow:
        bucket.fields("a")["cart"] = ["pen", "book"]
        bucket.fields("a")["theme"] = "dark"
        bucket.fields("a")["seen"] = 1
        del bucket.fields("a")["flash"]
        del slow["flash"]
        slow["theme"] = "blue"
        slow["lang"] = "en"
    assert bucket["a"] == {
        "user": 7, "cart": ["pen", "book"], "theme": "blue", "seen": 1, "lang": "en",
    }  # fmt: skip


def test_nested_changes_are_seen_and_types_count(mesh: Mesh) -> None:
    bucket = mesh.bucket("s", kind="map")
    bucket["a"] = {"cart": {"items": []}, "flag": 1}
    with bucket.edit("a") as copy:
        cart = copy["cart"]
        assert isinstance(cart, dict)
        cart["items"].append("book")
        copy["flag"] = True  # equal to 1 in Python, another value in a bucket
    assert bucket["a"] == {"cart": {"items": ["book"]}, "flag": True}
    flag = bucket.fields("a")["flag"]
    assert flag is True


def test_a_map_whose_last_field_is_removed_is_still_there(mesh: Mesh) -> None:
    bucket = mesh.bucket("s", kind="map")
    bucket["a"] = {"only": 1}
    with bucket.edit("a") as copy:
        copy.clear()
    assert bucket["a"] == {}


@pytest.mark.parametrize("deletes", ["tombstone", "final"])
def test_a_key_that_ended_meanwhile_is_not_brought_back(mesh: Mesh, deletes: str) -> None:
    bucket = mesh.bucket("s", kind="map", ttl=60, deletes=deletes)
    bucket["a"] = {"user": 7}

    def save() -> None:
        with bucket.edit("a") as copy:
            copy["cart"] = 1
            bucket.delete("a")

    with pytest.raises(EndedKeyError, match="'a'"):
        save()
    assert "a" not in bucket


def test_an_unchanged_copy_of_a_key_that_ended_is_no_error(mesh: Mesh) -> None:
    bucket = mesh.bucket("s", kind="map", ttl=60, deletes="final")
    bucket["a"] = {"user": 7}
    with bucket.edit("a"):
        bucket.delete("a")
    assert "a" not in bucket


def test_an_exception_in_the_block_saves_nothing(mesh: Mesh) -> None:
    bucket = mesh.bucket("s", kind="map")
    bucket["a"] = {"n": 1}

    def fail() -> None:
        with bucket.edit("a") as copy:
            copy["n"] = 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert bucket["a"] == {"n": 1}


def test_absent_and_wrong_shapes_are_refused(mesh: Mesh) -> None:
    maps, values, counts = (
        mesh.bucket("m", kind="map"),
        mesh.bucket("v"),
        mesh.bucket("c", kind="counter"),
    )
    with pytest.raises(KeyError):
        maps.edit("absent")
    values["text"] = "x"
    with pytest.raises(ValueTypeError, match="edit\\(\\) is for dicts"), values.edit("text"):
        pass
    with pytest.raises(BucketKindError, match=r"counter\(key\)\.add"):
        counts.merge("k", 1, 2)
    with pytest.raises(ValueTypeError):
        maps.merge("k", None, ["no map"])
    with pytest.raises(EndedKeyError):
        maps.merge("k", {"a": 1}, {"a": 2})
    assert dict(maps) == {}


def test_before_none_writes_without_removing(mesh: Mesh) -> None:
    bucket = mesh.bucket("m", kind="map")
    receipt = bucket.merge("k", None, {"a": 1}, ack="self")
    assert receipt is not None
    assert receipt.key == "k"
    bucket.merge("k", None, {"b": 2})
    assert bucket["k"] == {"a": 1, "b": 2}


def test_sets_and_dicts_in_value_buckets(mesh: Mesh) -> None:
    sets, values = mesh.bucket("t", kind="set"), mesh.bucket("v")
    sets.elements("k").add("old")
    sets.elements("k").add("both")
    sets.elements("k").add("late")
    sets.merge("k", {"old", "both"}, {"both", "new"})
    assert sets["k"] == {"both", "late", "new"}
    values["k"] = {"a": 1, "b": 2}
    with values.edit("k") as copy:
        values["k"] = {"a": 1, "b": 2, "c": 3}
        del copy["b"]
    assert values["k"] == {"a": 1, "c": 3}
    values["n"] = 1
    values.merge("n", 1, 2)
    assert values["n"] == 2


def test_a_copy_may_be_out_across_an_await() -> None:
    async def main() -> dict[str, object]:
        async with gossipsync.open_async() as mesh:
            bucket = mesh.bucket("s", kind="map")
            bucket["a"] = {"user": 7}
            with bucket.edit("a") as slow:
                await asyncio.sleep(0)
                with bucket.edit("a") as fast:
                    fast["cart"] = 1
                slow["lang"] = "en"
            receipt = bucket.merge("a", {"user": 7}, {"user": 8})
            assert receipt is not None
            await receipt.wait("self", timeout=5)
            value = bucket["a"]
            assert isinstance(value, dict)
            return value

    assert asyncio.run(main()) == {"user": 8, "cart": 1, "lang": "en"}


def test_a_batch_saves_changes_too(mesh: Mesh) -> None:
    bucket = mesh.bucket("s", kind="map")
    bucket["a"] = {"n": 1}
    with bucket.batch() as batch:
        batch.merge("a", {"n": 1}, {"n": 1, "m": 2})
        bucket.fields("a")["late"] = 3  # the batch is drafted anew on this
        assert batch["a"] == {"n": 1, "m": 2, "late": 3}
    assert bucket["a"] == {"n": 1, "m": 2, "late": 3}

    def late() -> None:
        with bucket.batch() as batch:
            batch.merge("a", {"n": 1}, {"n": 2})
            bucket.delete("a")

    with pytest.raises(LocalError, match="was deleted"):
        late()
    assert "a" not in bucket


_Record = st.dictionaries(st.sampled_from("abcde"), st.one_of(st.integers(0, 2), st.booleans()))


@given(_Record, _Record, _Record)
def test_a_save_and_another_write_both_hold(
    before: dict[str, object], other: dict[str, object], after: dict[str, object]
) -> None:
    """Each field is as the save left it if the save changed it, else as the other request did."""
    with gossipsync.open() as mesh:
        bucket = mesh.bucket("s", kind="map")
        bucket["k"] = before
        bucket["k"] = other
        bucket.merge("k", before, after)
        same = {f for f in before if f in after and before[f] is after[f]}
        untouched = same | {f for f in "abcde" if f not in before and f not in after}
        expected = {f: v for f, v in other.items() if f in untouched}
        expected |= {f: v for f, v in after.items() if f not in untouched}
        assert bucket["k"] == expected
