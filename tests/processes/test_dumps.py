"""`dump` and `load`: readable rows written anew, and signed archives taken in by peers that were never connected."""

import json
from pathlib import Path

import pytest

from tests.processes._peers import PeerProcess, gossipsync
from tests.processes.conftest import MakePeer

FINAL = '[buckets.sessions]\nkind = "map"\nttl = "30m"\ndeletes = "final"'


@pytest.fixture
def full(make_peer: MakePeer) -> PeerProcess:
    """A peer with something in a bucket of each kind."""
    peer = make_peer("full")
    peer.buckets = FINAL
    peer.start()
    peer.ok("put", "flags", "a", '{"$bytes": "AP8="}')
    peer.ok("put", "flags", "b", "1", "--ttl", "1h")
    peer.ok("put", "flags", "gone", "1")
    peer.ok("del", "flags", "gone")
    peer.ok("put", "sessions", "sid", '{"user": 7}')
    peer.ok("incr", "hits", "/", "5")
    peer.ok("sadd", "online", "room", "ann", "ben")
    return peer


def shown(peer: PeerProcess) -> list[object]:
    """All that a peer shows, without where it comes from."""
    rows = [json.loads(line) for line in peer.ok("dump").splitlines()]
    parts = ("bucket", "key", "kind", "value")
    return sorted([row[part] for part in parts] for row in rows)  # type: ignore[type-var]


def test_rows_say_what_is_there(full: PeerProcess) -> None:
    [a, b] = map(json.loads, full.ok("dump", "flags").splitlines())
    assert list(a) == ["bucket", "key", "kind", "value", "expires", "origin", "hlc"]
    assert a | {"hlc": None} == {
        "bucket": "flags",
        "key": "a",
        "kind": "value",
        "value": {"$bytes": "AP8="},
        "expires": None,
        "origin": full.peer_id,
        "hlc": None,
    }
    assert b["expires"].endswith("+00:00")
    assert full.run("dump", "nothing").stderr.startswith("error[local]: there is no bucket")


def test_rows_are_loaded_as_the_loader_s_own_and_twice_is_once(
    full: PeerProcess, make_peer: MakePeer, folder: Path
) -> None:
    other = make_peer("other", key="theirs").start()
    other.ok("sadd", "online", "room", "cid")
    rows = full.ok("dump").encode()
    for _ in range(2):
        report = json.loads(other.ok("load", "-", "-o", "json", stdin=rows))
        assert report == {"schema": 1, "written": 5, "expired": 0}
        assert shown(other) == shown(full)
    origins = {json.loads(line)["origin"] for line in other.ok("dump").splitlines()}
    assert origins == {other.peer_id}
    past = json.dumps(
        {"bucket": "flags", "key": "z", "value": 1, "expires": "2001-01-01T00:00:00Z"}
    )
    report = json.loads(other.ok("load", "-", "-o", "json", stdin=past.encode()))
    assert report == {"schema": 1, "written": 0, "expired": 1}
    file = folder / "rows"
    other.ok("dump", "flags", "--out", file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text().splitlines()) == 2
    assert other.run("dump", "flags", "--out", file).returncode == 1  # which is there already


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "[]",
        '{"bucket": "flags", "key": "k"}',
        '{"bucket": "flags", "key": 1, "value": 1}',
        '{"bucket": "flags", "key": "k", "value": {"$bytes": "?"}}',
        '{"bucket": "flags", "key": "k", "value": 1, "expires": "soon"}',
        '{"bucket": "flags", "key": "k", "value": 1, "expires": "2030-01-01T00:00:00"}',
        '{"bucket": "flags", "key": "k", "value": 99999999999999999999}',
    ],
)
def test_a_file_with_one_bad_line_writes_nothing(full: PeerProcess, line: str) -> None:
    good = '{"bucket": "flags", "key": "new", "value": 1}'
    done = full.run("load", "-", stdin=f"{good}\n{line or chr(0)}\n".encode())
    assert done.returncode == 1
    [told] = done.stderr.splitlines()
    assert told.startswith("error[")
    assert "line 2" in told
    assert full.run("get", "flags", "new").returncode == 1


def test_a_refused_batch_says_what_was_written(full: PeerProcess) -> None:
    full.ok("del", "sessions", "sid")
    rows = [
        {"bucket": "flags", "key": "new", "value": 1},
        {"bucket": "sessions", "key": "sid", "value": {"user": 7}},
    ]
    done = full.run("load", "-", stdin="\n".join(map(json.dumps, rows)).encode())
    assert done.returncode == 1
    assert done.stderr.startswith("error[ended-key]: lines 2 to 2: ")
    assert "1 keys before them are written" in done.stderr


def test_an_archive_is_taken_by_a_peer_that_was_never_connected(
    full: PeerProcess, make_peer: MakePeer, folder: Path
) -> None:
    archive = folder / "archive"
    full.ok("dump", "--archive", "--out", archive)
    lone = make_peer("lone").start()
    report = json.loads(lone.ok("load", archive, "-o", "json"))
    assert report["pieces"] > 0
    assert shown(lone) == shown(full)
    assert lone.run("get", "flags", "gone").returncode == 1
    for name in ("flags", "sessions", "hits", "online"):
        assert lone.bucket(name)["fingerprint"] == full.bucket(name)["fingerprint"]
    origins = {json.loads(line)["origin"] for line in lone.ok("dump").splitlines()}
    assert origins == {full.peer_id}
    again = json.loads(lone.ok("load", archive, "-o", "json"))
    assert again == {"schema": 1, "pieces": report["pieces"], "changed": 0}

    # It is stored, may be carried on, and an old archive brings nothing back.
    lone.kill()
    lone.start()
    assert shown(lone) == shown(full)
    onward = folder / "onward"
    lone.ok("dump", "--archive", "--out", onward)
    lone.ok("put", "flags", "a", "2")
    lone.ok("del", "flags", "b")
    lone.ok("load", archive)
    assert lone.ok("get", "flags", "a") == "2\n"
    assert lone.run("get", "flags", "b").returncode == 1
    third = make_peer("third").start()
    third.ok("load", onward)
    assert shown(third) == shown(full)

    # What was loaded is the mesh's: a peer that is linked gets it, and the line has moved.
    friend = make_peer("friend", seed=third).start()
    friend.ok("wait", "--members", "2", "--synced", "--timeout", "15")
    assert shown(friend) == shown(full)


def test_a_bad_archive_changes_nothing(
    full: PeerProcess, make_peer: MakePeer, folder: Path
) -> None:
    archive = folder / "archive"
    full.ok("dump", "flags", "hits", "--archive", "--out", archive)
    data = archive.read_bytes()
    lone = make_peer("lone").start()
    step = max(1, len(data) // 40)
    broken = [data[:size] for size in range(25, len(data), step)]
    broken += [
        data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(22, len(data), step)
    ]
    broken += [data + b"x", data[:21] + b"\xff\xff\xff\xff" + data[25:]]
    for part in broken:
        done = lone.run("load", "-", stdin=part)
        assert done.returncode == 1, done.stdout
        [told] = done.stderr.splitlines()
        assert told.startswith("error[remote]: ")
    assert lone.ok("dump") == ""

    stranger = make_peer("stranger", key="theirs").start()
    done = stranger.run("load", archive)
    assert done.stderr.startswith("error[remote]: a certificate in it is not of this network")
    assert stranger.ok("dump") == ""


def test_history_on_the_command_line(make_peer: MakePeer) -> None:
    peer = make_peer("past")
    peer.buckets = '[buckets.flags]\nhistory = "1h"'
    peer.start()
    peer.ok("put", "flags", "k", '{"$bytes": "AP8="}')
    peer.ok("put", "flags", "k", "2", "--ttl", "1h")
    peer.ok("del", "flags", "k")
    versions = peer.json("history", "flags", "k")["versions"]
    assert isinstance(versions, list)
    assert [version["kind"] for version in versions] == ["put", "put", "delete"]
    assert versions[0]["value"] == {"$bytes": "AP8="}
    assert versions[0]["origin"] == versions[0]["sender"] == peer.peer_id
    assert versions[0]["expires"] is None
    assert versions[1]["expires"] > versions[1]["at"]
    assert peer.ok("history", "flags", "k").count("\n") >= 4
    assert peer.json("history", "flags", "x")["versions"] == []
    assert peer.json("history", "nothing", "x")["versions"] == []


def test_diff_names_lines_and_keys(make_peer: MakePeer, folder: Path) -> None:
    a, b = make_peer("a").start(), make_peer("b").start()
    archive = folder / "archive"
    a.ok("put", "flags", "same", "1")
    a.ok("put", "flags", "changed", "1")
    a.ok("dump", "--archive", "--out", archive)
    b.ok("load", archive)
    same = gossipsync("diff", a.socket, b.config)
    assert (same.returncode, same.stdout) == (0, "a and b have the same\n")
    a.ok("put", "flags", "changed", "2")
    a.ok("put", "flags", "new", "1")
    b.ok("put", "other", "theirs", "1")
    document = json.loads(a.ok("diff", "a", b.folder, "-o", "json"))
    assert document["a"] == {"name": "a", "peer_id": a.peer_id}
    assert document["b"]["name"] == "b"
    assert document["keys"] == [
        {"bucket": "flags", "key": "changed", "in": "both"},
        {"bucket": "flags", "key": "new", "in": "a"},
        {"bucket": "other", "key": "theirs", "in": "b"},
    ]
    assert [(row["bucket"], row["origin"], row["a"], row["b"]) for row in document["lines"]] == [
        ("flags", a.peer_id, 4, 2),
        ("other", b.peer_id, 0, 1),
    ]
    assert a.ok("diff", "a", b.folder).splitlines()[-1] == "key   other  theirs: only b"
    unknown = a.run("diff", "a", "unknown")
    assert unknown.returncode == 1
    assert "no member is called 'unknown'" in unknown.stderr
