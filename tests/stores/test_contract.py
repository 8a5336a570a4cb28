"""What `ports.Store` promises, asked of every store alike."""

import threading

import pytest

from gossipsync.core.model.bundle import MAX_PLACE
from gossipsync.core.ports import StoredLog
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
        log = [row[2] for row in place.store.load_pieces() if row[:2] == (bucket, origin)]
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
    assert [row[2] for row in place.store.load_pieces()] == [1, 2, 3, 4]


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
        store.load_logs,
        store.load_pieces,
        store.load_heads,
        lambda: store.append("b", A, 2, b""),
        lambda: store.put_piece("b", A, 2, b""),
        lambda: store.put_line("b", A, 2, None),
        lambda: store.drop_log("b", A),
        lambda: store.put_head("h", b""),
    ):
        with pytest.raises(StoreError, match="closed"):
            use()


@pytest.mark.parametrize("change", ["append", "replace", "remove", "drop"])
def test_a_load_is_of_one_moment(place, change):
    fill(place.store, 400)
    before = list(place.store.load_pieces())
    load = place.store.load_pieces()
    seen = [next(load)]
    bucket, origin, last = before[-1][:3]
    {
        "append": lambda: place.store.append(bucket, origin, last + 1, b""),
        "replace": lambda: place.store.put_piece(bucket, origin, last, b"new"),
        "remove": lambda: place.store.put_piece(bucket, origin, last, None),
        "drop": lambda: place.store.drop_log(bucket, origin),
    }[change]()
    place.store.commit()
    refused = ""
    try:
        seen += load
    except StoreError as error:
        refused = str(error)
    assert seen == before[: len(seen)]
    assert len(seen) == len(before) or "load it again" in refused


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


# ---------------------------------------------------------------- trimming


def test_a_bundle_gives_way_to_what_is_left_of_it(place):
    store = place.store
    for index in (1, 2, 3):
        store.append("b", A, index, b"whole")
    store.commit()
    store.put_piece("b", A, 1, None)
    store.put_piece("b", A, 2, b"part")
    store.commit()
    assert shown(store)[0] == [("b", A, 2, b"part"), ("b", A, 3, b"whole")]
    assert store.load_logs() == {("b", A): StoredLog(3, None)}
    store.append("b", A, 4, b"next")
    store.commit()
    assert [row[2] for row in store.load_pieces()] == [2, 3, 4]


def test_a_piece_may_come_before_its_log_and_beyond_its_line(place):
    store = place.store
    store.put_piece("b", A, 7, b"seven")
    store.put_piece("b", A, 3, b"three")
    store.commit()
    assert store.load_logs() == {("b", A): StoredLog(0, None)}
    assert [row[2] for row in store.load_pieces()] == [3, 7]
    for index in (1, 2, 3, 4):
        store.append("b", A, index, b"%d" % index)
    store.commit()
    expected = [(1, b"1"), (2, b"2"), (3, b"3"), (4, b"4"), (7, b"seven")]
    assert [row[2:] for row in store.load_pieces()] == expected
    assert store.load_logs() == {("b", A): StoredLog(4, None)}


def test_a_line_moves_forward_only(place):
    store = place.store
    store.put_line("b", A, 5, b"note")
    store.put_line("b", B, 0, None)
    store.commit()
    assert store.load_logs() == {("b", A): StoredLog(5, b"note"), ("b", B): StoredLog(0, None)}
    with pytest.raises(InternalError, match="to 4, where it was at 5"):
        store.put_line("b", A, 4, None)
    with pytest.raises(InternalError, match="waits for bundle 6"):
        store.append("b", A, 5, b"")
    store.append("b", A, 6, b"six")
    store.commit()
    assert store.load_logs()["b", A] == StoredLog(6, b"note")
    store.put_line("b", A, 6, None)
    store.commit()
    assert store.load_logs()["b", A] == StoredLog(6, None)
    assert [row[2:] for row in store.load_pieces()] == [(6, b"six")]


def test_a_dropped_log_is_forgotten(place):
    fill(place.store, 30)
    store = place.store
    bucket, origin = LOGS[0]
    before = shown(store)[0]
    store.drop_log(bucket, origin)
    store.drop_log("never there", origin)
    store.commit()
    assert shown(store)[0] == [row for row in before if row[:2] != (bucket, origin)]
    assert (bucket, origin) not in store.load_logs()
    store.append(bucket, origin, 1, b"anew")
    store.commit()
    assert [row[2:] for row in store.load_pieces() if row[:2] == (bucket, origin)] == [(1, b"anew")]


def test_a_batch_is_its_net_effect(place):
    store = place.store
    store.append("b", A, 1, b"one")
    store.commit()
    store.append("b", A, 2, b"two")
    store.put_piece("b", A, 2, None)
    store.put_piece("b", A, 1, b"part")
    store.append("b", A, 3, b"three")
    store.put_piece("b", B, 9, b"x")
    store.put_piece("b", B, 9, None)
    store.drop_log("b", A)
    store.put_piece("b", A, 1, b"again")
    store.put_line("b", A, 2, b"n")
    store.append("b", A, 3, b"drei")
    store.put_piece("c", A, 1, None)
    store.commit()
    assert shown(store)[0] == [("b", A, 1, b"again"), ("b", A, 3, b"drei")]
    assert store.load_logs() == {("b", A): StoredLog(3, b"n"), ("b", B): StoredLog(0, None)}


def test_restarts_with_what_is_left(place):
    store = place.store
    for index in range(1, 50):
        store.append("b", A, index, b"%d" % index)
    store.put_line("gone", A, 12, b"head")
    store.put_piece("b", A, 77, b"beyond")
    store.commit()
    for index in range(1, 40):
        store.put_piece("b", A, index, None)
    store.commit()
    before = (store.load_logs(), shown(store))
    store = place.reopen()
    if not place.survives:
        assert store.load_logs() == {}
        return
    assert (store.load_logs(), shown(store)) == before
    for index in range(50, 78):
        store.append("b", A, index, b"whole")
    store.put_piece("b", A, 45, None)
    store.commit()
    after = (store.load_logs(), shown(store))
    assert [row[2] for row in after[1][0]] == [*range(40, 45), *range(46, 78)]
    store = place.reopen()
    assert (store.load_logs(), shown(store)) == after


@pytest.mark.parametrize("index", [-1, 0, MAX_PLACE])
def test_refuses_an_index_that_no_bundle_has(place, index):
    with pytest.raises(InternalError, match=f"piece {index} "):
        place.store.put_piece("b", A, index, b"")
    place.store.put_piece("b", A, MAX_PLACE - 1, b"last")
    place.store.put_line("b", A, MAX_PLACE - 1, None)
    with pytest.raises(InternalError, match="was put to"):
        place.store.put_line("b", A, MAX_PLACE, None)
    with pytest.raises(InternalError, match="was appended"):
        place.store.append("b", A, MAX_PLACE, b"")
    place.store.commit()
    assert [row[2:] for row in place.store.load_pieces()] == [(MAX_PLACE - 1, b"last")]


def test_refuses_a_note_that_is_no_small_one(place):
    place.store.put_line("b", A, 1, bytes(128))
    with pytest.raises(InternalError, match="129 bytes"):
        place.store.put_line("b", A, 2, bytes(129))
    place.store.commit()
    assert place.store.load_logs() == {("b", A): StoredLog(1, bytes(128))}
