"""A process that ends inside a checkpoint, at creation or at a reset of the WAL: every acknowledged row is there at the next start.

The writes of a checkpoint are replayed onto copies, up to each of them and in several orders, because the system may have carried
out any of them before the power went. What was written is known from the WAL, whose format SQLite documents.
"""

import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from gossipsync.core.model.ids import Origin, PeerId
from gossipsync.errors import StoreBehindError, StoreCorruptError, StoreError
from gossipsync.stores import SqliteStore
from gossipsync.stores._rows import LogRow, write_logs
from tests.stores import child
from tests.stores.places import LOGS, NETWORK, ORIGINS, bundle_bytes, fill, open_sqlite, shown

PAGE = 4096
_WAL_HEADER, _FRAME_HEADER = 32, 24


def committed_pages(wal: bytes) -> tuple[dict[int, bytes], int]:
    """What a checkpoint of this WAL writes: pages by number, in the order of the WAL, and the pages of the database."""
    salt, pages, waiting, size = wal[16:24], {}, {}, 0
    for start in range(_WAL_HEADER, len(wal) - PAGE, _FRAME_HEADER + PAGE):
        number, commit = struct.unpack(">II", wal[start : start + 8])
        if wal[start + 8 : start + 16] != salt:
            break
        waiting.pop(number, None)
        waiting[number] = wal[start + _FRAME_HEADER : start + _FRAME_HEADER + PAGE]
        if commit:
            for page in waiting:
                pages.pop(page, None)
            pages.update(waiting)
            waiting, size = {}, commit
    return pages, size


def killed(folder: Path, *, is_rewritten: bool) -> tuple[Path, object]:
    """The files of a peer that was killed with all of its commits in the WAL, and what it had acknowledged."""
    store = open_sqlite(folder / "running")
    fill(store, 40)
    store.close()
    store = open_sqlite(folder / "running")
    bucket, origin = LOGS[7]
    for number in range(12):
        store.append(bucket, origin, 6 + number, bundle_bytes(number, 9000))
        store.put_piece(*LOGS[number % 4], 1 + number % 3, b"left %d" % number)
        store.commit()
    if is_rewritten:
        # All of it once more, with every page moved.
        store._connection.execute("PRAGMA wal_autocheckpoint = 0")
        store._connection.execute("DELETE FROM heads WHERE name = 'none'")
        store._connection.execute("VACUUM")
    expected = shown(store), store.load_logs()
    remains = folder / "remains"
    remains.mkdir()
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        shutil.copy2(folder / "running" / name, remains / name)
    store.close()
    return remains, expected


def opened(remains: Path, scratch: Path, change, *, has_shm=False):
    """What a store shows of a copy of the remains after one change."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(remains, scratch)
    if not has_shm:
        (scratch / "journal.db-shm").unlink()
    change(scratch)
    store = open_sqlite(scratch)
    try:
        found = shown(store), store.load_logs()
        store.put_head("goes on", b"1")
        store.commit()
        return found
    finally:
        store.close()


def write_pages(pages, *, size=None, half=False):
    def change(folder):
        with (folder / "journal.db").open("r+b") as file:
            for number, page in pages:
                file.seek((number - 1) * PAGE)
                file.write(page)
            if half and pages:
                number, page = pages[-1]
                file.seek((number - 1) * PAGE)
                file.write(page[:512])
            if size is not None:
                file.truncate(size)

    return change


@pytest.mark.parametrize("is_rewritten", [False, True])
@pytest.mark.parametrize("order", ["page", "wal", "reverse", "random"])
def test_a_kill_at_each_write_of_a_checkpoint_loses_nothing(tmp_path, order, is_rewritten):
    remains, expected = killed(tmp_path, is_rewritten=is_rewritten)
    pages, size = committed_pages((remains / "journal.db-wal").read_bytes())
    assert len(pages) > 20
    writes = sorted(pages.items()) if order != "wal" else list(pages.items())
    if order == "reverse":
        writes.reverse()
    elif order == "random":
        random.Random(3).shuffle(writes)
    for count in range(len(writes) + 1):
        change = write_pages(writes[:count])
        assert opened(remains, tmp_path / "scratch", change, has_shm=count % 2 == 1) == expected
    # The file gets its length at the end.
    assert opened(remains, tmp_path / "scratch", write_pages(writes, size=size * PAGE)) == expected


def test_a_page_that_is_written_by_half_loses_nothing(tmp_path):
    remains, expected = killed(tmp_path, is_rewritten=False)
    pages, _ = committed_pages((remains / "journal.db-wal").read_bytes())
    old = (remains / "journal.db").read_bytes()
    for number, page in sorted(pages.items()):
        start = (number - 1) * PAGE
        torn = page[:512] + old[start + 512 : start + PAGE].ljust(PAGE - 512, b"\0")
        assert opened(remains, tmp_path / "scratch", write_pages([(number, torn)])) == expected


def test_a_file_that_was_cut_or_lengthened_by_a_checkpoint_loses_nothing(tmp_path):
    remains, expected = killed(tmp_path, is_rewritten=False)
    pages, size = committed_pages((remains / "journal.db-wal").read_bytes())
    for length in (size + 5, size, max(pages) - 3):
        change = write_pages(sorted(pages.items())[:1], size=length * PAGE)
        assert opened(remains, tmp_path / "scratch", change) == expected


def test_a_wal_that_is_reset_after_its_checkpoint_loses_nothing(tmp_path):
    """The next commit overwrites the WAL from its start, with other salts; or it was cut to nothing."""
    remains, expected = killed(tmp_path, is_rewritten=False)
    wal = (remains / "journal.db-wal").read_bytes()
    pages, size = committed_pages(wal)
    finish = write_pages(sorted(pages.items()), size=size * PAGE)
    newer = bytearray(wal[: _WAL_HEADER + _FRAME_HEADER + PAGE])
    newer[12:24] = struct.pack(">III", 2, 77, 78)

    def reset(length):
        def change(folder):
            finish(folder)
            with (folder / "journal.db-wal").open("r+b") as file:
                if length is None:
                    file.truncate(0)
                else:
                    file.write(newer[:length])

        return change

    for length in (None, 8, 16, 24, 32, 40, 56, 1000, len(newer)):
        assert opened(remains, tmp_path / "scratch", reset(length)) == expected
        assert opened(remains, tmp_path / "scratch", reset(length), has_shm=True) == expected


def test_a_shared_memory_file_of_another_journal_is_rebuilt(tmp_path):
    remains, expected = killed(tmp_path, is_rewritten=False)
    other = open_sqlite(tmp_path / "other")
    fill(other, 300)
    for data in ((tmp_path / "other" / "journal.db-shm").read_bytes(), b"", os.urandom(32768)):
        change = lambda folder, data=data: (folder / "journal.db-shm").write_bytes(data)  # noqa: E731
        assert opened(remains, tmp_path / "scratch", change, has_shm=True) == expected
    other.close()


def test_the_wal_of_another_journal_is_seen(tmp_path):
    """SQLite would replay it: a restored backup beside the newer WAL, or the copy of a journal in use."""
    store = open_sqlite(tmp_path / "running")
    fill(store, 40)
    store.close()
    backup = (tmp_path / "running" / "journal.db").read_bytes()
    store = open_sqlite(tmp_path / "running")
    bucket, origin = LOGS[7]
    for number in range(30):
        store.append(bucket, origin, 6 + number, bundle_bytes(number, 300))
        store.put_piece(*LOGS[number % 4], 1 + number % 3, b"left %d" % number)
        store.commit()
        if number == 20:
            store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "journal.db").write_bytes(backup)
    shutil.copy2(tmp_path / "running" / "journal.db-wal", mixed / "journal.db-wal")
    store.close()
    before = {path.name: path.read_bytes() for path in mixed.glob("journal.db*")}
    with pytest.raises(StoreCorruptError, match="safe place first"):
        load_all(mixed)
    assert {name: (mixed / name).read_bytes() for name in before} == before


def load_all(folder: Path) -> None:
    store = open_sqlite(folder)
    try:
        shown(store)
    finally:
        store.close()


def test_an_empty_file_is_a_journal_that_was_never_made(tmp_path):
    (tmp_path / "journal.db").touch()
    (tmp_path / "journal.db-wal").touch()
    store = open_sqlite(tmp_path)
    fill(store, 10)
    store.close()
    store = open_sqlite(tmp_path)
    assert len(shown(store)[0]) == 10
    store.close()


def test_an_owner_is_told_from_another_in_the_middle_of_a_checkpoint(tmp_path):
    """What the check is for: the journal of another peer is named, and keeps its bytes."""
    remains, _ = killed(tmp_path, is_rewritten=True)
    pages, _ = committed_pages((remains / "journal.db-wal").read_bytes())
    write_pages(sorted(pages.items())[:3])(remains)
    before = {path.name: path.read_bytes() for path in remains.glob("journal.db*")}
    with pytest.raises(StoreError, match="belongs to peer") as caught:
        SqliteStore(remains, network=NETWORK, peer=PeerId(b"x" * 32))
    assert type(caught.value) is StoreError
    for name in ("journal.db", "journal.db-wal"):
        assert (remains / name).read_bytes() == before[name]


def test_kills_of_a_writer_of_large_values_lose_nothing(tmp_path):
    """`kill -9` at random moments, with a checkpoint after every few commits."""
    choose = random.Random(7)
    known = 0
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-W", "error", child.__file__, "commit_large_for_ever", str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            for _ in range(choose.randrange(3, 30)):
                line = process.stdout.readline()
                assert line, "it did not start"
                known = int(line)
            process.send_signal(signal.SIGKILL)
            known = int((process.stdout.read().split() or [known])[-1])
        store = open_sqlite(tmp_path)
        found = [index for _, _, index, _ in store.load_pieces()]
        store.close()
        assert found[:known] == list(range(1, known + 1))
        assert len(found) <= known + 1


# ---------------------------------------------------------------- a file that is replaced while it is open


def put_back(folder: Path, backup: Path) -> None:
    shutil.copy2(backup, folder / "restored")
    (folder / "restored").rename(folder / "journal.db")


def removed(folder: Path, backup: Path) -> None:
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (folder / name).unlink()


def removed_with_lock(folder: Path, backup: Path) -> None:
    removed(folder, backup)
    (folder / "lock").unlink()


def wal_removed(folder: Path, backup: Path) -> None:
    (folder / "journal.db-wal").unlink()


@pytest.mark.parametrize("swap", [put_back, removed, removed_with_lock])
def test_a_file_that_is_replaced_under_a_running_store_is_noticed(tmp_path, swap):
    store = open_sqlite(tmp_path / "data")
    fill(store, 10)
    store.close()
    shutil.copy2(tmp_path / "data" / "journal.db", tmp_path / "backup")
    store = open_sqlite(tmp_path / "data")
    for index in (1, 2, 3):
        store.append("b", ORIGINS[0], index, b"%d" % index)
        store.commit()
    swap(tmp_path / "data", tmp_path / "backup")
    store.append("b", ORIGINS[0], 4, b"4")
    for _ in range(2):
        with pytest.raises(
            StoreBehindError, match="restored from an older copy, replaced or emptied"
        ):
            store.commit()
    rewrite(store)
    store.close()
    store = open_sqlite(tmp_path / "data")
    assert [row[2:] for row in store.load_pieces()] == [(n, b"%d" % n) for n in (1, 2, 3, 4)]
    assert store.load_heads() == {"h": b"1"}
    assert store.doubt is None
    store.close()


def rewrite(store) -> None:
    store.begin_rewrite()
    for log in [*LOGS, ("b", ORIGINS[0])]:
        store.drop_log(*log)
    for index in (1, 2, 3, 4):
        store.put_piece("b", ORIGINS[0], index, b"%d" % index)
    store.put_line("b", ORIGINS[0], 4, None)
    store.put_head("h", b"1")
    store.end_rewrite()
    store.commit()


def test_a_wal_that_is_removed_under_a_running_store_costs_nothing(tmp_path):
    store = open_sqlite(tmp_path)
    fill(store, 20)
    expected = shown(store)
    wal_removed(tmp_path, tmp_path)
    store.commit()
    store.put_head("next", b"1")
    store.commit()
    assert shown(store) == (expected[0], expected[1] | {"next": b"1"})
    store.close()
    store = open_sqlite(tmp_path)
    assert shown(store) == (expected[0], expected[1] | {"next": b"1"})
    store.close()


def test_a_file_that_was_rolled_back_in_place_is_noticed_whatever_it_received_since(tmp_path):
    """Another writer has made as many commits on the older copy as this one had."""
    store = open_sqlite(tmp_path)
    store.put_head("h", b"1")
    store.commit()
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("UPDATE logs SET origin = zeroblob(16) WHERE id = 0")
    other.close()
    store.put_head("h", b"2")
    with pytest.raises((StoreBehindError, StoreCorruptError)):
        store.commit()
    store.close()


def test_a_journal_of_the_format_before_is_read_and_becomes_the_present_one(tmp_path):
    store = open_sqlite(tmp_path)
    fill(store, 40)
    expected = shown(store), store.load_logs()
    store.close()
    as_format_2(tmp_path / "journal.db")
    for _ in range(2):
        store = open_sqlite(tmp_path)
        assert (shown(store), store.load_logs()) == expected
        store.close()
    store = open_sqlite(tmp_path)
    store.put_head("h", b"1")
    store.commit()
    assert shown(store)[0] == expected[0][0]
    store.close()
    store = open_sqlite(tmp_path)
    assert shown(store)[0] == expected[0][0]
    assert store._state.commit.number == 1
    store.close()


def as_format_2(path: Path) -> None:
    """What format 2 has in row 0: the number of logs and nothing else."""
    connection = sqlite3.connect(path, isolation_level=None)
    (count,) = connection.execute("SELECT pieces FROM logs WHERE id = 0").fetchone()
    write_logs(connection, {("", Origin(b"")): LogRow(0, 0, None, count, 0)})
    connection.execute("PRAGMA user_version = 2")
    connection.close()
