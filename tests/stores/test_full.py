"""No room left: a named error, nothing lost, and all of it committed once there is room."""

import sqlite3
import subprocess

import pytest

from gossipsync.errors import StoreError, StoreFullError
from gossipsync.stores import _rows
from tests.stores.places import ORIGINS, open_sqlite, shown
from tests.stores.test_processes import output_of

A = ORIGINS[0]


def test_a_full_database_keeps_the_buffer(tmp_path):
    store = open_sqlite(tmp_path)
    store.append("b", A, 1, bytes(100))
    store.commit()
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    store.append("b", A, 2, bytes(20_000))
    store.put_head("h", b"1")
    for _ in range(2):
        with pytest.raises(StoreFullError, match="make room"):
            store.commit()
    store.append("b", A, 3, b"three")
    store.put_head("h", b"2")
    assert [row[2] for row in store.load_pieces()] == [1]
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.commit()
    assert [row[2] for row in store.load_pieces()] == [1, 2, 3]
    assert store.load_heads() == {"h": b"2"}
    store.close()


def test_what_is_appended_while_a_commit_fails_comes_after_it(tmp_path, monkeypatch):
    store = open_sqlite(tmp_path)
    store.append("b", A, 1, b"one")
    store.put_head("h", b"1")
    store.put_head("g", b"1")

    def fail(connection, pieces):
        store.append("b", A, 2, b"two")
        store.put_head("h", b"2")
        raise sqlite3.OperationalError("injected")

    with monkeypatch.context() as patch:
        patch.setattr(_rows, "insert_pieces", fail)
        with pytest.raises(StoreError, match="injected"):
            store.commit()
    assert shown(store) == ([], {})
    store.commit()
    assert shown(store) == ([("b", A, 1, b"one"), ("b", A, 2, b"two")], {"h": b"2", "g": b"1"})
    store.close()


def test_an_operator_who_holds_the_file_delays_and_does_not_lose(tmp_path, monkeypatch):
    monkeypatch.setattr("gossipsync.stores._journal_file._BUSY_TIMEOUT_S", 0)
    store = open_sqlite(tmp_path)
    operator = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    operator.execute("BEGIN IMMEDIATE")
    store.append("b", A, 1, b"one")
    with pytest.raises(StoreError, match="held by another program"):
        store.commit()
    operator.execute("COMMIT")
    operator.close()
    store.commit()
    assert [row[2] for row in store.load_pieces()] == [1]
    store.close()


def test_a_limit_on_file_sizes(tmp_path):
    *complaints, loaded = output_of("outgrow", tmp_path)
    assert len(complaints) == 2
    assert all("cannot be read or written" in line and "quota" in line for line in complaints)
    indexes = [int(index) for index in loaded.split()]
    assert indexes == list(range(1, len(indexes) + 1))
    assert len(indexes) > 2


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not on this platform: mounting a small file system needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(small_disk):
    *complaints, loaded = output_of("fill_disk", small_disk)
    assert [line.split(" ", 1)[0] for line in complaints] == ["StoreFullError"] * 2
    indexes = [int(index) for index in loaded.split()]
    assert indexes == list(range(1, len(indexes) + 1))
    assert len(indexes) > 2


def test_no_room_even_to_begin(small_disk):
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        assert file.write(bytes(2 << 20)) <= 1 << 20
    with pytest.raises(StoreFullError, match="make room"):
        open_sqlite(small_disk / "data")
    ballast.unlink()
    store = open_sqlite(small_disk / "data")
    store.append("b", A, 1, b"one")
    store.commit()
    store.close()
