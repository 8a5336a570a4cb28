"""The demo's peers: real `gossipsync run` processes, asked over their control sockets.

Invariant: a process that was started here is ended here, by its own process id.
"""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar, Final

from gossipsync.cli._caller import Caller
from gossipsync.cli._values import to_json
from gossipsync.core.model.values import decode_value, encode_value
from gossipsync.errors import GossipsyncError

__all__ = ["DemoFailedError", "DemoPeer"]

_END_S: Final = 15.0
_LOG_LINES: Final = 8


class DemoFailedError(GossipsyncError):
    """The mesh did not do what the demo says it does.

    Fault: gossipsync's, or this machine's. State: the demo's processes and files are gone. Next: report
    it with what was printed.
    """

    code: ClassVar[str] = "demo"


class DemoPeer:
    """One peer: its settings in a folder, its process while it runs."""

    def __init__(self, folder: Path, name: str, key_file: Path) -> None:
        self.name = name
        self.address = ""
        self.pid: int | None = None
        self._folder = folder / name
        self._key_file = key_file
        self._process: subprocess.Popen[bytes] | None = None
        self._caller: Caller | None = None

    @property
    def is_running(self) -> bool:
        """Whether its process was started and has not been ended by us."""
        return self.pid is not None

    def start(self, seeds: tuple[str, ...]) -> None:
        """Start the process; `await_ready` waits for it."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        config = self._folder / "gossipsync.toml"
        config.write_text(_config(self.name, self._key_file, seeds))
        # Settings of the user's own mesh must not reach the demo's.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GOSSIPSYNC_")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter and package
                [sys.executable, "-m", "gossipsync", "run", "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the demo, which then ends its peers in order
            )
        self.pid = self._process.pid

    def await_ready(self, deadline_s: float) -> None:
        """Wait for the line that says it serves. Raises DemoFailedError."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            left_s = max(0.0, deadline_s - time.monotonic())
            if not select.select([process.stdout], [], [], left_s)[0]:
                raise self._failure("did not become ready in time")
            data = os.read(process.stdout.fileno(), 4096)
            if not data:
                raise self._failure("ended before it was ready")
            line += data
        words = dict(word.split("=", 1) for word in line.decode().split() if "=" in word)
        self.address = words["address"]

    def kill(self) -> None:
        """SIGKILL: no goodbye, no flush."""
        if self._process is not None:
            self._process.kill()
            self._forget()

    def stop(self) -> bool:
        """SIGTERM, and SIGKILL if that does not end it; True if it ended well by itself."""
        if self._process is None:
            return True
        self._process.terminate()
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = -1
        self._forget()
        return code == 0

    def ask(
        self, operation: str, *, waits_s: float = 0.0, **arguments: object
    ) -> dict[str, object]:
        """An operation's result. Raises DemoFailedError."""
        try:
            if self._caller is None:
                self._caller = Caller(self._folder / "data" / "control.sock")
            result = self._caller.ask(operation, waits_s=waits_s, **arguments)
        except GossipsyncError as error:
            raise self._failure(f"failed at {operation}: {error}") from error
        return result if isinstance(result, dict) else {}

    def put(self, bucket: str, key: str, value: object, ack: int | str = "self") -> str:
        """Store a value; the token that stands for it."""
        receipt = self.ask(
            "put", waits_s=10, bucket=bucket, key=key, value=encode_value(value), ack=ack
        )
        return str(receipt["token"])

    def get(self, bucket: str, key: str) -> str | None:
        """A value as JSON; None if the key is absent."""
        result = self.ask("get", bucket=bucket, key=key)
        raw = result["value"]
        return to_json(decode_value(raw)) if isinstance(raw, bytes) else None

    def status(self) -> dict[str, object]:
        """What `gossipsync status -o json` prints."""
        return self.ask("status")

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def _forget(self) -> None:
        process, self._process, self.pid = self._process, None, None
        if self._caller is not None:
            self._caller.close()
            self._caller = None
        if process is not None:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _failure(self, what: str) -> DemoFailedError:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        said = " | ".join(lines[-_LOG_LINES:]) or "nothing"
        return DemoFailedError(f"peer {self.name} {what}; its log says: {said}")


def _config(name: str, key_file: Path, seeds: tuple[str, ...]) -> str:
    lines = {
        "name": name,
        "data_dir": "data",
        "listen": "127.0.0.1:0",
        "cluster_key_file": str(key_file),
        "seeds": list(seeds),
    }
    top = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    return top + '[buckets.sessions]\nkind = "map"\nttl = "30m"\ndeletes = "final"\n'
