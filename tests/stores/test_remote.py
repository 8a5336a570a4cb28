"""Stores on servers: lost connections, restarted servers, the lock, damage, full disks, and what messages say."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gossipsync.core.model.ids import NetworkId
from gossipsync.errors import (
    ConfigError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreLockedError,
)
from gossipsync.stores import _remote, open_store
from tests.stores import servers
from tests.stores.places import NETWORK, ORIGINS, PEER, fill, overtaken, shown

A = ORIGINS[0]
ROOT = Path(__file__).parents[2]


def test_a_lost_connection_keeps_the_buffer_and_heals_at_the_next_commit(remote):
    store = remote.store
    fill(store, 20)
    before = shown(store)
    store.append("b", A, 1, b"one")
    remote.server.cut_connections()
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        store.commit()
    assert type(caught.value) is StoreError
    store.append("b", A, 2, b"two")
    store.commit()
    assert shown(store)[1] == before[1]
    assert shown(store)[0] == sorted([*before[0], ("b", A, 1, b"one"), ("b", A, 2, b"two")])
    assert shown(remote.reopen())[0] == sorted(
        [*before[0], ("b", A, 1, b"one"), ("b", A, 2, b"two")]
    )


def test_a_killed_server_has_what_was_committed(remote):
    store = remote.store
    for index in range(1, 101):
        store.append("b", A, index, b"%d" % index)
        store.commit()
    store.append("b", A, 101, b"later")
    remote.server.kill()
    for _ in range(2):
        with pytest.raises(StoreError, match="check the server"):
            store.commit()
    remote.server.start()
    store.commit()
    assert [row[2] for row in store.load_pieces()] == list(range(1, 102))


def test_a_commit_that_is_made_twice_is_made_once(remote, monkeypatch):
    """The answer to a commit is lost: whether it happened is not known."""
    store = remote.store
    store.put_piece("b", A, 4, b"four")
    store.append("gone", A, 1, b"x")
    store.commit()
    write = store._backend.write

    def write_and_lose(batch, before, after):
        write(batch, before, after)
        raise StoreError("the answer was lost")

    store.append("b", A, 1, b"one")
    store.put_piece("b", A, 4, None)
    store.drop_log("gone", A)
    with monkeypatch.context() as patch:
        patch.setattr(store._backend, "write", write_and_lose)
        with pytest.raises(StoreError, match="answer was lost"):
            store.commit()
    store.append("b", A, 2, b"two")
    store.put_piece("b", A, 1, None)
    store.append("gone", A, 1, b"anew")
    store.commit()
    expected = [("b", A, 2, b"two"), ("gone", A, 1, b"anew")]
    assert shown(store)[0] == expected
    assert shown(remote.reopen())[0] == expected


def test_peers_and_networks_are_kept_apart(remote):
    fill(remote.store, 10)
    other = open_store(remote.server.url, None, network=NetworkId(b"x" * 32), peer=remote.peer)
    assert shown(other) == ([], {})
    other.close()


@pytest.mark.usefixtures("impatient")
def test_two_stores_of_one_peer_are_refused(remote):
    for _ in range(2):
        with pytest.raises(StoreLockedError, match="in use by another process"):
            remote.open()
    remote.store.append("b", A, 1, b"one")
    remote.store.commit()


_HOLDER = """
import sys
from gossipsync.core.model.ids import NetworkId, Origin, PeerId
from gossipsync.stores import open_store
store = open_store(sys.argv[1], None, network=NetworkId(b"n" * 32), peer=PeerId(bytes.fromhex(sys.argv[2])))
index = 0
while True:
    index += 1
    store.append("b", Origin(bytes(40)), index, b"%d" % index)
    store.commit()
    print(index, flush=True)
"""


def test_who_starts_again_right_after_sigkill_gets_the_lock_and_what_was_committed(
    remote, monkeypatch
):
    peer = type(remote.peer)(os.urandom(32))
    command = [sys.executable, "-W", "error", "-c", _HOLDER, remote.server.url, peer.hex()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for _ in range(20):
            process.stdout.readline()
        with monkeypatch.context() as patch:
            patch.setattr(_remote, "LOCK_PAUSES_S", ())
            with pytest.raises(StoreLockedError):
                open_store(remote.server.url, None, network=NETWORK, peer=peer)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        store = open_store(remote.server.url, None, network=NETWORK, peer=peer)
        said = [20, *map(int, process.stdout.read().split())][-1]
    found = [row[2] for row in store.load_pieces()]
    store.close()
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= said


def test_who_was_taken_over_writes_nothing(remote):
    remote.store.append("b", A, 1, b"one")
    remote.store.commit()
    remote.server.cut_connections()
    successor = remote.open()
    with pytest.raises(StoreLockedError, match="another process"):
        overtaken(remote.store)
    successor.close()
    with pytest.raises(StoreLockedError, match="another process"):
        remote.store.commit()
    assert shown(remote.reopen()) == ([("b", A, 1, b"one")], {})


def test_a_forked_child_does_no_harm(remote):
    store = remote.store
    store.append("b", A, 1, b"one")
    store.commit()
    child = os.fork()
    if child == 0:
        try:
            store.commit()
        except StoreError as error:
            store.close()
            os._exit(7 if "forked child" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    store.append("b", A, 2, b"two")
    store.commit()
    assert [row[2] for row in store.load_pieces()] == [1, 2]


DAMAGE = {
    "postgres": [
        "UPDATE gossipsync_pieces SET piece = 'x'",
        "UPDATE gossipsync_pieces SET piece = set_byte(piece, 10, get_byte(piece, 10) # 1)",
        "UPDATE gossipsync_logs SET line = set_byte(line, 10, get_byte(line, 10) # 1)",
        "UPDATE gossipsync_logs SET line = ''",
        "UPDATE gossipsync_heads SET value = value || 'x'",
        "UPDATE gossipsync_pieces SET number = number + 1000",
    ],
    "redis": [
        ("HSET", b"log:" + A + b"b", "3", b"x"),
        ("HSET", b"log:" + A + b"b", "x", b"xxxxxxx"),
        ("HSET", b"logs", A + b"b", b"xxxxxxxxxxxxxxxxxxxxx"),
        ("HSET", b"logs", b"x", b"x"),
        ("HSET", b"heads", b"h", b"x"),
        ("SET", b"heads", b"h"),
        ("SET", b"holder", b"h"),
    ],
}


@pytest.mark.parametrize("number", range(7))
def test_damage_is_named(remote, number):
    if number >= len(DAMAGE[remote.kind]):
        return
    store = remote.store
    for index in range(1, 4):
        store.append("b", A, index, b"%d" % index * 100)
    store.put_head("h", b"value")
    store.commit()
    store.close()
    damage = DAMAGE[remote.kind][number]
    if remote.kind == "redis":
        verb, key, *rest = damage
        remote.server.command(verb, store._backend._prefix + key, *rest)
    else:
        table = damage.split()[1]
        mine = f"owner = '\\x{store._backend._owner.hex()}'"
        where = (
            f"log IN (SELECT id FROM gossipsync_logs WHERE {mine})"
            if table == "gossipsync_pieces"
            else mine
        )
        remote.server.command(f"{damage} WHERE {where}")
    with pytest.raises(StoreCorruptError, match="damaged") as caught:
        shown(remote.reopen())
    assert "\n" not in str(caught.value)


def test_a_postgres_session_notices_that_its_client_has_vanished():
    """Over TCP the server is told to look; on a unix socket there is nothing to look for."""
    server = servers.RealPostgres(servers.folder())
    server.kill()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server.url = f"postgresql://gossip@127.0.0.1:{port}/postgres"
    server.start("-c", "listen_addresses=127.0.0.1", "-c", f"port={port}")
    try:
        store = open_store(server.url, None, network=NETWORK, peer=PEER)
        backend = store._backend
        for name, value in (("idle", "30"), ("interval", "10"), ("count", "3")):
            assert backend._one(f"SHOW tcp_keepalives_{name}") == value
        assert backend._one("SHOW tcp_user_timeout") == "60000"
        with socket.socket(fileno=os.dup(backend._connection.fileno())) as ours:
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        store.close()
    finally:
        server.kill()


def test_opening_waits_for_a_holder_that_ends(remote, monkeypatch):
    """However late the server learns of it: the store that is held is given up between two attempts."""
    waits = []

    class Pause:
        def wait(self, pause_s):
            waits.append(pause_s)
            if len(waits) == 3:
                remote.store.close()

    monkeypatch.setattr(_remote, "Event", Pause)
    remote.open().close()
    assert 3 <= len(waits) <= len(_remote.LOCK_PAUSES_S)


@pytest.mark.usefixtures("impatient")
def test_nothing_is_written_over_damage(remote):
    store = remote.store
    store.put_head("h", b"value")
    store.commit()
    damage = DAMAGE[remote.kind][4]
    if remote.kind == "redis":
        remote.server.command("HSET", store._backend._prefix + b"heads", b"h", b"x")
    else:
        remote.server.command(f"{damage} WHERE owner = '\\x{store._backend._owner.hex()}'")
    with pytest.raises(StoreCorruptError):
        store.load_heads()
    store.put_head("h", b"over it")
    for _ in range(2):
        with pytest.raises(StoreCorruptError, match="damaged"):
            store.commit()
    with pytest.raises(StoreLockedError):
        remote.open()
    store.close()
    with pytest.raises(StoreCorruptError):
        remote.reopen().load_heads()


def test_a_full_redis_keeps_the_buffer(tmp_path):
    server = servers.running("redis")
    store = open_store(server.url, None, network=NETWORK, peer=PEER)
    store.append("b", A, 1, b"one")
    server.command("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreFullError, match="raise its maxmemory"):
            store.commit()
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")
    store.commit()
    assert [row[2] for row in store.load_pieces()] == [1]
    store.drop_log("b", A)
    store.commit()
    store.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("appendonly", "no", "yes"), "keeps no append-only file"),
        (("appendfsync", "everysec", "always"), "flushes later"),
        (("maxmemory-policy", "allkeys-lru", "noeviction"), "may evict"),
    ],
)
def test_a_redis_that_loses_data_is_refused(options, words):
    server = servers.running("redis")
    name, bad, good = options
    version = server.command("INFO", "server")["redis_version"]
    server.command("CONFIG", "SET", name, bad)
    server.command("CONFIG", "SET", "maxmemory", "1gb" if name.startswith("maxmemory") else "0")
    try:
        if name == "appendfsync" and tuple(map(int, version.split(".")[:2])) >= (7, 2):
            open_store(server.url, None, network=NETWORK, peer=PEER).close()  # WAITAOF serves
        else:
            with pytest.raises(StoreError, match=words):
                open_store(server.url, None, network=NETWORK, peer=PEER)
    finally:
        server.command("CONFIG", "SET", name, good)
        server.command("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:hunter2@127.0.0.1:1/0?socket_connect_timeout=1",
        "redis://me:hunter2@127.0.0.1:notaport/0",
        "unix://me:hunter2@/nowhere/s",
        "unix:///nowhere/s?password=hunter2",
        "postgresql://me:hunter2@127.0.0.1:1/x",
        "postgresql://me:hunter2@127.0.0.1:notaport/x",
        "postgresql://me@127.0.0.1:1/x?password=hunter2",
        "postgresql://me:hunter2@/x?host=/nowhere&nonsense=1",
    ],
)
def test_no_message_tells_a_password(url):
    with pytest.raises((StoreError, ConfigError)) as caught:
        open_store(url, None, network=NETWORK, peer=PEER)
    error = caught.value
    assert "\n" not in str(error)
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_missing_extra_is_named(monkeypatch):
    for extra, module in (("redis", "redis"), ("postgres", "psycopg")):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, f"gossipsync.stores.{extra}", raising=False)
        scheme = {"redis": "redis", "postgres": "postgresql"}[extra]
        with pytest.raises(ConfigError, match=rf"pip install 'gossipsync\[{extra}\]'"):
            open_store(f"{scheme}://x", None, network=NETWORK, peer=PEER)
