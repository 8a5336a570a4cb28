"""A server that is emptied, or comes back with an older copy, while a peer uses it or between two runs.

The next commit notices, nothing is written onto that copy before the whole state is, and nothing is lost from memory.
"""

import pytest

import gossipsync
from gossipsync.errors import StoreBehindError, StoreError
from gossipsync.stores import open_store
from tests.stores import servers
from tests.stores.places import NETWORK, ORIGINS, PEER, PLACES, fill, shown

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
    """Remove something on the server; every store of the run but the one under test is closed."""
    command = VANISHING[remote.kind][what]
    if remote.kind == "redis":
        verb, *keys = command
        remote.server.command(verb, *(remote.store._backend._prefix + key for key in keys))
    else:
        remote.server.command(command)


def image(store):
    """What a peer would have in memory."""
    return list(store.load_pieces()), store.load_logs(), store.load_heads()


def put_again(store, state):
    """A rewrite, in two commits."""
    pieces, logs, heads = state
    store.begin_rewrite()
    for name, value in heads.items():
        store.put_head(name, value)
    for place, (log, line) in enumerate(logs.items()):
        store.drop_log(*log)
        for *place_of, index, piece in pieces:
            if tuple(place_of) == log:
                store.put_piece(*log, index, piece)
        store.put_line(*log, *line)
        if not place:
            store.commit()
    store.end_rewrite()
    store.commit()


def is_behind(store):
    """Whether the store says so from some commit on: where a connection was lost it says that first."""
    for _ in range(3):
        with pytest.raises(StoreError) as caught:
            store.commit()
    return type(caught.value) is StoreBehindError


@pytest.mark.parametrize("is_reconnected", [False, True])
@pytest.mark.parametrize(
    ("kind", "what"), [(kind, what) for kind in VANISHING for what in VANISHING[kind]]
)
def test_what_vanishes_while_it_is_in_use_is_put_again(kind, what, is_reconnected, tmp_path):
    remote = PLACES[kind](tmp_path)
    store = remote.store
    fill(store, 20)
    state = image(store)
    vanish(remote, what)
    store.append("b", A, 1, b"one")
    if is_reconnected:
        remote.server.cut_connections()
    if (
        what != "lock" or not is_reconnected
    ):  # which a new connection takes again: nothing is missing
        assert is_behind(store)
        put_again(store, state)
    else:
        with pytest.raises(StoreError, match="cannot be reached"):
            store.commit()
        store.commit()
    expected = (sorted([*state[0], ("b", A, 1, b"one")]), state[2])
    assert shown(store) == expected
    store.put_head("h", None)
    store.commit()
    assert shown(remote.reopen()) == expected
    assert remote.store.doubt is None
    remote.close()


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("redis", "logs"),
        ("redis", "heads"),
        ("postgres", "logs"),
        ("postgres", "pieces"),
    ],
)
def test_what_vanished_between_two_runs_is_told(kind, what, tmp_path):
    remote = PLACES[kind](tmp_path)
    fill(remote.store, 20)
    remote.store.close()
    vanish(remote, what)
    store = remote.store = remote.open()
    if (
        what != "heads"
    ):  # which have the state: without it the rest is taken for a store of format 2
        assert "were committed" in store.doubt
    shown(store)
    store.put_head("h", b"goes on")
    store.commit()
    remote.close()


@pytest.mark.parametrize("kind", sorted(VANISHING))
def test_a_piece_that_is_missing_takes_its_line_back_to_before_the_gap(kind, tmp_path):
    remote = PLACES[kind](tmp_path)
    for index in range(1, 10):
        remote.store.append("b", A, index, b"%d" % index)
        remote.store.append("c", A, index, b"%d" % index)
    remote.store.put_piece("c", A, 3, None)
    remote.store.commit()
    remote.store.close()
    if kind == "redis":
        name = remote.store._backend._prefix + b"log:" + A + b"b"
        remote.server.command("HDEL", name, "5")
    else:
        remote.server.command(
            "DELETE FROM gossipsync_pieces WHERE number = 5 AND log IN "
            "(SELECT id FROM gossipsync_logs WHERE bucket = 'b'::bytea)"
        )
    store = remote.store = remote.open()
    assert "1 logs have fewer pieces" in store.doubt
    assert store.load_logs()["b", A].last == 4
    assert store.load_logs()["c", A].last == 9
    store.append("b", A, 5, b"five")
    store.commit()
    assert [row[2] for row in store.load_pieces() if row[0] == "b"] == list(range(1, 10))
    remote.close()


@pytest.mark.parametrize("kind", sorted(VANISHING))
def test_a_mesh_puts_its_state_again_and_says_so(kind, tmp_path):
    remote = PLACES[kind](tmp_path / "other")
    remote.close()
    settings = {"data_dir": tmp_path / "peer", "store": remote.server.url}
    with gossipsync.open(**settings) as mesh:
        bucket = mesh.bucket("b")
        bucket.put("kept", 1, ack="self", timeout=20)
        assert mesh.status().store_failure is None
        for number in range(3):
            vanish(remote, "all")
            bucket.put(f"later{number}", 2, ack="self", timeout=20)
            assert "restored" in mesh.status().warnings
            assert mesh.status().store_failure is None
        expected = dict(bucket)
    with gossipsync.open(**settings) as mesh:
        assert dict(mesh.bucket("b")) == expected
        assert len(expected) == 4
        assert mesh.status().warnings == ()


@pytest.mark.parametrize("cut_bytes", [1, 40, 150, 400, 3000])
def test_an_append_only_file_that_lost_its_end_is_told(cut_bytes, tmp_path):
    """A server that was killed on a machine that lost its last writes: Redis drops a transaction that is not there whole."""
    server = servers.RealRedis(servers.folder())
    try:
        whose = {"network": NETWORK, "peer": PEER}
        store = open_store(server.url, tmp_path, **whose)
        fill(store, 40)
        state = image(store)
        server.kill()
        (log,) = (server._folder / "appendonlydir").glob("*.incr.aof")
        log.write_bytes(log.read_bytes()[:-cut_bytes])
        server.start()
        store.put_head("h", b"1")
        assert is_behind(store)
        put_again(store, state)
        store.close()
        store = open_store(server.url, tmp_path, **whose)
        assert store.doubt is None
        assert shown(store)[0] == sorted(state[0])
        last = store._state
        store.close()

        server.kill()
        log.write_bytes(log.read_bytes()[:-cut_bytes])
        server.start()
        store = open_store(server.url, tmp_path, **whose)
        # The last entries are those of the opening, which is no commit.
        assert (store.doubt is not None) == (store._state != last)
        store.close()
    finally:
        server.stop()
