"""What `ports.Store` promises, asked of every store alike."""

import threading

import pytest

from gossipsync.errors import InternalError, StoreError
from tests.stores.places import LOGS, ORIGINS, fill, shown

A, B = ORIGINS[:2]


def test_is_empty_at_first(place):
    assert shown(place.store) == ([], {})


def test_shows_what_was_committed_and_nothing_else(place):
    store = place.store
    store.append("b", A, 1, b"one")
    store.put_head("h", b"1")
    assert shown(store) == ([], {})
    store.commit()
    store.append("b", A, 2, b"two")
    store.put_head("h", b"2")
    assert shown(store) == ([("b", A, 1, b"one")], {"h": b"1"})
    store.commit()
    assert shown(store) == ([("b", A, 1, b"one"), ("b", A, 2, b"two")], {"h": b"2"})


def test_commits_nothing_gladly(place):
    place.store.commit()
    fill(place.store, 3)
    place.store.commit()
    assert len(shown(place.store)[0]) == 3


def test_keeps_any_bytes(place):
    bundles = [b"", b"\0", bytes(range(256)) * 4000]
    for index, bundle in enumerate(bundles, start=1):
        place.store.append("b", A, index, bundle)
    place.store.put_head("", b"")
    place.store.put_head("ü", bytes(64 << 10))
    place.store.commit()
    loaded, heads = shown(place.store)
    assert [bundle for *_, bundle in loaded] == bundles
    assert heads == {"": b"", "ü": bytes(64 << 10)}


def test_keeps_logs_apart(place):
    fill(place.store, 100)
    for bucket, origin in LOGS:
        log = [row[2] for row in place.store.load_bundles() if row[:2] == (bucket, origin)]
        assert log == list(range(1, len(log) + 1))
        assert log


def test_removes_a_head(place):
    place.store.put_head("h", b"1")
    place.store.put_head("kept", b"2")
    place.store.commit()
    place.store.put_head("h", None)
    place.store.put_head("never there", None)
    place.store.commit()
    assert place.store.load_heads() == {"kept": b"2"}


def test_last_word_on_a_head_counts(place):
    for value in (b"1", None, b"2"):
        place.store.put_head("h", value)
    place.store.put_head("g", b"1")
    place.store.put_head("g", None)
    place.store.commit()
    assert place.store.load_heads() == {"h": b"2"}


@pytest.mark.parametrize("index", [-1, 0, 2, 3, 5])
def test_refuses_a_gap_and_a_repetition(place, index):
    for known in (1, 2, 3):
        place.store.append("b", A, known, b"")
    place.store.commit()
    with pytest.raises(InternalError, match="waits for bundle 4"):
        place.store.append("b", A, index, b"x")
    place.store.append("b", A, 4, b"four")
    place.store.commit()
    assert [row[2] for row in place.store.load_bundles()] == [1, 2, 3, 4]


def test_refuses_a_head_that_is_no_small_one(place):
    with pytest.raises(InternalError, match="65537 bytes"):
        place.store.put_head("h", bytes((64 << 10) + 1))


def test_close_does_not_commit(place):
    place.store.append("b", A, 1, b"one")
    place.store.put_head("h", b"1")
    assert shown(place.reopen()) == ([], {})
    place.store.append("b", A, 1, b"again")


def test_reopens_where_it_stopped(place):
    fill(place.store, 50)
    before = shown(place.store)
    after = shown(place.reopen())
    assert after == (before if place.survives else ([], {}))
    if place.survives:
        bucket, origin = LOGS[0]
        with pytest.raises(InternalError):
            place.store.append(bucket, origin, 1, b"")
        place.store.append(bucket, origin, 8, b"next")
        place.store.append(bucket, b"q" * 40, 1, b"first of a new log")
        place.store.commit()
        assert len(shown(place.reopen())[0]) == 52


def test_closing_is_final_and_idempotent(place):
    store = place.store
    store.append("b", A, 1, b"")
    store.close()
    store.close()
    for use in (
        store.commit,
        store.load_heads,
        store.load_bundles,
        lambda: store.append("b", A, 2, b""),
        lambda: store.put_head("h", b""),
    ):
        with pytest.raises(StoreError, match="closed"):
            use()


def test_a_load_is_of_one_moment(place):
    fill(place.store, 100)
    before = list(place.store.load_bundles())
    load = place.store.load_bundles()
    seen = [next(load)]
    place.store.append("later", A, 1, b"")
    place.store.commit()
    assert seen + list(load) == before


def test_appends_while_commits_run(place):
    """Two writers and a committer, as fast as they can: nothing lost, doubled or reordered."""
    count = 3000
    start = threading.Barrier(3)

    def write(origin):
        start.wait()
        for index in range(1, count + 1):
            place.store.append("b", origin, index, b"%d" % index)
            place.store.put_head(origin.hex(), b"%d" % index)

    writers = [threading.Thread(target=write, args=[origin]) for origin in (A, B)]
    for writer in writers:
        writer.start()
    start.wait()
    while any(writer.is_alive() for writer in writers):
        place.store.commit()
    place.store.commit()
    bundles, heads = shown(place.store)
    for origin in (A, B):
        log = [row[2:] for row in bundles if row[1] == origin]
        assert log == [(index, b"%d" % index) for index in range(1, count + 1)]
        assert heads[origin.hex()] == b"%d" % count
