"""One peer as a process: its ready line, every command against it, signals, and what keeps it from starting."""

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.processes._peers import COMMAND, PeerProcess, environment, gossipsync
from tests.processes.conftest import MakePeer


@pytest.fixture
def peer(make_peer: MakePeer) -> PeerProcess:
    return make_peer("a").start()


def test_the_ready_line(make_peer: MakePeer) -> None:
    peer = make_peer("web-1").start(is_ready=False)
    line = peer.await_ready()
    assert re.fullmatch(
        r"ready name=web-1 address=127\.0\.0\.1:[0-9]+ peer_id=[a-z2-7]{52}\n", line
    )
    assert (peer.folder / "data").stat().st_mode & 0o777 == 0o700
    assert peer.socket.stat().st_mode & 0o777 == 0o600


def test_values_in_and_out(peer: PeerProcess) -> None:
    peer.ok("put", "b", "k", '{"user": 7, "tags": ["x"]}')
    assert peer.ok("get", "b", "k") == '{"user": 7, "tags": ["x"]}\n'
    peer.ok("put", "b", "text", "--string", "3")
    assert peer.ok("get", "b", "text") == '"3"\n'
    peer.ok("put", "b", "raw", "--bytes", "-", stdin=b"\x00\xff")
    assert peer.ok("get", "b", "raw") == '{"$bytes": "AP8="}\n'
    peer.ok("put", "b", "when", '{"$datetime": "2026-01-02T03:04:05+00:00"}')
    assert peer.ok("get", "b", "when") == '{"$datetime": "2026-01-02T03:04:05+00:00"}\n'
    assert json.loads(peer.ok("get", "b", "k", "-o", "json")) == {
        "schema": 1,
        "found": True,
        "value": {"user": 7, "tags": ["x"]},
    }
    receipt = json.loads(peer.ok("put", "b", "k", "1", "-o", "json"))
    assert set(receipt) >= {"schema", "bucket", "key", "hlc", "token", "acked_by"}
    peer.ok("wait", "--token", receipt["token"])
    assert peer.ok("keys", "b").splitlines() == ["k", "text", "raw", "when"]
    assert peer.json("keys", "b", "--prefix", "t")["keys"] == ["text"]


def test_an_absent_key_prints_nothing_and_exits_1(peer: PeerProcess) -> None:
    done = peer.run("get", "b", "k")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    done = peer.run("get", "b", "k", "-o", "json")
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout) == {"schema": 1, "found": False, "value": None}
    peer.ok("put", "b", "k", "1")
    peer.ok("del", "b", "k")
    assert peer.run("get", "b", "k").returncode == 1
    assert peer.ok("keys", "b") == ""
    peer.ok("del", "b", "never-seen")


def test_counters_sets_and_fields(peer: PeerProcess) -> None:
    assert peer.ok("incr", "hits", "/") == "1\n"
    assert peer.ok("incr", "hits", "/", "5") == "6\n"
    assert peer.ok("incr", "hits", "/", "-2") == "4\n"
    assert peer.ok("get", "hits", "/") == "4\n"
    peer.ok("sadd", "online", "room", "ben", "ann", "cat")
    peer.ok("srem", "online", "room", "cat")
    assert peer.ok("get", "online", "room") == '["ann", "ben"]\n'
    wrong = peer.run("put", "hits", "/", "7")
    assert wrong.returncode == 1
    assert wrong.stderr.splitlines()[-1].startswith("error[bucket-kind]: ")


def test_map_fields(make_peer: MakePeer) -> None:
    peer = make_peer("a")
    peer.buckets = '[buckets.sessions]\nkind = "map"\nttl = "30m"\ndeletes = "final"'
    peer.start()
    absent = peer.run("put", "sessions", "sid", "1", "--field", "cart")
    assert absent.returncode == 1
    assert absent.stderr.splitlines()[-1].startswith("error[absent]: ")
    peer.ok("put", "sessions", "sid", '{"user": 7}')
    peer.ok("put", "sessions", "sid", "3", "--field", "cart")
    assert json.loads(peer.ok("get", "sessions", "sid")) == {"user": 7, "cart": 3}
    assert peer.ok("get", "sessions", "sid", "--field", "cart") == "3\n"
    peer.ok("del", "sessions", "sid", "--field", "cart")
    assert peer.ok("get", "sessions", "sid") == '{"user": 7}\n'
    peer.ok("del", "sessions", "sid")
    late = peer.run("put", "sessions", "sid", '{"user": 7}')
    assert late.returncode == 1
    assert late.stderr.splitlines()[-1].startswith("error[ended-key]: ")


def test_a_ttl_ends_a_key(peer: PeerProcess) -> None:
    peer.ok("put", "b", "short", "1", "--ttl", "300ms")
    # However slow this machine is: the last thing to be seen of the key is its end.
    seen = peer.ok("watch", "b", "--timeout", "3", "-o", "ndjson").splitlines()
    kinds = [json.loads(line)["kind"] for line in seen]
    assert kinds in (["present", "expire"], [])
    assert peer.run("get", "b", "short").returncode == 1


def test_watch_shows_what_is_there_then_changes(peer: PeerProcess) -> None:
    peer.ok("put", "b", "one", "1")
    first = [
        json.loads(line)
        for line in peer.ok("watch", "b", "--timeout", "0", "-o", "json").splitlines()
    ]
    assert [(c["kind"], c["key"], c["value"]) for c in first] == [("present", "one", 1)]
    assert first[0]["origin"] == peer.peer_id
    peer.ok("put", "b", "two", "2")
    peer.ok("del", "b", "one")
    after = peer.ok("watch", "b", "--since", first[-1]["cursor"], "--timeout", "0")
    assert after.splitlines() == ["put     two 2", "delete  one"]
    assert peer.ok("watch", "b", "--since", "now", "--timeout", "0") == ""
    for cursor in ("nonsense", "1-2"):
        bad = peer.run("watch", "b", "--since", cursor, "--timeout", "0")
        assert bad.returncode == 1
        assert bad.stderr.splitlines()[-1].startswith("error[cursor]: ")


def test_a_cursor_outlives_a_restart_and_no_crash(peer: PeerProcess) -> None:
    peer.ok("put", "b", "one", "1")
    peer.ok("put", "b", "two", "2")
    *_, last = peer.ok("watch", "b", "--timeout", "0", "-o", "json").splitlines()
    cursor = json.loads(last)["cursor"]
    peer.ok("del", "b", "one")
    assert peer.stop()[0] == 0
    peer.start()
    peer.ok("put", "b", "three", "3")
    after = peer.ok("watch", "b", "--since", cursor, "--timeout", "0")
    assert after.splitlines() == ["delete  one", "put     three 3"]
    peer.kill()
    peer.start()
    refused = peer.run("watch", "b", "--since", cursor, "--timeout", "0")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error[cursor]: ")
    assert "watch from the beginning" in refused.stderr


def test_a_change_reaches_a_watcher_at_once(peer: PeerProcess) -> None:
    peer.ok("put", "b", "one", "1")
    watcher = subprocess.Popen(
        [*COMMAND, "watch", "b", "--prefix", "o", "-o", "ndjson"],
        stdout=subprocess.PIPE,
        env=environment(GOSSIPSYNC_SOCKET=str(peer.socket)),
    )
    assert watcher.stdout is not None
    assert json.loads(watcher.stdout.readline())["kind"] == "present"
    peer.ok("put", "b", "two", "2")
    peer.ok("put", "b", "other", "3")
    assert json.loads(watcher.stdout.readline())["key"] == "other"
    watcher.send_signal(signal.SIGINT)
    assert watcher.wait(10) == 0
    watcher.stdout.close()


def test_changes_of_other_keys_do_not_keep_a_watcher_waiting(peer: PeerProcess) -> None:
    watcher = subprocess.Popen(
        [*COMMAND, "watch", "b", "--prefix", "x", "--timeout", "1"],
        stdout=subprocess.PIPE,
        env=environment(GOSSIPSYNC_SOCKET=str(peer.socket)),
    )
    while watcher.poll() is None:
        peer.ok("put", "b", "y", "1")
    assert watcher.returncode == 0
    assert watcher.stdout is not None
    assert watcher.stdout.read() == b""
    watcher.stdout.close()


def test_json_shapes(peer: PeerProcess) -> None:
    peer.ok("put", "b", "k", "1")
    status = peer.json("status")
    assert set(status) >= {
        *("schema", "name", "peer_id", "address", "network_id", "epoch", "state", "uptime_s"),
        *("version", "members", "buckets", "lag_s", "clock_offset_ms", "traffic", "rejected"),
        "warnings",
    }
    assert status["state"] == "alone"
    assert status["members"] == {"alive": 1, "suspect": 0, "down": 0, "away": 0}
    assert isinstance(status["epoch"], str)
    [bucket] = status["buckets"]  # type: ignore[misc]
    assert set(bucket) >= {
        *("name", "kind", "keys", "tombstones", "bytes", "origins", "fingerprint"),
    }
    [member] = peer.json("members")["members"]  # type: ignore[misc]
    assert set(member) >= {
        *("name", "peer_id", "address", "zone", "state", "epoch", "last_seen_s", "behind"),
    }
    assert member["peer_id"] == status["peer_id"] == peer.peer_id
    [row] = peer.ok("members", "-o", "ndjson").splitlines()
    assert json.loads(row)["name"] == "a"
    health = peer.json("gossipinfo")["health"]
    assert health == {
        "score": 0,
        "stalls": 0,
        "probes_failed": 0,
        "doubts_refuted": 0,
        "probes_delayed": 0,
        "statements_delayed": 0,
    }
    assert peer.json("gossipinfo", "a")
    unknown = peer.run("gossipinfo", "nobody")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error[local]: ")


def test_exit_codes(peer: PeerProcess) -> None:
    assert peer.run("status", "--check").returncode == 0  # alone, and no seeds: as it should be
    late = peer.run("wait", "--members", "2", "--timeout", "0.1")
    assert late.returncode == 5
    assert late.stderr.startswith("error[timeout]: 1 of 2 members")
    unacked = peer.run("put", "b", "k", "1", "--ack", "1", "--timeout", "0.1")
    assert unacked.returncode == 5
    assert unacked.stderr.startswith("error[ack-timeout]: ")
    assert peer.ok("get", "b", "k") == "1\n"  # unknown, not failed
    too_large = peer.run("put", "b", "k", "--string", "-", stdin=b"x" * 300_000)
    assert too_large.returncode == 1
    assert too_large.stderr.startswith("error[value-too-large]: ")
    huge = peer.run("put", "b", "k", "--string", "-", stdin=b"x" * 3_000_000)
    assert huge.returncode == 1
    assert huge.stderr.startswith("error[value-too-large]: ")
    bad_token = peer.run("wait", "--token", "nonsense")
    assert bad_token.returncode == 1
    assert bad_token.stderr.startswith("error[token]: ")
    for bucket, key in (("b", "k" * 513), ("b", ""), ("", "k"), ("b\n", "k")):
        assert peer.run("put", bucket, key, "1").returncode == 1
    assert peer.ok("get", "b", "k") == "1\n"


def test_arguments_that_no_peer_could_take(peer: PeerProcess) -> None:
    for arguments in (["get", "b", "\udc80"], ["put", "\udc80", "k", "1"], ["keys", "b\ud800"]):
        done = peer.run(*arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("error[value-type]: ")
    assert peer.run("put", "b", "k", str(2**63)).stderr.startswith("error[value-type]: ")
    assert peer.run("incr", "hits", "k", str(2**63)).returncode == 2
    peer.ok("incr", "hits", "k", str(2**63 - 1))
    assert peer.run("incr", "hits", "k", "1").stderr.startswith("error[value-type]: ")
    peer.ok("incr", "hits", "k", str(-(2**63 - 1)))
    assert peer.ok("get", "hits", "k") == "0\n"


def test_what_others_wrote_is_escaped(peer: PeerProcess) -> None:
    evil = "\x1b[31mred\u202e\n[bold]x[/bold]"
    peer.ok("put", "b", evil, "--string", evil)
    for arguments in (["keys", "b"], ["watch", "b", "--timeout", "0"], ["get", "b", evil]):
        for output in ([], ["-o", "ndjson"]):
            out = peer.ok(*arguments, *output)
            assert "\x1b" not in out
            assert "\u202e" not in out
            assert len(out.splitlines()) == 1
            assert "[bold]x[/bold]" in out
    error = peer.run("gossipinfo", evil).stderr
    assert "\x1b" not in error
    assert "\u202e" not in error
    assert len(error.splitlines()) == 1


def test_no_secret_is_shown(peer: PeerProcess, make_peer: MakePeer) -> None:
    peer.ok("put", "b", "k", "s3cret-value")
    key = Path(str(peer.settings["cluster_key_file"])).read_text()
    shown = peer.ok("status") + peer.ok("gossipinfo") + peer.ok("members") + peer.log
    assert key not in shown
    assert "s3cret-value" not in shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_in_two_seconds(peer: PeerProcess, number: signal.Signals) -> None:
    peer.ok("put", "b", "k", "1")
    code, took_s = peer.stop(number)
    assert (code, took_s < 2) == (0, True), peer.log
    assert not peer.socket.exists()
    assert peer.run("status").returncode == 3
    peer.start()
    assert peer.ok("get", "b", "k") == "1\n"


def test_a_signal_while_it_starts(make_peer: MakePeer) -> None:
    peer = make_peer("a").start(is_ready=False)
    assert peer.process is not None
    # The log's first bytes may never come; the handler is there once the interpreter has read the settings.
    peer.process.send_signal(signal.SIGTERM)
    assert peer.await_end() in {0, -signal.SIGTERM}


def test_a_killed_peer_leaves_a_stale_socket_that_is_replaced(peer: PeerProcess) -> None:
    peer.ok("put", "b", "k", "1")
    peer.kill()
    assert peer.socket.exists()
    assert peer.run("status").returncode == 3
    peer.start()
    assert peer.ok("get", "b", "k") == "1\n"


def test_a_second_peer_in_the_same_folder_is_refused(peer: PeerProcess) -> None:
    second = subprocess.run(
        [*COMMAND, "run", "-c", str(peer.config)],
        capture_output=True,
        timeout=20,
        env=environment(),
    )
    assert second.returncode == 1
    assert second.stderr.splitlines()[-1].startswith(b"error[store-locked]: ")
    assert peer.json("status")["name"] == "a"


def test_a_port_in_use(peer: PeerProcess, make_peer: MakePeer) -> None:
    other = make_peer("b", listen=peer.address).start(is_ready=False)
    assert other.await_end() == 1
    assert other.log.splitlines()[-1].startswith("error[transport]: ")


def test_a_socket_path_that_cannot_be(make_peer: MakePeer, folder: Path) -> None:
    (folder / "file").write_text("mine")
    long = make_peer("a", socket="x" * 120).start(is_ready=False)
    taken = make_peer("b", socket=str(folder / "file")).start(is_ready=False)
    for peer in (long, taken):
        assert peer.await_end() == 1
        assert peer.log.splitlines()[-1].startswith("error[config]: ")
    assert (folder / "file").read_text() == "mine"


def test_a_lone_peer_in_memory_is_found_in_the_runtime_folder(
    folder: Path, make_peer: MakePeer
) -> None:
    peer = make_peer("a", key=None)
    del peer.settings["data_dir"]
    peer.start(XDG_RUNTIME_DIR=str(folder))
    assert peer.address == "-"
    done = gossipsync("status", "-c", peer.config, "-o", "json", XDG_RUNTIME_DIR=str(folder))
    assert json.loads(done.stdout)["name"] == "a"


def test_wait_gives_a_starting_peer_time(make_peer: MakePeer) -> None:
    peer = make_peer("a").start(is_ready=False)
    assert peer.ok("wait", "--synced", "--timeout", "10") == ""


def test_leave_ends_the_process(peer: PeerProcess) -> None:
    assert peer.ok("leave") == ""
    assert peer.await_end() == 0


def test_w_repeats_until_interrupted(peer: PeerProcess) -> None:
    process = subprocess.Popen(
        [*COMMAND, "members", "-w", "0.1", "-o", "ndjson"],
        stdout=subprocess.PIPE,
        env=environment(GOSSIPSYNC_SOCKET=str(peer.socket)),
    )
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    process.stdout.close()
    assert [line["name"] for line in lines] == ["a", "a", "a"]
