"""Where a store lives in a test: how to open it, what of it is left after a crash, and what it shows."""

import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from gossipsync.core.model.ids import Epoch, NetworkId, PeerId, origin_of
from gossipsync.core.ports import Store
from gossipsync.errors import StoreError, StoreLockedError
from gossipsync.sim.stores import SimulatedStore
from gossipsync.stores import MemoryStore, SqliteStore, _rows, open_store
from gossipsync.stores._remote import RemoteStore
from tests.stores import servers

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
            with suppress(StoreError):
                self.store.commit()

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
        self.store.crash()
        return self.store

    def fail_a_commit(self) -> None:
        self.store.is_failing = True
        with pytest.raises(StoreError):
            self.store.commit()
        self.store.is_failing = False

    def close(self) -> None:
        self.store.close()


class RemotePlace:
    """Data of a peer of its own on the run's one server."""

    survives = True
    kind: str

    def __init__(self, folder: Path) -> None:
        self.server = servers.running(self.kind)
        self.peer = PeerId(os.urandom(32))
        self.store = self.open()

    def open(self) -> Store:
        return open_store(self.server.url, None, network=NETWORK, peer=self.peer)

    def reopen(self) -> Store:
        self.store.close()
        self.store = self.open()
        return self.store

    def crash(self) -> Store:
        """The connection ends in the middle of things; another process goes on."""
        self.server.cut_connections()
        abandoned, self.store = self.store, self.open()
        with pytest.raises(StoreLockedError):
            overtaken(abandoned)
        abandoned.close()
        return self.store

    def fail_a_commit(self) -> None:
        """The connection is found to be lost; the batch stays."""
        self.store.put_head("presence", b"x")
        self.server.cut_connections()
        with pytest.raises(StoreError) as caught:
            self.store.commit()
        assert type(caught.value) is StoreError

    def close(self) -> None:
        self.store.close()


def overtaken(store: Store) -> None:
    """The first commit finds the connection lost, the second who has taken over."""
    store.put_head("presence", b"stale")
    for _ in range(2):
        try:
            store.commit()
        except StoreLockedError:
            raise
        except StoreError:
            pass


class RedisPlace(RemotePlace):
    kind = "redis"


class PostgresPlace(RemotePlace):
    kind = "postgres"


def page_backend() -> type:
    """The backend that docs/backends.md shows, without what the page does with it."""
    page = (Path(__file__).parents[2] / "docs" / "backends.md").read_text()
    code = page.split("```python\n")[1].split("\nstore = ")[0]
    namespace: dict[str, type] = {}
    exec(compile(code, "docs/backends.md", "exec"), namespace)
    return namespace["FolderBackend"]


class PagePlace:
    survives = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backend = page_backend()
        self.store: Store = RemoteStore(str(folder), self.backend(folder))

    def reopen(self) -> Store:
        self.store.close()
        self.store = RemoteStore(str(self.folder), self.backend(self.folder))
        return self.store

    crash = reopen

    def close(self) -> None:
        self.store.close()


Place = MemoryPlace | SqlitePlace | RemotePlace | PagePlace
PLACES: dict[str, type[Place]] = {
    "memory": MemoryPlace,
    "page": PagePlace,
    "postgres": PostgresPlace,
    "redis": RedisPlace,
    "sqlite": SqlitePlace,
}


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
