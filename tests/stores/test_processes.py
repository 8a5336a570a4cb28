"""Real processes: killed at any moment, locked out of each other's folder, forked."""

import random
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gossipsync.errors import StoreLockedError
from tests.stores import child
from tests.stores.places import open_sqlite

# With threads; that is what some of these tests are about.
IS_FORK_RISKY = "ignore:This process:DeprecationWarning"
RAM = Path("/dev/shm")
SCRIPT = Path(child.__file__)


@contextmanager
def running(what, folder):
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-W", IS_FORK_RISKY, str(SCRIPT), what, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def output_of(what, folder) -> list[str]:
    with running(what, folder) as process:
        lines = process.communicate(timeout=60)[0].splitlines()
        assert process.returncode == 0, lines
    return lines


def test_what_was_acknowledged_survives_sigkill(tmp_path):
    choose = random.Random(11)
    known = 0
    for _ in range(15):
        with running("commit_for_ever", tmp_path) as process:
            for _ in range(choose.randrange(1, 60)):
                process.stdout.readline()
            process.kill()
            said = process.stdout.read().split()
            acknowledged = int(said[-1]) if said else known
        store = open_sqlite(tmp_path)
        bundles = list(store.load_pieces())
        heads = store.load_heads()
        store.close()
        known = len(bundles)
        assert known >= acknowledged
        assert bundles == [
            ("b", child.ORIGIN, index, child.bundle(index, 65536)) for index in range(1, known + 1)
        ]
        # One transaction: the head is that of the last bundle.
        assert heads == {"last": b"%d" % known}


def test_two_processes_do_not_share_a_folder(tmp_path):
    with running("hold", tmp_path) as process:
        pid = int(process.stdout.readline())
        for _ in range(2):
            with pytest.raises(StoreLockedError, match=rf"process {pid}\b.*data_dir of its own"):
                open_sqlite(tmp_path)
        process.kill()
        process.wait()
        open_sqlite(tmp_path).close()


def test_nor_do_two_stores_of_one_process(tmp_path):
    first = open_sqlite(tmp_path)
    with pytest.raises(StoreLockedError):
        open_sqlite(tmp_path)
    first.close()
    open_sqlite(tmp_path).close()


def test_a_store_that_could_not_open_gives_up_the_folder(tmp_path):
    (tmp_path / "journal.db").mkdir()
    for _ in range(2):
        with pytest.raises(Exception, match="cannot be used") as caught:
            open_sqlite(tmp_path)
        assert not isinstance(caught.value, StoreLockedError)


def test_a_forked_child_does_no_harm(tmp_path):
    lines = output_of("fork", tmp_path)
    assert [line.split(" ", 1)[0] for line in lines[:4]] == ["StoreError"] * 3 + [
        "StoreLockedError"
    ]
    assert all("forked child" in line for line in lines[:3])
    assert lines[4:6] == ["child ended 7", "wal True"]
    assert lines[6].startswith("StoreLockedError")
    assert lines[7:] == ["1 2"]


def test_a_child_forked_while_threads_open_and_commit_can_open_a_store_of_its_own():
    """In memory, where nothing waits for a disk: one fork in a hundred then met SQLite's locks held."""
    with TemporaryDirectory(dir=RAM if RAM.is_dir() else None) as folder:
        assert output_of("fork_often_while_committing", folder) == []


def test_a_forked_child_does_not_keep_the_folder_from_the_next_process(tmp_path):
    with running("fork_and_outlive", tmp_path) as process:
        assert int(process.stdout.readline()) == process.pid
        process.kill()
        process.wait()
        store = open_sqlite(tmp_path)
        assert [row[2] for row in store.load_pieces()] == [1]
        store.close()
        process.stdin.close()
        complaint = process.stdout.read()
    assert complaint.startswith("StoreError")
    assert "new process" in complaint


def test_a_forked_child_that_ends_late_leaves_the_file_alone(tmp_path):
    """SQLite, if it were let, would delete the WAL of a process that was killed since."""
    with running("fork_and_close", tmp_path) as forked:
        assert forked.stdout.readline() == "closed\n"
        with running("commit_for_ever", tmp_path) as other:
            acknowledged = [int(other.stdout.readline()) for _ in range(5)][-1]
            other.kill()
        wal = tmp_path / "journal.db-wal"
        before = wal.stat().st_ino, wal.read_bytes()
        forked.stdin.close()
        assert forked.stdout.read() == ""  # it has ended
        # By what is in it, not by its time, which some file systems set when they come to it.
        assert (wal.stat().st_ino, wal.read_bytes()) == before
    store = open_sqlite(tmp_path)
    assert len(list(store.load_pieces())) >= acknowledged
    store.close()
