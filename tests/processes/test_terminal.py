"""What a person sees: the commands on a pseudo-terminal, with and without NO_COLOR, and what a pipe gets."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest

from tests.processes._peers import COMMAND, DEADLINE_S, PeerProcess, environment
from tests.processes.conftest import MakePeer

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def peer(make_peer: MakePeer) -> PeerProcess:
    return make_peer("web-1").start()


def on_terminal(*arguments: str, columns: int = 100, **extra: str) -> tuple[int, str]:
    """Exit code and raw output of a command whose stdout and stderr are a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm-256color", **extra),
    )
    os.close(theirs)
    output = b""
    deadline = time.monotonic() + DEADLINE_S
    while select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            data = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not data:
            break
        output += data
    os.close(ours)
    return process.wait(DEADLINE_S), output.decode().replace("\r\n", "\n")


def test_the_member_table_has_colours(peer: PeerProcess) -> None:
    code, output = on_terminal("members", "--socket", str(peer.socket))
    assert code == 0
    assert "\x1b[32malive" in output
    plain = ESCAPE.sub("", output)
    assert re.search(r"web-1 +[a-z2-7]{12} +127\.0\.0\.1:[0-9]+ +– +alive", plain)


def test_no_color_means_no_escape_at_all(peer: PeerProcess) -> None:
    for command in ("members", "status", "gossipinfo"):
        code, output = on_terminal(command, "--socket", str(peer.socket), NO_COLOR="1")
        assert code == 0
        assert "\x1b" not in output
        assert peer.peer_id[:12] in output


def test_the_usual_width_is_enough(peer: PeerProcess) -> None:
    _, output = on_terminal("members", "--socket", str(peer.socket), columns=80, NO_COLOR="1")
    assert max(map(len, output.splitlines())) <= 80
    assert re.search(r"web-1 +[a-z2-7]{12} +127\.0\.0\.1:[0-9]+ +– +alive +.* ago +0", output)


def test_a_pipe_gets_whole_rows(peer: PeerProcess) -> None:
    peer.ok("put", "b" * 128, "k", "1")
    out = peer.ok("status")
    assert "\x1b" not in out
    assert any(re.search(r"b{128} +value +1 ", line) for line in out.splitlines())


def test_evil_keys_and_values_on_a_terminal(peer: PeerProcess) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\n[red]"
    peer.ok("put", "b", evil, "--string", evil)
    for arguments in (["keys", "b"], ["watch", "b", "--timeout", "0"], ["get", "b", evil]):
        code, output = on_terminal(*arguments, "--socket", str(peer.socket))
        assert code == 0
        assert not {"\x1b", "\x07", "\u202e"} & set(output)
        assert "[red]" in output
        assert output.count("\n") == 1


def test_w_redraws_in_place(peer: PeerProcess) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "status", "-w", "0.1", "--socket", str(peer.socket)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm-256color"),
        start_new_session=True,
    )
    os.close(theirs)
    output = b""
    while output.count(b"\x1b[2J") < 3:
        assert select.select([ours], [], [], DEADLINE_S)[0]
        output += os.read(ours, 65536)
    process.send_signal(2)
    assert process.wait(DEADLINE_S) == 0
    os.close(ours)


def test_the_demo_on_a_terminal() -> None:
    code, output = on_terminal("demo")
    assert code == 0
    plain = ESCAPE.sub("", output)
    assert "All of it worked" in plain
    assert re.search(r"web-3 +pid [0-9]+ +ready +3 +320", plain)
