"""Real `gossipsync` processes for tests: each with a folder of its own, ended when the test ends.

Nothing here sleeps: what is waited for is a line on a pipe, the end of a process, or `gossipsync wait`.
"""

import io
import json
import os
import select
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from unittest import mock

from gossipsync.cli import main

DEADLINE_S = 20.0  # far above what anything here takes; a hang must fail, not stall
COMMAND = [sys.executable, "-m", "gossipsync"]


def environment(**extra: str) -> dict[str, str]:
    """This process's environment without settings of gossipsync and of terminals."""
    dropped = ("GOSSIPSYNC_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | extra


def gossipsync(
    *arguments: str | Path, stdin: bytes = b"", **extra: str
) -> subprocess.CompletedProcess[str]:
    """One command to its end, in this process: starting an interpreter for each would take minutes."""
    words = [str(argument) for argument in arguments]
    streams = [io.TextIOWrapper(io.BytesIO(data), encoding="utf-8") for data in (stdin, b"", b"")]
    former = sys.stdin, sys.stdout, sys.stderr
    with mock.patch.dict(os.environ, environment(**extra), clear=True), warnings.catch_warnings():
        try:
            sys.stdin, sys.stdout, sys.stderr = streams
            code = main(words)
        finally:
            sys.stdin, sys.stdout, sys.stderr = former
    out, err = (_content(stream) for stream in streams[1:])
    return subprocess.CompletedProcess(words, code, out, err)


def _content(stream: io.TextIOWrapper) -> str:
    stream.flush()
    raw = stream.detach()
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode()


class PeerProcess:
    """One `gossipsync run`."""

    def __init__(self, folder: Path, name: str, **settings: object) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(mode=0o700)
        self.config = self.folder / "gossipsync.toml"
        self.settings = {"name": name, "data_dir": "data", **settings}
        self.buckets = ""
        self.prefix: list[str] = []
        """What runs the program instead of this process: words to put in front of its command."""
        self.program = [*COMMAND, "run", "-c", str(self.config)]
        self.address = ""
        self.peer_id = ""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / str(self.settings.get("socket", "data/control.sock"))

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def configure(self) -> "PeerProcess":
        lines = [f"{name} = {json.dumps(value)}" for name, value in self.settings.items()]
        self.config.write_text("\n".join([*lines, self.buckets, ""]))
        self.config.chmod(0o600)
        return self

    def start(self, *, is_ready: bool = True, **extra: str) -> "PeerProcess":
        self.configure()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *self.program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(**extra),
            )
        if is_ready:
            self.await_ready()
        return self

    def await_ready(self) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        deadline = time.monotonic() + DEADLINE_S
        line = b""
        while not line.endswith(b"\n"):
            left_s = max(0.0, deadline - time.monotonic())
            assert select.select([self.process.stdout], [], [], left_s)[0], f"not ready: {self.log}"
            data = os.read(self.process.stdout.fileno(), 4096)
            assert data, f"ended before it was ready: {self.log}"
            line += data
        text = line.decode()
        assert text.startswith("ready "), f"{text}: {self.log}"
        words = dict(word.split("=", 1) for word in text.split()[1:])
        self.address, self.peer_id = words["address"], words["peer_id"]
        return text

    def run(
        self, *arguments: str | Path, stdin: bytes = b"", **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """A command that asks this peer."""
        return gossipsync(*arguments, "--socket", self.socket, stdin=stdin, **extra)

    def ok(self, *arguments: str | Path, stdin: bytes = b"") -> str:
        """The stdout of a command that must succeed."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{arguments}: {done.stderr}\n{self.log}"
        return done.stdout

    def json(self, *arguments: str) -> dict[str, object]:
        document = json.loads(self.ok(*arguments, "-o", "json"))
        assert isinstance(document, dict)
        assert document["schema"] == 1
        return document

    def bucket(self, name: str) -> dict[str, object]:
        buckets = self.json("status")["buckets"]
        assert isinstance(buckets, list)
        [found] = [bucket for bucket in buckets if bucket["name"] == name]
        assert isinstance(found, dict)
        return found

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self._end()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """The exit code after a signal, and the seconds it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.await_end()
        return code, time.monotonic() - began

    def await_end(self) -> int:
        assert self.process is not None
        code = self.process.wait(DEADLINE_S)
        self._end()
        return code

    def _end(self) -> None:
        assert self.process is not None
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process = None
