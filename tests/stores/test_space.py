"""Deleted space goes back to the file system, in bounded steps."""

import random

import pytest

from gossipsync.stores import _space
from tests.stores.places import ORIGINS, bundle_bytes, open_sqlite

A, B = ORIGINS[:2]
_CONSTANT = 64 << 10
"""A few pages of structure, more or less."""


def size(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


def put(store, count, *, size=300):
    for number in range(1, count + 1):
        store.append("b", A, number, bundle_bytes(number, size))
        if number % 256 == 0:
            store.commit()
    store.commit()


@pytest.mark.parametrize("survivors", ["scattered", "newest"])
def test_a_file_shrinks_to_what_it_holds(tmp_path, survivors):
    many, kept = 20_000, 200
    indexes = range(1, many + 1)
    live = set(
        random.Random(3).sample(indexes, kept) if survivors == "scattered" else indexes[-kept:]
    )
    only = open_sqlite(tmp_path / "only")
    for index in sorted(live):
        only.put_piece("b", A, index, bundle_bytes(index, 300))
    only.put_line("b", A, many, None)
    only.commit()
    expected = list(only.load_pieces())
    only.close()

    store = open_sqlite(tmp_path / "churned")
    put(store, many)
    for index in indexes:
        if index not in live:
            store.put_piece("b", A, index, None)
        if index % 256 == 0:
            store.commit()
    store.commit()
    assert list(store.load_pieces()) == expected
    while_open = size(tmp_path / "churned")
    store.close()
    assert size(tmp_path / "churned") <= size(tmp_path / "only") * 1.1 + _CONSTANT
    # The shared memory, and the WAL of what was removed since the file was last written anew.
    assert while_open <= size(tmp_path / "only") * 1.1 + _CONSTANT + (1 << 20)
    store = open_sqlite(tmp_path / "churned")
    assert list(store.load_pieces()) == expected
    store.close()


def test_a_few_large_pieces_that_go_leave_nothing_though_no_commit_follows(tmp_path):
    store = open_sqlite(tmp_path)
    put(store, 100, size=60_000)
    for index in range(1, 100):
        store.put_piece("b", A, index, None)
    store.commit()
    assert size(tmp_path) <= 60_000 + _CONSTANT
    assert [index for _, _, index, _ in store.load_pieces()] == [100]
    store.close()


def test_a_large_file_shrinks_by_bounded_steps(tmp_path, monkeypatch):
    """Without ever being written anew: by what commits give back."""
    monkeypatch.setattr(_space, "_REWRITTEN_PAGES", 0)
    monkeypatch.setattr(_space, "_PAGES_A_COMMIT", 20)
    store = open_sqlite(tmp_path)
    put(store, 4000)
    store.append("b", B, 1, b"kept")
    store.commit()
    store.drop_log("b", A)
    store.commit()
    (free,) = store._connection.execute("PRAGMA freelist_count").fetchone()
    assert free > 200
    while free > _space._FREE_AT_LEAST:
        store.put_head("h", b"any commit")
        store.commit()
        (left,) = store._connection.execute("PRAGMA freelist_count").fetchone()
        assert left == max(0, free - 20)
        free = left
    assert list(store.load_pieces()) == [("b", B, 1, b"kept")]
    store.close()
    assert size(tmp_path) < (_space._FREE_AT_LEAST + 40) * 4096


def test_what_came_and_went_costs_no_row(tmp_path):
    store = open_sqlite(tmp_path)
    store.append("b", A, 1, bytes(100))
    store.commit()
    (before,) = store._connection.execute("SELECT total_changes()").fetchone()
    for index in range(2, 1000):
        store.append("b", A, index, bytes(100))
        store.put_piece("b", A, index, None)
    store.commit()
    (after,) = store._connection.execute("SELECT total_changes()").fetchone()
    assert after - before == 2  # the line and the state
    assert store.load_logs()["b", A].last == 999
    store.close()


def test_numbers_of_dropped_logs_are_given_again(tmp_path, monkeypatch):
    monkeypatch.setattr("gossipsync.stores._rows.MAX_LOG_ID", 3)
    store = open_sqlite(tmp_path)
    for number in range(1, 8):
        store.append(f"b{number}", A, 1, b"%d" % number)
        if number > 2:
            store.drop_log(f"b{number - 2}", A)
        store.commit()
    store.close()
    store = open_sqlite(tmp_path)
    assert sorted(row[0] for row in store.load_pieces()) == ["b6", "b7"]
    store.close()


@pytest.mark.parametrize("is_large", [False, True])
def test_a_commit_of_nothing_gives_back_what_the_others_left(tmp_path, monkeypatch, is_large):
    """By rewriting a small file, by moving the pages of a large one."""
    if is_large:
        monkeypatch.setattr(_space, "_REWRITTEN_PAGES", 0)
    store = open_sqlite(tmp_path)
    put(store, 500)
    store.append("b", B, 1, b"kept")
    for index in range(1, 201):
        store.put_piece("b", A, index, None)
    store.commit()
    (free,) = store._connection.execute("PRAGMA freelist_count").fetchone()
    assert free > 4
    held = list(store.load_pieces())
    store.commit()
    (left,) = store._connection.execute("PRAGMA freelist_count").fetchone()
    assert left == 0
    assert (tmp_path / "journal.db-wal").stat().st_size == 0
    assert list(store.load_pieces()) == held
    store.close()
