"""The setting `store`, and the folder it makes."""

import stat

import pytest

from gossipsync import stores
from gossipsync.errors import ConfigError
from gossipsync.runtime import readers
from gossipsync.stores import MemoryStore, SqliteStore, open_store
from tests.stores.places import NETWORK, PEER, fill


@pytest.mark.parametrize(
    ("kind", "has_folder", "expected"),
    [
        (None, False, MemoryStore),
        ("auto", False, MemoryStore),
        ("memory", False, MemoryStore),
        ("memory", True, MemoryStore),
        (None, True, SqliteStore),
        ("auto", True, SqliteStore),
        ("sqlite", True, SqliteStore),
    ],
)
def test_choice(tmp_path, kind, has_folder, expected):
    folder = tmp_path / "data"
    store = open_store(kind, folder if has_folder else None, network=NETWORK, peer=PEER)
    store.close()
    assert type(store) is expected
    assert folder.exists() == (expected is SqliteStore)


@pytest.mark.parametrize(
    ("kind", "word"),
    [("sqlite", "data_dir"), ("etcd", "unknown store"), ("etcd://me:secret@x", "etcd://…")],
)
def test_impossible_choice(kind, word):
    with pytest.raises(ConfigError, match=word):
        open_store(kind, None, network=NETWORK, peer=PEER)


def test_unknown_store_with_a_folder_touches_nothing(tmp_path):
    with pytest.raises(ConfigError, match="etcd"):
        open_store("etcd", tmp_path / "data", network=NETWORK, peer=PEER)
    assert not list(tmp_path.iterdir())


def test_only_the_owner_reads_it(tmp_path):
    folder = tmp_path / "a" / "d %?#ü"
    store = open_store(None, str(folder), network=NETWORK, peer=PEER)
    fill(store, 20)
    names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    store.close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert set(names) == {"lock", "committed", "journal.db", "journal.db-wal", "journal.db-shm"}
    assert set(names.values()) == {0o600}
    assert {path.name for path in folder.iterdir()} == {"lock", "committed", "journal.db"}


def test_whatever_address_a_setting_takes_is_known_here():
    assert set(stores._SCHEMES) == set(readers._STORE_SCHEMES)
