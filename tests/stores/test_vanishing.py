"""Somebody empties the server while it is in use: noticed by the next commit, named, and nothing is lost from memory."""

import pytest

import gossipsync
from gossipsync.errors import AckTimeoutError, StoreCorruptError, StoreError
from tests.stores.places import ORIGINS, PLACES, fill, shown

A = ORIGINS[0]
VANISHING = {
    "postgres": {
        "all": "TRUNCATE gossipsync_owners, gossipsync_logs, gossipsync_pieces, gossipsync_heads",
        "lock": "DELETE FROM gossipsync_owners",
        "logs": "DELETE FROM gossipsync_logs",
        "heads": "TRUNCATE gossipsync_heads",
        "pieces": "TRUNCATE gossipsync_pieces",
        "tables": "DROP TABLE gossipsync_owners, gossipsync_logs, gossipsync_pieces, gossipsync_heads",
    },
    "redis": {
        "all": ("FLUSHALL",),
        "lock": ("DEL", b"holder"),
        "logs": ("DEL", b"logs"),
        "heads": ("UNLINK", b"heads"),
        "database": ("FLUSHDB",),
    },
}


def vanish(remote, what):
    """What somebody does to the server; every store of the run but the one under test is closed."""
    command = VANISHING[remote.kind][what]
    if remote.kind == "redis":
        verb, *keys = command
        remote.server.command(verb, *(remote.store._backend._prefix + key for key in keys))
    else:
        remote.server.command(command)


@pytest.mark.parametrize("is_reconnected", [False, True])
@pytest.mark.parametrize(
    ("kind", "what"), [(kind, what) for kind in VANISHING for what in VANISHING[kind]]
)
def test_what_vanishes_while_it_is_in_use_is_noticed(kind, what, is_reconnected, tmp_path):
    remote = PLACES[kind](tmp_path)
    store = remote.store
    fill(store, 20)
    vanish(remote, what)
    store.append("b", A, 1, b"one")
    if is_reconnected:
        remote.server.cut_connections()
    for _ in range(3):
        with pytest.raises(StoreError) as caught:
            store.commit()
    if what != "tables":  # which an error of the server's names
        assert type(caught.value) is StoreCorruptError
        assert "removed, truncated or flushed away" in str(caught.value)
    store.close()
    if what in {"all", "database", "tables"}:  # a new beginning
        assert shown(remote.reopen()) == ([], {})
        remote.store.append("b", A, 1, b"one")
        remote.store.commit()
        assert shown(remote.store) == ([("b", A, 1, b"one")], {})
    elif what != "lock":  # without it the rest is taken for whole, as it is
        with pytest.raises(StoreCorruptError, match="flushed away"):
            remote.reopen()
    remote.close()


@pytest.mark.parametrize("kind", sorted(VANISHING))
def test_a_mesh_goes_on_from_memory_and_says_so(kind, tmp_path):
    remote = PLACES[kind](tmp_path / "other")
    remote.close()
    settings = {"data_dir": tmp_path / "peer", "store": remote.server.url}
    with gossipsync.open(**settings) as mesh:
        bucket = mesh.bucket("b")
        bucket.put("kept", 1, ack="self", timeout=20)
        assert mesh.status().store_failure is None
        vanish(remote, "all")
        with pytest.raises(AckTimeoutError, match="flushed away"):
            bucket.put("later", 2, ack="self", timeout=2)
        status = mesh.status()
        assert "flushed away" in status.store_failure
        assert "store-failing" in status.warnings
        assert dict(bucket) == {"kept": 1, "later": 2}
    with gossipsync.open(**settings) as mesh:  # the server is empty, and works
        bucket = mesh.bucket("b")
        bucket.put("anew", 3, ack="self", timeout=20)
        assert dict(bucket) == {"anew": 3}
        assert mesh.status().warnings == ()
