"""Where a store lives in a test: how to open it, what of it is left after a crash, and what it shows."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from gossipsync.core.model.ids import Epoch, NetworkId, PeerId, origin_of
from gossipsync.core.ports import Store
from gossipsync.errors import StoreError
from gossipsync.sim.stores import SimulatedStore
from gossipsync.stores import MemoryStore, SqliteStore, _rows

NETWORK = NetworkId(b"n" * 32)
PEER = PeerId(b"p" * 32)
ORIGINS = [origin_of(PeerId(bytes([key]) * 32), Epoch(epoch)) for key in (1, 2) for epoch in (7, 8)]
LOGS = [(bucket, origin) for bucket in ("sessions", "ünïcode") for origin in ORIGINS]


class MemoryPlace:
    survives = False

    def __init__(self, folder: Path) -> None:
        self.store: Store = MemoryStore()

    def reopen(self) -> Store:
        """Close and open again: what a clean restart does."""
        self.store.close()
        self.store = MemoryStore()
        return self.store

    crash = reopen

    def close(self) -> None:
        self.store.close()


class SqlitePlace:
    survives = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Store = open_sqlite(folder)

    def reopen(self) -> Store:
        self.store.close()
        self.store = open_sqlite(self.folder)
        return self.store

    def fail_a_commit(self) -> None:
        """After all was written, as where the disk is full."""

        def fail(connection, heads):
            write_heads(connection, heads)
            raise sqlite3.OperationalError("injected")

        write_heads = _rows.write_heads
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_rows, "write_heads", fail)
            try:
                self.store.commit()
            except StoreError as error:
                assert "injected" in str(error)  # noqa: PT017 - a commit of nothing does not fail

    def crash(self) -> Store:
        """Go on from the files as they are at this moment, as after SIGKILL."""
        remains = self.folder.with_name(f"{len(list(self.folder.parent.iterdir()))}")
        remains.mkdir(mode=0o700)
        for name in ("journal.db", "journal.db-wal"):
            if (self.folder / name).exists():
                shutil.copy2(self.folder / name, remains / name)
        self.store.close()
        self.folder = remains
        self.store = open_sqlite(remains)
        return self.store

    def close(self) -> None:
        self.store.close()


class SimulatedPlace:
    """A simulated machine's disk, which a crash does not harm."""

    survives = True

    def __init__(self, folder: Path) -> None:
        self.store = SimulatedStore()

    def reopen(self) -> Store:
        self.store.crash()
        return self.store

    def crash(self) -> Store:
        """As when a backup is put back that was made at the last commit."""
        self.store.keep_copy()
        self.store.append("spoilt", ORIGINS[0], 1, b"")
        for log in self.store.load_logs():
            self.store.drop_log(*log)
        self.store.commit()
        assert self.store.restore_copy()
        return self.store

    def fail_a_commit(self) -> None:
        self.store.is_failing = True
        with pytest.raises(StoreError):
            self.store.commit()
        self.store.is_failing = False

    def close(self) -> None:
        self.store.close()


Place = MemoryPlace | SqlitePlace
PLACES: dict[str, type[Place]] = {"memory": MemoryPlace, "sqlite": SqlitePlace}


def open_sqlite(folder: Path) -> SqliteStore:
    return SqliteStore(folder, network=NETWORK, peer=PEER)


def shown(store: Store) -> tuple[list[object], dict[str, bytes]]:
    """Pieces, sorted since a load promises an order only within a log, and heads."""
    return sorted(store.load_pieces()), store.load_heads()


def fill(store: Store, count: int, *, size: int = 300, commits: int = 4) -> None:
    """`count` bundles over all logs in turn, and some heads."""
    for number in range(count):
        bucket, origin = LOGS[number % len(LOGS)]
        index = number // len(LOGS) + 1
        store.append(bucket, origin, index, bundle_bytes(number, size))
        store.put_head(f"head {number % 5}", b"%d" % number * 40)
        if number % max(1, count // commits) == 0:
            store.commit()
    store.commit()


def bundle_bytes(number: int, size: int) -> bytes:
    """Different for every number, and without the zeros in which a flip could hide."""
    return b"".join(b"%d-%d " % (number, part) for part in range(size))[:size]
