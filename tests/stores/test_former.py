"""Stores of one format back are opened, upgraded by their first commit, and refused by name if they are newer."""

from __future__ import annotations

import json
import sqlite3
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from gossipsync.cli._archive import read_archive
from gossipsync.core.model.former import current_piece
from gossipsync.core.ports import Store
from gossipsync.errors import RemoteError, StoreCorruptError, StoreError
from gossipsync.stores import MemoryStore, SqliteStore, _rows, open_store
from gossipsync.stores._journal_file import FORMAT, READ
from gossipsync.stores._remote import MARK, owner_of, seal, unseal
from tests.stores import servers
from tests.stores._former import FIXTURES, FOLDER, Former, committed, put, running, shown, until


@pytest.fixture(params=FIXTURES)
def former(request: pytest.FixtureRequest, tmp_path: Path) -> Former:
    return Former(request.param, tmp_path)


def open_sqlite(former: Former, peer: str) -> SqliteStore:
    mine = former.credentials(peer)
    return SqliteStore(former.folder / peer, network=mine.network_id, peer=mine.identity.peer_id)


def former_bodies(store: Store) -> int:
    return sum(current_piece(piece) is not piece for *_, piece in store.load_pieces())


def test_the_fixtures_are_what_they_are_called(former: Former) -> None:
    store = open_sqlite(former, "a")
    pieces = [piece for *_, piece in store.load_pieces()]
    notes = [line.note for line in store.load_logs().values() if line.note is not None]
    found = former_bodies(store)
    store.close()
    assert sum(piece[:1] == b"\x86" for piece in pieces) == 10, "excerpts, of trimmed logs"
    assert len(notes) == 5, "covered lines"
    assert found == (12 if former.name.endswith("ab9e369") else 0)


@pytest.mark.parametrize("peer", ["a", "b"])
async def test_a_store_of_format_2_shows_all_its_data(former: Former, peer: str) -> None:
    engine = former.engine(peer, open_sqlite(former, peer))
    assert shown(engine) == former.shown
    async with running(engine):
        await committed(engine)
        assert shown(engine) == former.shown
        assert not engine.status().rejected
    # The first commit has upgraded it, and the next start reads the same.
    with sqlite3.connect(former.folder / peer / "journal.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    connection.close()
    store = open_sqlite(former, peer)
    assert former_bodies(store) == 0
    again = former.engine(peer, store)
    assert shown(again) == former.shown
    store.close()


def test_a_store_that_was_only_read_is_left_as_it_was(former: Former) -> None:
    """A start that ends before its first commit, by SIGKILL or an error: the former build can go on."""
    path = former.folder / "a" / "journal.db"
    before = path.read_bytes()
    store = open_sqlite(former, "a")
    engine = former.engine("a", store)
    assert shown(engine) == former.shown
    store.close()
    assert path.read_bytes() == before


async def test_an_upgrade_that_fails_leaves_the_former_store(
    former: Former, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction that upgrades fails at its last statement, as on a full disk; then the process is gone."""
    path = former.folder / "a" / "journal.db"
    store = open_sqlite(former, "a")
    assert shown(former.engine("a", store)) == former.shown

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("injected")

    with monkeypatch.context() as patched:
        patched.setattr(_rows, "write_heads", fail)
        store.put_head("another", b"head")
        with pytest.raises(StoreError):
            store.commit()
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()
    again = open_sqlite(former, "a")
    assert former_bodies(again) == (12 if former.name.endswith("ab9e369") else 0)
    assert shown(former.engine("a", again)) == former.shown
    again.close()


async def test_a_mesh_is_upgraded_one_peer_after_the_other(former: Former) -> None:
    """`b` is still of the former build while `a` goes on: it writes, and `b` has all of it once it is upgraded, too."""
    first = former.engine("a", open_sqlite(former, "a"))
    async with running(first):
        put(first, "while-b-was-old", "new")
        await committed(first)
        expected = {**former.shown, "flags": {**former.shown["flags"], "while-b-was-old": "new"}}
        assert shown(first) == expected
        second = former.engine("b", open_sqlite(former, "b"), (first.addresses[0],))
        async with running(second):
            await until(lambda: shown(second) == expected)
            put(second, "from-b", "too")
            expected["flags"]["from-b"] = "too"
            await until(lambda: shown(first) == expected == shown(second))
            assert not first.status().rejected
            assert not second.status().rejected


def test_a_newer_store_is_refused_in_words_and_left_alone(former: Former) -> None:
    path = former.folder / "a" / "journal.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        open_sqlite(former, "a")
    words = str(caught.value)
    assert f"written by a newer gossipsync (store format {FORMAT + 1})" in words
    assert f"this build reads {' and '.join(map(str, READ))}: upgrade" in words
    assert not {"remove", "delete", "aside", "away"} & set(words.replace(",", " ").split())
    assert path.read_bytes() == before


# ---------------------------------------------------------------- servers


def replayed(kind: str, former: Former) -> str:
    """A server that has the rows which the former build left there; its address."""
    server = servers.running(kind)
    rows = json.loads((FOLDER / former.name / f"{kind}.json").read_text())
    if kind == "redis":
        for key, content in rows.items():
            name = bytes.fromhex(key)
            server.command("DEL", name)
            if isinstance(content, str):
                server.command("SET", name, bytes.fromhex(content))
            else:
                pairs = [bytes.fromhex(part) for pair in content.items() for part in pair]
                server.command("HSET", name, *pairs)
        return server.url
    _replay_postgres(server, rows)
    return server.url


POSTGRES_FORMER = (
    "DROP TABLE IF EXISTS gossipsync_owners, gossipsync_logs, gossipsync_pieces, gossipsync_heads",
    "CREATE TABLE gossipsync_owners (owner bytea PRIMARY KEY, opened bigint NOT NULL)",
    (
        "CREATE TABLE gossipsync_logs (id bigserial PRIMARY KEY, owner bytea NOT NULL, bucket bytea NOT NULL, "
        "origin bytea NOT NULL, line bytea NOT NULL, UNIQUE (owner, bucket, origin))"
    ),
    "CREATE TABLE gossipsync_pieces (log bigint, number bigint, piece bytea NOT NULL, PRIMARY KEY (log, number))",
    "CREATE TABLE gossipsync_heads (owner bytea, name bytea, value bytea NOT NULL, PRIMARY KEY (owner, name))",
)
"""As the former build made them."""


def _replay_postgres(server: servers.RealPostgres, rows: dict[str, list[list[object]]]) -> None:
    for statement in POSTGRES_FORMER:
        server.command(statement)
    for table, content in rows.items():
        for row in content:
            parts = ", ".join(
                f"'\\x{part}'::bytea" if isinstance(part, str) else str(part) for part in row
            )
            server.command(f"INSERT INTO gossipsync_{table} VALUES ({parts})")
    server.command("SELECT setval('gossipsync_logs_id_seq', (SELECT max(id) FROM gossipsync_logs))")


@pytest.mark.parametrize("kind", ["redis", "postgres"])
async def test_rows_of_format_2_on_a_server_show_all_their_data(kind: str, former: Former) -> None:
    url = replayed(kind, former)
    mine = former.credentials("a")
    whose = {"network": mine.network_id, "peer": mine.identity.peer_id}
    engine = former.engine("a", open_store(url, None, **whose))
    assert shown(engine) == former.shown
    async with running(engine):
        put(engine, "after", "it")
        await committed(engine)
    store = open_store(url, None, **whose)
    try:
        assert former_bodies(store) == 0
        again = former.engine("a", store)
        assert shown(again)["flags"] == {**former.shown["flags"], "after": "it"}
    finally:
        store.close()


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_build_of_format_2_opens_no_line_of_an_upgraded_server(kind: str, former: Former) -> None:
    """The first commit, of a head alone, seals every line anew: the former build refuses the store and writes nothing."""
    url = replayed(kind, former)
    mine = former.credentials("a")
    whose = {"network": mine.network_id, "peer": mine.identity.peer_id}
    store = open_store(url, None, **whose)
    before = store.load_logs()
    assert len(before) == 15
    store.put_head("another", b"head")
    store.commit()
    backend = store._backend  # type: ignore[attr-defined]
    place = store.place
    sealed = _sealed_lines(kind, backend)
    store.close()
    assert len(sealed) == 15
    for name, line in sealed:
        with pytest.raises(StoreCorruptError):
            unseal(line, place, *name)  # as a build of format 2 does
    again = open_store(url, None, **whose)
    assert again.load_logs() == before
    again.close()


def _sealed_lines(kind: str, backend: Any) -> list[tuple[tuple[bytes, ...], bytes]]:
    if kind == "redis":
        rows = backend._hash(b"logs").items()
        return [((b"logs", name), line) for name, line in rows if name != MARK]
    rows = backend._rows("SELECT bucket, origin, line FROM gossipsync_logs")
    return [((bucket, origin), line) for bucket, origin, line in rows if bucket != MARK]


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_newer_store_on_a_server_is_refused_in_words(kind: str, former: Former) -> None:
    """A later build has written its state, and a line in a form that this build cannot read."""
    url = replayed(kind, former)
    server = servers.running(kind)
    mine = former.credentials("a")
    owner = owner_of(mine.network_id, mine.identity.peer_id)
    state = seal(bytes([FORMAT + 1]) + b"of a later build", b"state")
    if kind == "redis":
        prefix = b"gossipsync:{%s}:" % owner.hex().encode()
        server.command("HSET", prefix + b"heads", b"\xff", state)
        (name, *_) = server.command("HKEYS", prefix + b"logs")
        server.command("HSET", prefix + b"logs", name, b"a line of a later build")
    else:
        server.command(
            f"UPDATE gossipsync_heads SET value = '\\x{state.hex()}' WHERE name = '\\xff'"
        )
        server.command("UPDATE gossipsync_logs SET line = 'a line of a later build' WHERE id > 1")
    with pytest.raises(StoreError) as caught:
        open_store(url, None, network=mine.network_id, peer=mine.identity.peer_id)
    words = str(caught.value)
    assert f"written by a newer gossipsync (store format {FORMAT + 1})" in words
    assert f"this build reads 2 and {FORMAT}: upgrade" in words
    assert not {"remove", "delete", "aside", "away"} & set(words.replace(",", " ").split())


# ---------------------------------------------------------------- archives


async def test_an_archive_of_format_1_is_taken(former: Former) -> None:
    mine = former.credentials("b")
    store = MemoryStore(keeps=False)
    engine = former.engine("b", store)
    assert mine.network_id == engine.peer.config.network
    with (FOLDER / former.name / "archive-1.gsa").open("rb") as file:
        for certificate, pieces in read_archive(file, 1 << 19):
            engine.peer.check_cargo(certificate, pieces, engine.now())
            engine.peer.take_cargo(certificate, pieces, engine.now())
    assert shown(engine) == former.shown


@pytest.mark.parametrize(
    ("magic", "words"),
    [
        (b"gossipsync archive 3\n", "archive format 3.; this build reads 1 and 2: upgrade"),
        (b"gossipsync archive x\n", "no archive"),
        (b"something else entirely", "no archive"),
    ],
)
def test_an_archive_of_another_format_is_refused_in_words(magic: bytes, words: str) -> None:
    with pytest.raises(RemoteError, match=words):
        list(read_archive(BytesIO(magic + bytes(100)), 1 << 19))
