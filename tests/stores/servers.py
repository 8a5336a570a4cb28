"""Real servers for the tests, in a folder and on a unix socket of their own; they end with the test run."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

_BOUND_S = 60


class RealRedis:
    """A Redis that flushes before it answers."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.skip("redis-server is not installed: apt-get install redis-server")
        pytest.importorskip("redis")
        self._folder = folder
        self._command = [
            binary, "--port", "0", "--unixsocket", str(folder / "s"), "--dir", str(folder), "--appendonly", "yes",
            "--appendfsync", "always", "--save", "", "--logfile", str(folder / "log"),
        ]  # fmt: skip
        self.url = f"unix://{folder}/s"
        self.start()

    def start(self, *options: str) -> None:
        self._process = subprocess.Popen([*self._command, *options], stdin=subprocess.DEVNULL)
        answers_soon(self.command, "PING")

    def command(self, *words: object):
        import redis

        connection = redis.Redis.from_url(self.url)
        try:
            return connection.execute_command(*words)
        finally:
            connection.close()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(_BOUND_S)

    def cut_connections(self) -> None:
        self.command("CLIENT", "KILL", "TYPE", "normal")

    def stop(self) -> None:
        self.kill()


class RealPostgres:
    """A PostgreSQL cluster; as root it is run by the user postgres, since it refuses to be run by root."""

    def __init__(self, folder: Path) -> None:
        found = sorted(
            Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
        )
        binary = shutil.which("initdb")
        binaries = found[-1] if found else Path(binary).parent if binary else None
        if binaries is None:
            pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
        pytest.importorskip("psycopg")
        self._folder = folder
        self._binaries = binaries
        self._as = (
            {"user": "postgres", "group": "postgres", "extra_groups": []}
            if os.geteuid() == 0
            else {}
        )
        if self._as:
            shutil.chown(folder, "postgres", "postgres")
        subprocess.run(
            [binaries / "initdb", "-D", folder / "d", "-U", "gossip", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"],
            check=True, cwd=folder, capture_output=True, timeout=_BOUND_S, **self._as,
        )  # fmt: skip
        self.url = f"postgresql://gossip@/postgres?host={folder}"
        self.start()

    def start(self, *options: str) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._folder / "d", "-k", self._folder, "-c", "listen_addresses=", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder, **self._as,
            )  # fmt: skip
        answers_soon(self.command, "SELECT 1")

    def command(self, statement: str):
        import psycopg

        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def kill(self) -> None:
        self._process.send_signal(
            signal.SIGQUIT
        )  # an immediate shutdown, which recovers at the next start
        self._process.wait(_BOUND_S)

    def cut_connections(self) -> None:
        self.command(
            f"SELECT pg_terminate_backend(pid, {_BOUND_S * 1000}) FROM pg_stat_activity WHERE application_name = 'gossipsync'"
        )

    def stop(self) -> None:
        self.kill()


RealServer = RealRedis | RealPostgres
KINDS: dict[str, type[RealServer]] = {"redis": RealRedis, "postgres": RealPostgres}
_running: dict[str, RealServer] = {}
_folders: list[Path] = []


def running(kind: str) -> RealServer:
    """The run's one server of this kind. Skips where it is not installed."""
    if kind not in _running:
        _running[kind] = KINDS[kind](folder())
    return _running[kind]


def folder() -> Path:
    """Short, for the path of a unix socket has at most 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="gossipsync-test-", dir="/tmp"))
    _folders.append(made)
    return made


def stop_all() -> None:
    while _running:
        _running.popitem()[1].stop()
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)


def answers_soon(ask, *words) -> None:
    end = time.monotonic() + _BOUND_S
    while True:
        try:
            ask(*words)
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)  # another process starts: there is nothing to wait on
        else:
            return
