"""A fleet: worker processes that are each a peer of one mesh, told what to do over pipes.

Commands and answers are lines of JSON (`_worker.py`). Nobody polls: an answer is read when it comes, and a watchdog
ends the fleet's own processes when it takes too long, which turns the read into an error.

Invariant: when the block ends, however it ends, no process that it started is left, nor any file.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any

from gossipsync.runtime.trust import keygen

__all__ = ["BenchError", "Fleet", "Worker", "cpu_s", "fleet", "wire_bytes"]

_PATIENCE_S = 90.0
_CLOSE_S = 5.0


class BenchError(Exception):
    """A worker failed or took too long."""


class Worker:
    """One process, not yet a peer before `open`."""

    def __init__(self, name: str, folder: Path, module: str) -> None:
        self.name = name
        self.address = ""
        self._folder = folder / name
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"_bench.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},  # for control sockets
        )

    def send(self, command: str, **arguments: object) -> None:
        """Tell it to do something; the answer is to be read with `answer`."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps([command, arguments]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise BenchError(f"worker {self.name} has ended") from None

    def answer(self) -> Any:
        """What it answers next. Raises BenchError."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BenchError(f"worker {self.name} failed or was ended because all took too long")
        return json.loads(line)

    def call(self, command: str, **arguments: object) -> Any:
        """Tell it and read the answer."""
        self.send(command, **arguments)
        return self.answer()

    def open(self, cluster_key: str, seeds: list[str], *, is_durable: bool) -> dict[str, float]:
        """Become a peer; answers how long that took. Durable: SQLite in a folder that stays for the next `open`."""
        settings = {"name": self.name, "cluster_key": cluster_key, "listen": "127.0.0.1:0"}
        folder = str(self._folder) if is_durable else None
        answer = self.call("open", **settings, seeds=seeds, data_dir=folder)
        self.address = answer["address"]
        return answer

    def end(self) -> None:
        """Close the peer and wait for the process, which is killed if it does not end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Fleet(list[Worker]):
    """The workers of one mesh."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster_key = keygen()

    def open(self, *, is_durable: bool = False) -> None:
        """Make all of them peers of one mesh, and wait until each knows all."""
        first, *others = self
        first.open(self.cluster_key, [], is_durable=is_durable)
        for worker in others:
            worker.open(self.cluster_key, [first.address], is_durable=is_durable)
        self.call("settle", members=len(self))

    def call(self, command: str, **arguments: object) -> list[Any]:
        """Tell all at once; their answers when all have answered."""
        for worker in self:
            worker.send(command, **arguments)
        return [worker.answer() for worker in self]


@contextmanager
def fleet(
    size: int, *, module: str = "_worker", patience_s: float = _PATIENCE_S
) -> Iterator[Fleet]:
    """That many fresh processes, and their end; `module` says what each can be told."""
    workers = Fleet()
    watchdog = Timer(patience_s, lambda: [worker.process.kill() for worker in workers])
    watchdog.daemon = True
    with TemporaryDirectory(prefix="gossipsync-bench-") as folder:
        try:
            for number in range(size):
                workers.append(Worker(f"peer{number}", Path(folder), module))
            watchdog.start()
            for worker in workers:
                worker.answer()  # it has imported everything
            yield workers
        finally:
            watchdog.cancel()
            for worker in workers:
                assert worker.process.stdin is not None
                try:
                    worker.process.stdin.close()
                except BrokenPipeError:
                    pass
            for worker in workers:
                worker.end()


def cpu_s(before: list[Any], after: list[Any]) -> float:
    """CPU seconds of all threads of all processes between two rounds of `usage`."""
    return sum(late["cpu_s"] - early["cpu_s"] for early, late in zip(before, after, strict=True))


def wire_bytes(before: list[Any], after: list[Any]) -> int:
    """Bytes sent by all processes between two rounds of `usage`: frames, without TLS's 22 a 16 KiB."""
    return sum(
        late["sent_bytes"] - early["sent_bytes"] for early, late in zip(before, after, strict=True)
    )
