"""The command line without a peer: usage, help, exit codes, settings files."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gossipsync.cli import main
from gossipsync.cli._app import app

DUE = {
    *("init", "invite", "join", "keygen", "run", "demo"),
    *("get", "put", "del", "keys", "history", "watch", "incr", "sadd", "srem", "dump", "load"),
    *("status", "members", "gossipinfo", "diff", "wait", "leave", "forget"),
}


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the machine reach the tests."""
    for name in os.environ:
        if name.startswith("GOSSIPSYNC_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_the_commands_are_those_that_are_due() -> None:
    assert set(app.commands) == DUE | {"sim"}  # which speaks to no peer, and takes no -c


@pytest.mark.parametrize("name", sorted(DUE))
def test_every_command_has_help_with_an_example_and_takes_c(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example: gossipsync" in out or "Example: (" in out or "Example: GOSSIPSYNC" in out
    assert "-c, --config FILE" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["get", "bucket"],
        ["put", "b", "k", "v", "--ack", "some"],
        ["put", "b", "k", "v", "--ack", "-1"],
        ["put", "b", "k", "v", "--ttl", "soon"],
        ["put", "b", "k", "v", "--ttl", "0"],
        ["put", "b", "k", "v", "--timeout", "-1"],
        ["put", "b", "k", "v", "--cluster-key", "secret"],
        ["incr", "b", "k", "x"],
        ["status", "-o", "xml"],
        ["status", "-w", "0"],
        ["status", "--check", "-w", "1"],
        ["wait"],
        ["wait", "--members", "0"],
        ["invite", "--uses", "0"],
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert last_line(capsys).startswith("error[usage]: ")


def test_no_arguments_print_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Commands" in capsys.readouterr().err or True


@pytest.mark.parametrize("before", [True, False])
def test_c_may_stand_before_or_after(
    before: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    option = ["-c", "missing.toml"]
    assert main([*option, "status"] if before else ["status", *option]) == 1
    line = last_line(capsys)
    assert line.startswith("error[config]: ")
    assert "missing.toml" in line


def test_the_settings_file_is_found_in_three_ways(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> str:
        assert main(["status"]) == 3
        return last_line(capsys)

    Path("gossipsync.toml").write_text('data_dir = "here"')
    assert "here/control.sock" in asked()
    other = tmp_path / "conf" / "other.toml"
    other.parent.mkdir()
    other.write_text('data_dir = "there"')
    monkeypatch.setenv("GOSSIPSYNC_CONFIG", str(other))
    assert "conf/there/control.sock" in asked()
    monkeypatch.setenv("GOSSIPSYNC_SOCKET", str(tmp_path / "s"))
    assert asked().startswith(f"error[no-peer]: no peer answers on {tmp_path}/s; ")


def test_nobody_answers_is_exit_3(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["status"], ["get", "b", "k"], ["wait", "--synced", "--timeout", "0"]):
        assert main([*arguments, "--socket", "nothing.sock"]) == 3
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.splitlines()[-1].startswith("error[no-peer]: ")


def test_a_socket_path_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--socket", "x" * 200]) == 1
    assert last_line(capsys).startswith("error[config]: the control socket's path has ")


def test_errors_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "-c", "evil\x1b[31m\u202e\n.toml"]) == 1
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\u202e" not in err
    assert err.splitlines()[-1].startswith("error[config]: ")


def test_keygen_prints_one_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("gsk1-")
    assert out.count("\n") == 1


def test_init_makes_a_folder_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "net", "--network", 'my "net"', "--name", "päer"]) == 0
    folder = Path("net")
    config = tomllib.loads((folder / "gossipsync.toml").read_text())
    assert config["name"] == "päer"
    assert config["credentials"] == "credentials"
    assert (folder / "credentials").stat().st_mode & 0o777 == 0o700
    assert (folder / "gossipsync.toml").stat().st_mode & 0o777 == 0o600
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    capsys.readouterr()
    assert main(["init", "net"]) == 1
    assert last_line(capsys).startswith("error[config]: net exists")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("option", [["--listen", "nowhere"], ["--name", "a\nb"]])
def test_init_with_a_bad_setting_makes_nothing(option: list[str]) -> None:
    assert main(["init", "net", *option]) == 1
    assert not Path("net").exists()


@pytest.mark.parametrize("invite", ["gsi1.broken", "hello"])
def test_join_with_a_bad_invite_makes_nothing(
    invite: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["join", invite, "new"]) == 1
    line = last_line(capsys)
    assert line.startswith("error[config]: ")
    assert "broken" not in line
    assert not Path("new").exists()


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gossipsync", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, **options)  # type: ignore[call-overload, no-any-return]


def test_it_runs_as_a_module_and_says_its_version() -> None:
    from gossipsync import __version__

    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"gossipsync {__version__}\n", "")


def test_help_imports_neither_trio_nor_cryptography_nor_rich() -> None:
    code = (
        "import sys, json\n"
        "from gossipsync.cli import main\n"
        "main(['--help'])\n"
        "print(json.dumps([m for m in ('trio', 'cryptography', 'rich') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_a_closed_pipe_is_quiet() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "gossipsync", "keygen"],
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=20,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
