"""An older copy that was put back while its peer was down: sound in itself, and told by the note of a later commit."""

import shutil

import pytest

import gossipsync
from gossipsync.runtime.trust import keygen
from gossipsync.stores import open_store
from gossipsync.stores._chain import Commit
from gossipsync.stores._witness import NAME, Witness
from tests.stores.places import NETWORK, ORIGINS, PLACES, fill, open_sqlite, shown
from tests.stores.test_vanishing import vanish

A = ORIGINS[0]
FIRST, SECOND = Commit(b"1" * 16, 7), Commit(b"2" * 16, 7)


def test_a_note_tells_older_and_other_commits_and_nothing_else(tmp_path):
    witness = Witness(tmp_path, "here")
    assert witness.doubt(None) is None
    assert witness.doubt(FIRST) is None
    witness.note(FIRST)
    assert witness.doubt(FIRST) is None
    assert (
        witness.doubt(Commit(b"3" * 16, 8)) is None
    )  # it may not have been written before a power cut
    assert "it is empty" in witness.doubt(None)
    for other in (SECOND, Commit(b"1" * 16, 6)):
        assert "newest commit is number" in witness.doubt(other)
    assert Witness(tmp_path, "elsewhere").doubt(None) is None
    witness.close()
    witness.close()
    for spoilt in (b"", b"x" * 44, (tmp_path / NAME).read_bytes()[:-1]):
        (tmp_path / NAME).write_bytes(spoilt)
        assert Witness(tmp_path, "here").doubt(None) is None
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    assert Witness(tmp_path, "here").doubt(None) is None
    Witness(tmp_path, "here").note(FIRST)


@pytest.mark.parametrize("is_replaced", [True, False])
def test_an_older_journal_is_told_and_one_that_was_moved_aside_is_not(tmp_path, is_replaced):
    folder = tmp_path / "data"
    store = open_sqlite(folder)
    fill(store, 10)
    store.close()
    shutil.copy2(folder / "journal.db", tmp_path / "copy")
    store = open_sqlite(folder)
    assert store.doubt is None
    fill_more(store)
    store.close()
    (folder / "journal.db").unlink()
    if is_replaced:
        shutil.copy2(tmp_path / "copy", folder / "journal.db")
    store = open_sqlite(folder)
    assert ("newest commit is number" in str(store.doubt)) == is_replaced
    store.put_head("h", b"2")
    store.commit()
    store.close()
    store = open_sqlite(folder)
    assert store.doubt is None
    store.close()


def fill_more(store):
    for number in range(3):
        store.put_head("h", b"%d" % number)
        store.commit()


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_server_that_was_emptied_between_two_runs_is_told(kind, tmp_path):
    remote = PLACES[kind](tmp_path / "data")
    remote.store.close()

    def opened():
        return open_store(remote.server.url, tmp_path, network=NETWORK, peer=remote.peer)

    remote.store = opened()
    fill(remote.store, 10)
    remote.store.close()
    remote.store = opened()
    assert remote.store.doubt is None
    vanish(remote, "all")
    remote.store.close()
    remote.store = opened()
    assert "it is empty" in remote.store.doubt
    assert shown(remote.store) == ([], {})
    remote.close()


def test_a_redis_that_came_back_older_between_two_runs_is_told(tmp_path):
    remote = PLACES["redis"](tmp_path / "data")
    remote.store.close()

    def opened():
        return open_store(remote.server.url, tmp_path, network=NETWORK, peer=remote.peer)

    remote.store = opened()
    fill(remote.store, 10)
    before = shown(remote.store)
    prefix = remote.store._backend._prefix
    keys = remote.server.command("KEYS", prefix.replace(b"{", b"?").replace(b"}", b"?") + b"*")
    copies = {key: remote.server.command("DUMP", key) for key in keys}
    fill_more(remote.store)
    remote.store.close()
    remote.server.command("FLUSHALL")
    for key, copy in copies.items():
        remote.server.command("RESTORE", key, 0, copy)
    remote.store = opened()
    assert "newest commit is number" in remote.store.doubt
    assert shown(remote.store) == before
    remote.close()


def test_a_peer_that_starts_alone_on_an_older_copy_says_so_and_is_not_ready(tmp_path):
    settings = {
        "data_dir": tmp_path / "peer",
        "cluster_key": keygen(),
        "seeds": ["127.0.0.1:9"],
        "start_wait": 0,
    }
    with gossipsync.open(**settings) as mesh:
        mesh.bucket("s", kind="map", ttl=3600, deletes="final").put(
            "k", {"n": 1}, ack="self", timeout=20
        )
    shutil.copy2(tmp_path / "peer" / "journal.db", tmp_path / "copy")
    with gossipsync.open(**settings) as mesh:
        mesh.bucket("s").delete("k", ack="self", timeout=20)
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (tmp_path / "peer" / name).unlink(missing_ok=True)
    shutil.copy2(tmp_path / "copy", tmp_path / "peer" / "journal.db")
    with gossipsync.open(**settings) as mesh:
        assert mesh.status().state != "ready"
        assert "restored" in mesh.status().warnings
