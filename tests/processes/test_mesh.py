"""Three peers as processes: shared data, SIGKILL and return, a foreign key, leaving, enrolment, the demo."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Self

from tests.faults._waits import await_, states
from tests.processes._peers import COMMAND, DEADLINE_S, PeerProcess, environment, gossipsync
from tests.processes.conftest import MakePeer

SESSIONS = '[buckets.sessions]\nkind = "map"\nttl = "30m"\ndeletes = "final"'


def three(make_peer: MakePeer) -> list[PeerProcess]:
    first = make_peer("a")
    first.buckets = SESSIONS
    first.start()
    others = [make_peer(name, seed=first) for name in ("b", "c")]
    for peer in others:
        peer.buckets = SESSIONS
        peer.start(is_ready=False)
    for peer in others:
        peer.await_ready()
    for peer in (first, *others):
        peer.ok("wait", "--members", "3", "--synced", "--timeout", "15")
    return [first, *others]


def await_all_of(writer: PeerProcess, readers: list[PeerProcess]) -> None:
    """Until the readers have all that the writer has written."""
    receipt = json.loads(writer.ok("put", "marks", writer.name, "1", "-o", "json"))
    for reader in readers:
        reader.ok("wait", "--token", receipt["token"], "--timeout", "15")


def fingerprints(peers: list[PeerProcess], bucket: str) -> set[object]:
    return {peer.bucket(bucket)["fingerprint"] for peer in peers}


def test_sessions_survive_a_sigkill(make_peer: MakePeer) -> None:
    a, b, c = three(make_peer)
    for number in range(20):
        a.ok("put", "sessions", f"s{number}", json.dumps({"user": number}))
    receipt = json.loads(
        a.ok("put", "sessions", "sid", '{"user": 7}', "--ack", "all", "-o", "json")
    )
    assert set(receipt["acked_by"]) == {b.peer_id, c.peer_id}
    assert b.ok("get", "sessions", "sid") == c.ok("get", "sessions", "sid") == '{"user": 7}\n'
    b.ok("incr", "hits", "/", "2")
    c.ok("incr", "hits", "/", "3", "--ack", "2")
    await_all_of(b, [a, c])
    assert [peer.ok("get", "hits", "/") for peer in (a, b, c)] == ["5\n"] * 3

    seen = json.loads(a.ok("put", "marks", "k", "1", "--ack", "zones", "-o", "json"))
    assert seen["acked_by"]
    after = json.loads(b.ok("put", "marks", "k", "2", "--after", seen["token"], "-o", "json"))
    assert int(after["hlc"]) > int(seen["hlc"])
    assert c.run("del", "marks", "k", "--after", "x").stderr.startswith("error[token]: ")
    c.ok("del", "marks", "k", "--after", after["token"], "--ack", "all")
    assert a.run("get", "marks", "k").returncode == 1

    c.kill()
    a.ok("put", "sessions", "while-away", '{"user": 8}', "--ack", "1")
    b.ok("put", "sessions", "sid", "1", "--field", "cart", "--ack", "1")
    b.ok("del", "sessions", "s7")
    c.settings["seeds"] = [a.address, b.address]
    c.start()
    await_all_of(a, [b, c])
    await_all_of(b, [a, c])
    assert c.ok("get", "sessions", "while-away") == '{"user": 8}\n'
    assert json.loads(c.ok("get", "sessions", "sid")) == {"user": 7, "cart": 1}
    assert c.run("get", "sessions", "s7").returncode == 1
    late = c.run("put", "sessions", "s7", '{"user": 7}')
    assert late.stderr.startswith("error[ended-key]: ")
    assert len(fingerprints([a, b, c], "sessions")) == 1
    assert len(fingerprints([a, b, c], "hits")) == 1
    assert c.bucket("sessions")["keys"] == 21
    assert a.run("status", "--check").returncode == 0


def test_all_killed_and_back_with_what_was_acknowledged(make_peer: MakePeer) -> None:
    a, b, c = three(make_peer)
    a.ok("put", "sessions", "sid", '{"user": 7}', "--ack", "1")
    for peer in (a, b, c):
        peer.kill()
    a.start()
    for peer in (b, c):
        peer.settings["seeds"] = [a.address]
        peer.start()
    for peer in (a, b, c):
        peer.ok("wait", "--members", "3", "--synced", "--timeout", "15")
    await_all_of(a, [b, c])
    assert [peer.ok("get", "sessions", "sid") for peer in (a, b, c)] == ['{"user": 7}\n'] * 3
    assert len(fingerprints([a, b, c], "sessions")) == 1


def test_a_foreign_cluster_key_gets_nowhere(make_peer: MakePeer) -> None:
    ours = make_peer("a").start()
    ours.ok("put", "b", "k", "1")
    stranger = make_peer("x", seed=ours, key="theirs").start()
    late = stranger.run("wait", "--members", "2", "--timeout", "1.5")
    assert late.returncode == 5
    check = stranger.run("status", "--check", "-o", "json")
    assert check.returncode == 4
    assert check.stderr.splitlines()[-1].startswith("error[unhealthy]: ")
    assert json.loads(check.stdout)["schema"] == 1
    assert stranger.run("get", "b", "k").returncode == 1
    status = ours.json("status")
    assert status["members"] == {"alive": 1, "suspect": 0, "down": 0, "away": 0}
    assert sum(status["rejected"].values()) > 0  # type: ignore[attr-defined]


def test_who_leaves_is_no_member_any_more(make_peer: MakePeer) -> None:
    a = make_peer("a").start()
    b = make_peer("b", seed=a).start()
    for peer in (a, b):
        peer.ok("wait", "--members", "2", "--timeout", "15")
    b.ok("leave")
    assert b.await_end() == 0
    [row] = a.json("members")["members"]  # type: ignore[misc]
    assert row["name"] == "a"


def test_a_dead_member_is_forgotten_everywhere_and_may_return(make_peer: MakePeer) -> None:
    a, b, c = three(make_peer)
    alive = a.run("forget", "c")
    assert alive.returncode == 1
    assert (
        alive.stderr
        == "error[not-permitted]: 'c' is alive; run `gossipsync leave` there, or stop it first\n"
    )
    c.kill()
    await_(lambda: states(a).get("c") in {"suspect", "down"}, "c is missed")
    for nobody in ("a", a.peer_id, "nobody", ""):  # a peer cannot forget itself
        unknown = a.run("forget", nobody)
        assert unknown.returncode == 1
        assert unknown.stderr.startswith("error[")
        assert f"no member is called {nobody!r}; " in unknown.stderr
    assert states(b).keys() == {"a", "b", "c"}
    assert a.run("put", "b", "k", "1", "--ack", "all", "--timeout", "0.3").returncode == 5
    assert a.ok("forget", c.peer_id[:12]) == ""
    assert states(a) == {"a": "alive", "b": "alive"}
    assert "no member" in a.run("forget", "c").stderr  # it is done
    await_(lambda: "c" not in states(b), "b hears of it")
    a.ok("put", "b", "k", "2", "--ack", "all", "--timeout", "10")
    assert a.run("status", "--check").returncode == 0
    c.start()
    for peer in (a, b, c):
        peer.ok("wait", "--members", "3", "--synced", "--timeout", "15")
    assert c.ok("get", "b", "k") == "2\n"
    a.ok("put", "b", "k", "3", "--ack", "all", "--timeout", "10")


def test_who_is_stopped_stays_a_member_and_is_away(make_peer: MakePeer) -> None:
    a = make_peer("a").start()
    b = make_peer("b", seed=a).start()
    for peer in (a, b):
        peer.ok("wait", "--members", "2", "--timeout", "15")
    assert b.stop()[0] == 0
    rows = a.json("members")["members"]
    assert {row["name"]: row["state"] for row in rows} == {"a": "alive", "b": "away"}  # type: ignore[attr-defined]
    assert a.json("status")["members"] == {"alive": 1, "suspect": 0, "down": 0, "away": 1}


class Member:
    """A folder made by `init` or `join`, run as a process."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "gossipsync.toml"
        self.process = subprocess.Popen(
            [*COMMAND, "run", "-c", str(self.config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        if not self.process.stdout.readline().startswith(b"ready "):
            self._end()
            raise AssertionError("not ready")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._end() == 0

    def _end(self) -> int:
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.terminate()
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return gossipsync(*arguments, "-c", self.config)

    def ok(self, *arguments: str | Path) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


def test_init_invite_join(folder: Path) -> None:
    assert gossipsync("init", folder / "one", "--network", "shop").returncode == 0
    with Member(folder / "one") as one:
        out = folder / "two.invite"
        one.ok("invite", "--name", "two", "--bucket", "sessions", "--out", out)
        assert out.stat().st_mode & 0o777 == 0o600
        again = one.run("invite", "--out", out)
        assert again.returncode == 1
        joined = gossipsync("join", "-", folder / "two", stdin=out.read_bytes())
        assert joined.returncode == 0, joined.stderr
        assert "gsi1" not in joined.stderr
        third = gossipsync("join", out.read_text(), folder / "three")
        assert third.returncode == 1
        assert third.stderr.splitlines()[-1].startswith("error[")
        assert not (folder / "three").exists()
        with Member(folder / "two") as two:
            two.ok("wait", "--members", "2", "--synced", "--timeout", "15")
            two.ok("put", "sessions", "sid", '{"user": 7}', "--ack", "1")
            assert one.ok("get", "sessions", "sid") == '{"user": 7}\n'
            forbidden = two.run("put", "other", "k", "1")
            assert forbidden.returncode == 1
            assert forbidden.stderr.startswith("error[not-permitted]: ")
            no_issuer = two.run("invite")
            assert no_issuer.returncode == 1
            assert no_issuer.stderr.startswith("error[not-permitted]: ")


def test_an_invite_prints_only_itself(folder: Path) -> None:
    gossipsync("init", folder / "one")
    with Member(folder / "one") as one:
        done = one.run("invite", "--uses", "2", "--ttl", "10m")
        assert done.stderr == ""
        assert done.stdout.startswith("gsi1.")
        assert done.stdout.count("\n") == 1


def test_a_peer_with_a_cluster_key_cannot_invite(make_peer: MakePeer) -> None:
    done = make_peer("a").start().run("invite")
    assert done.returncode == 1
    assert done.stderr.startswith("error[not-permitted]: ")


def test_the_demo_does_what_it_says_and_leaves_nothing(folder: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "demo"],
        capture_output=True,
        timeout=40,
        env=environment(TMPDIR=str(folder), GOSSIPSYNC_NAME="mine", GOSSIPSYNC_SEEDS="nobody:1"),
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"\x1b" not in done.stdout
    assert b"The user who logged out stays logged out." in done.stdout
    assert list(folder.iterdir()) == []


def test_a_demo_that_is_interrupted_cleans_up(folder: Path) -> None:
    demo = subprocess.Popen(
        [*COMMAND, "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(TMPDIR=str(folder)),
    )
    assert demo.stdout is not None
    assert demo.stderr is not None
    pids = []
    while len(pids) < 3:
        words = demo.stdout.readline().split()
        if b"process" in words:
            pids.append(int(words[words.index(b"process") + 1]))
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(DEADLINE_S) == 1
    assert demo.stderr.read().splitlines()[-1].startswith(b"error[interrupted]: ")
    for stream in (demo.stdout, demo.stderr):
        stream.close()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert list(folder.iterdir()) == []
    assert os.getpid() not in pids
