"""Files that are damaged, or not ours: a named error, and not a byte of them changed."""

import hashlib
import os
import random
import sqlite3
from pathlib import Path

import pytest

from gossipsync.core.model.ids import NetworkId, PeerId
from gossipsync.errors import StoreCorruptError, StoreError
from gossipsync.stores import SqliteStore
from tests.stores.places import LOGS, NETWORK, PEER, bundle_bytes, fill, open_sqlite, shown


@pytest.fixture
def folder(tmp_path) -> Path:
    """A data folder with a cleanly closed journal."""
    store = open_sqlite(tmp_path / "data")
    fill(store, 60)
    store.close()
    return tmp_path / "data"


def contents(folder: Path) -> dict[str, bytes]:
    """Of every file but the lock and the note of the newest commit."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b""
        for path in folder.iterdir()
        if path.name not in {"lock", "committed"}
    }


def edit(statement):
    def change(path):
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    return change


def overwrite(offset, new):
    def change(path):
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(new)

    return change


def remade_by_another_program(path):
    path.unlink()
    edit("CREATE TABLE t (x)")(path)


def replaced_by_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


STRANGERS = {
    "no SQLite file": lambda path: path.write_bytes(b"my shopping list\n" * 100),
    "too short": lambda path: path.write_bytes(b"SQLite format 3\0"),
    "another program": remade_by_another_program,
    "another program ": edit("PRAGMA application_id = 7"),
    "header makes no sense": edit("PRAGMA user_version = 0"),
    "no regular file": replaced_by_a_pipe,
    "tables": edit("DROP TABLE heads"),
    "tables ": edit("DROP TABLE binding"),
    "tables  ": edit("CREATE TRIGGER t AFTER INSERT ON heads BEGIN DELETE FROM heads; END"),
    "whose it is": edit("DELETE FROM binding"),
    "whose it is ": edit("UPDATE binding SET peer = zeroblob(32)"),
    "malformed": lambda path: os.truncate(path, path.stat().st_size - 4096),
    "malformed ": lambda path: os.truncate(path, 4096),
    "malformed  ": lambda path: os.truncate(path, 1000),
    # A free list that names a page in use: the next commit would overwrite it.
    "freelist": overwrite(32, bytes([0, 0, 0, 3, 0, 0, 0, 1])),
    "piece 3 of log 2": edit("UPDATE pieces SET piece = zeroblob(300) WHERE id = (2 << 40) + 3"),
    "has 7": edit("DELETE FROM pieces WHERE id = (2 << 40) + 3"),
    "piece 3 of log 9": edit("UPDATE pieces SET id = (9 << 40) + 3 WHERE id = (2 << 40) + 3"),
    "piece 9 of log 2": edit("UPDATE pieces SET id = (2 << 40) + 9 WHERE id = (2 << 40) + 3"),
    "piece 7 of log 4": edit("UPDATE pieces SET piece = NULL WHERE id = (4 << 40) + 7"),
    "piece 7 of log 4 ": edit(
        "UPDATE pieces SET piece = CAST(piece AS TEXT) WHERE id = (4 << 40) + 7"
    ),
    "log's row": edit("UPDATE logs SET last = last - 1 WHERE id = 3"),
    "log's row ": edit("UPDATE logs SET origin = zeroblob(39) WHERE id = 3"),
    "log's row  ": edit("UPDATE logs SET note = x'' WHERE id = 3"),
    "log's row   ": edit("UPDATE logs SET pieces = 0 WHERE id = 0"),
    "7 logs instead of 8": edit("DELETE FROM logs WHERE id = 3"),
    "8 logs instead of None": edit("DELETE FROM logs WHERE id = 0"),
    "head does not verify": edit("UPDATE heads SET value = value || '!' WHERE name = 'head 1'"),
}


@pytest.mark.parametrize("what", STRANGERS)
def test_a_stranger_is_named_and_left_alone(folder, what):
    journal = folder / "journal.db"
    STRANGERS[what](journal)
    before = contents(folder)
    with pytest.raises(StoreCorruptError, match=what.strip()) as caught:
        load_all(folder)
    assert str(journal) in str(caught.value)
    assert "Copy journal.db and journal.db-wal to a safe place first" in str(caught.value)
    assert "delete" not in str(caught.value)
    assert contents(folder) == before


def load_all(folder: Path) -> None:
    store = open_sqlite(folder)
    try:
        shown(store)
    finally:
        store.close()


@pytest.mark.parametrize(
    ("change", "network", "peer", "words"),
    [
        (edit("PRAGMA user_version = 4"), NETWORK, PEER, ["format 4", "written by a newer"]),
        (edit("PRAGMA user_version = 1"), NETWORK, PEER, ["format 1", "away and start again"]),
        (None, NetworkId(b"x" * 32), PEER, ["network 6e6e", "this is network 7878", "use the"]),
        (None, NETWORK, PeerId(b"x" * 32), ["belongs to peer obyh", "another data_dir"]),
    ],
)
def test_the_file_of_somebody_else_is_no_damage(folder, change, network, peer, words):
    if change:
        change(folder / "journal.db")
    before = contents(folder)
    with pytest.raises(StoreError) as caught:
        SqliteStore(folder, network=network, peer=peer)
    assert type(caught.value) is StoreError
    for word in [*words, str(folder / "journal.db")]:
        assert word in str(caught.value)
    assert contents(folder) == before


def test_a_wal_without_its_journal_is_not_replayed_into_a_new_one(folder):
    (folder / "journal.db").unlink()
    (folder / "journal.db-wal").write_bytes(b"old")
    with pytest.raises(
        StoreCorruptError, match=r"journal\.db-wal, which has its newest commits, is still"
    ):
        open_sqlite(folder)
    assert set(contents(folder)) == {"journal.db-wal"}


def test_what_a_killed_creation_left_is_no_obstacle(tmp_path):
    for name in ("journal.db.new", "journal.db.new-wal", "journal.db.new-journal"):
        (tmp_path / name).write_bytes(b"half")
    store = open_sqlite(tmp_path)
    fill(store, 10)
    store.close()
    assert set(contents(tmp_path)) == {"journal.db"}


def test_nothing_is_written_to_a_file_that_failed_a_check(folder):
    edit("UPDATE pieces SET piece = zeroblob(300) WHERE id = (1 << 40) + 7")(folder / "journal.db")
    before = contents(folder)
    store = open_sqlite(folder)
    with pytest.raises(StoreCorruptError):
        list(store.load_pieces())
    store.put_head("h", b"1")
    for _ in range(2):
        with pytest.raises(StoreCorruptError, match="piece 7 of log 1 "):
            store.commit()
    store.close()
    assert contents(folder) == before


def remains_of_a_crash(folder: Path, commits: int) -> Path:
    """The files as SIGKILL leaves them: 60 bundles in the journal, then one in each of `commits` in the WAL."""
    store = open_sqlite(folder)
    bucket, origin = LOGS[7]
    for number in range(commits):
        store.append(bucket, origin, 8 + number, bundle_bytes(number, 2000))
        store.commit()
    remains = folder.with_name("remains")
    remains.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        (remains / name).write_bytes((folder / name).read_bytes())
    store.close()
    return remains


def test_damage_after_a_crash_leaves_journal_and_wal_as_they_are(folder):
    remains = remains_of_a_crash(folder, 3)
    journal = remains / "journal.db"
    overwrite(journal.read_bytes().index(b"9-12 9-13"), b"8")(journal)
    before = contents(remains)
    with pytest.raises(StoreCorruptError, match="piece 2 of log 2 "):
        load_all(remains)
    after = contents(remains)
    after.pop("journal.db-shm", None)
    assert after == before


def test_a_flip_in_the_wal_costs_the_tail_at_most(folder):
    """SQLite takes it for a commit that a power cut interrupted: what is left is a true prefix."""
    remains = remains_of_a_crash(folder, 10)
    store = open_sqlite(folder)
    expected = list(store.load_pieces())
    store.close()
    sound = {path.name: path.read_bytes() for path in remains.iterdir()}
    wal = sound["journal.db-wal"]
    lengths = set()
    for place in range(0, len(wal), len(wal) // 60):
        (remains / "journal.db-shm").unlink(missing_ok=True)
        for name, data in sound.items():
            (remains / name).write_bytes(data)
        overwrite(place, bytes([wal[place] ^ 4]))(remains / "journal.db-wal")
        store = open_sqlite(remains)
        found = list(store.load_pieces())
        store.close()
        assert found == expected[: len(found)]
        lengths.add(len(found))
    assert min(lengths) >= 60
    assert len(lengths) > 5


def test_a_flipped_byte_is_seen_or_does_not_matter(folder):
    """In every region of every page: damage is reported, or the data are what they were, also after one more commit."""
    journal = folder / "journal.db"
    sound = journal.read_bytes()
    store = open_sqlite(folder)
    expected = shown(store)
    store.close()
    choose = random.Random(5)
    pages = len(sound) // 4096
    places = [page * 4096 + choose.randrange(4096) for page in range(pages) for _ in range(60)]
    places += [page * 4096 + offset for page in range(pages) for offset in range(16)]
    places += range(100)
    outcomes = {"seen": 0, "harmless": 0}
    for place in places:
        damaged = bytearray(sound)
        damaged[place] ^= 1 << choose.randrange(8)
        journal.write_bytes(damaged)
        outcomes[try_to_use(folder, expected, place)] += 1
    assert outcomes["seen"] > outcomes["harmless"] > 0


def try_to_use(folder, expected, place):
    try:
        store = open_sqlite(folder)
    except StoreCorruptError:
        return "seen"
    except StoreError:
        if 60 <= place < 64:  # the format number: it looks like a newer format
            return "seen"
        raise
    try:
        assert shown(store) == expected, place
        bucket, origin = LOGS[7]
        store.append(bucket, origin, 8, bundle_bytes(999, 5000))
        store.commit()
        assert shown(store) == (
            [*expected[0], (bucket, origin, 8, bundle_bytes(999, 5000))],
            expected[1],
        )
    except StoreCorruptError:
        return "seen"
    finally:
        store.close()
    return "harmless"
