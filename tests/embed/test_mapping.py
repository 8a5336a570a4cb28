"""A bucket is a MutableMapping: whatever a dict does, it does, but give out its insides."""

from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta, timezone
from itertools import count

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gossipsync import Bucket, Mesh
from gossipsync.errors import (
    ConfigError,
    KeyTooLongError,
    LocalError,
    ValueTooLargeError,
    ValueTypeError,
)

KEYS = st.sampled_from(["a", "b", "ab", "ü", "z" * 512])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.integers(0, 9), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=3),
)
_numbers = count()


class MappingLaws(RuleBasedStateMachine):
    mesh: Mesh

    def __init__(self) -> None:
        super().__init__()
        self.bucket = self.mesh.bucket(f"laws-{next(_numbers)}")
        self.model: dict[str, object] = {}

    @rule(key=KEYS, value=VALUES)
    def set(self, key: str, value: object) -> None:
        self.bucket[key] = value
        self.model[key] = value

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert _outcome(lambda: self.bucket.__delitem__(key)) == _outcome(
            lambda: self.model.__delitem__(key)
        )

    @rule(key=KEYS, default=st.one_of(st.none(), st.just("d")))
    def pop(self, key: str, default: object) -> None:
        assert self.bucket.pop(key, default) == self.model.pop(key, default)

    @rule(key=KEYS)
    def pop_strictly(self, key: str) -> None:
        assert _outcome(lambda: self.bucket.pop(key)) == _outcome(lambda: self.model.pop(key))

    @rule(key=KEYS, value=VALUES)
    def setdefault(self, key: str, value: object) -> None:
        assert self.bucket.setdefault(key, value) == self.model.setdefault(key, value)

    @rule(pairs=st.dictionaries(KEYS, VALUES, max_size=4))
    def update(self, pairs: dict[str, object]) -> None:
        self.bucket.update(pairs)
        self.model.update(pairs)

    @rule()
    def clear(self) -> None:
        self.bucket.clear()
        self.model.clear()

    @invariant()
    def reads_agree(self) -> None:
        assert dict(self.bucket) == self.model
        assert self.bucket == self.model
        assert len(self.bucket) == len(self.model)
        assert bool(self.bucket) == bool(self.model)
        assert set(self.bucket.keys()) == self.model.keys()
        assert dict(self.bucket.items("a")) == {
            key: value for key, value in self.model.items() if key.startswith("a")
        }
        for key in ("a", "b", "zz"):
            assert (key in self.bucket) == (key in self.model)
            assert self.bucket.get(key, "?") == self.model.get(key, "?")


def _outcome(call: object) -> object:
    try:
        return call()  # type: ignore[operator]
    except KeyError as error:
        return repr(error)


def test_mapping_laws(shared: Mesh) -> None:
    MappingLaws.mesh = shared
    from hypothesis import settings
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(MappingLaws, settings=settings(max_examples=30, deadline=None))


def test_it_is_registered_as_one(mesh: Mesh) -> None:
    assert isinstance(mesh.bucket("b"), MutableMapping)


def test_popitem_takes_the_last(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    bucket.update(a=1, b=2)
    assert bucket.popitem() == ("b", 2)
    assert bucket.popitem() == ("a", 1)
    with pytest.raises(KeyError, match="empty"):
        bucket.popitem()


def test_iteration_is_a_snapshot(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    bucket.update(a=1, b=2)
    for key in bucket:
        del bucket[key]
    keys, values, items = bucket.keys(), bucket.values(), bucket.items()
    bucket["c"] = 3
    assert (list(keys), list(values), list(items)) == ([], [], [])
    assert list(bucket.keys("c")) == ["c"]


def test_reads_are_copies(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    mine: dict[str, object] = {"cart": [1]}
    bucket["a"] = mine
    mine["cart"] = []
    theirs = bucket["a"]
    assert theirs == {"cart": [1]}
    theirs["cart"].append(2)  # type: ignore[index]
    assert bucket["a"] == {"cart": [1]}


def test_values_come_back_as_plain_values(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    at = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=timezone(timedelta(hours=2)))
    bucket["a"] = {"t": (1, (2,)), "at": at, "f": 0.1, "i": -(2**63)}
    value = bucket["a"]
    assert value == {"t": [1, [2]], "at": at, "f": 0.1, "i": -(2**63)}


class Int(int):
    pass


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1: 2},
        {"a"},
        2**63,
        Int(1),
        -(2**63) - 1,
        datetime(2024, 1, 1),  # noqa: DTZ001 - naive on purpose
        datetime(2024, 1, 1, tzinfo=UTC).date(),
        [[object()]],
        "\ud800",
    ],
)
def test_values_that_cannot_be_carried(mesh: Mesh, value: object) -> None:
    bucket = mesh.bucket("b")
    bucket["a"] = 1
    for write in (
        lambda: bucket.__setitem__("a", value),
        lambda: bucket.put("a", value),
        lambda: bucket.setdefault("new", value),
        lambda: bucket.update({"x": 1, "y": value}),
    ):
        with pytest.raises(ValueTypeError) as caught:
            write()
        assert isinstance(caught.value, TypeError)
    assert dict(bucket) == {"a": 1}


def test_a_list_that_holds_itself(mesh: Mesh) -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ValueTypeError):
        mesh.bucket("b")["a"] = loop


@pytest.mark.parametrize("key", ["", "k" * 513, "ü" * 257])
def test_keys_that_are_too_long(mesh: Mesh, key: str) -> None:
    bucket = mesh.bucket("b")
    for write in (lambda: bucket.__setitem__(key, 1), lambda: bucket.delete(key)):
        with pytest.raises(KeyTooLongError):
            write()
    assert key not in bucket
    assert bucket.get(key) is None
    with pytest.raises(KeyError):
        bucket[key]
    assert len(bucket) == 0


@pytest.mark.parametrize("key", [7, None, b"k", ("a",)])
def test_keys_of_another_type(mesh: Mesh, key: object) -> None:
    bucket = mesh.bucket("b")
    assert key not in bucket
    assert bucket.get(key) is None  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        bucket[key]  # type: ignore[index]
    with pytest.raises(KeyError):
        del bucket[key]  # type: ignore[arg-type]
    with pytest.raises(ValueTypeError):
        bucket[key] = 1  # type: ignore[index]


def test_a_value_over_the_limit(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    with pytest.raises(ValueTooLargeError, match="bytes"):
        bucket["a"] = b"x" * (256 << 10)
    assert "a" not in bucket


def test_update_and_clear_of_more_than_one_bundle(mesh: Mesh) -> None:
    bucket = mesh.bucket("b")
    bucket.update({f"large-{number}": b"x" * 100_000 for number in range(20)})
    bucket.update((f"small-{number}", number) for number in range(3000))
    assert len(bucket) == 3020
    bucket.clear()
    assert len(bucket) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "list"}, "kind: 'list' is not one of"),
        ({"ttl": -1}, "ttl: a duration"),
        ({"ttl": True}, "ttl: a duration"),
        ({"deletes": "final"}, "needs a ttl"),
        ({"deletes": "soft"}, "deletes: 'soft' is not one of"),
    ],
)
def test_buckets_that_cannot_be(mesh: Mesh, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mesh.bucket("b", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", 7])
def test_bucket_names(mesh: Mesh, name: str) -> None:
    with pytest.raises(ConfigError, match="1–128 bytes"):
        mesh.bucket(name)


@pytest.mark.parametrize(
    "arguments",
    [{"ack": -1}, {"ack": "zone"}, {"ack": True}, {"ack": 1.0}, {"timeout": "1"}, {"ttl": 0}],
)
def test_bad_arguments_write_nothing(mesh: Mesh, arguments: dict[str, object]) -> None:
    bucket = mesh.bucket("b")
    with pytest.raises(LocalError) as caught:
        bucket.put("a", 1, **arguments)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)
    assert dict(bucket) == {}


def test_repr_shows_no_values(mesh: Mesh) -> None:
    bucket: Bucket = mesh.bucket("b")
    bucket["secret"] = "hush"
    assert repr(bucket) == "<Bucket 'b'>"
    assert repr(mesh) == "<Mesh 'lone'>"
