"""A worker: one process that becomes a peer and does what it is told, a line of JSON each way.

Everything it does to the mesh goes through `gossipsync.open` and what that gives, as an application's would.

Invariant: it ends, and closes its peer, when its standard input does.
"""

import gc
import time
from collections.abc import Iterator
from typing import Any

import gossipsync
import gossipsync.embed._start  # what `open` imports at first use, so that no benchmark measures it
from _bench._obeying import obey

_BUCKET = "updates"
_PAD = bytes(range(256)) * 4


class Commands:
    """What a worker can be told; each method's return value is the answer."""

    def __init__(self) -> None:
        self._mesh: gossipsync.Mesh | None = None

    @property
    def mesh(self) -> gossipsync.Mesh:
        """The peer, once `open` was told."""
        assert self._mesh is not None
        return self._mesh

    def open(self, **settings: Any) -> dict[str, object]:
        """Become a peer."""
        began_s = time.monotonic()
        self._mesh = gossipsync.open(**settings)
        self._mesh.start()
        return {"address": self._mesh.address, "open_s": time.monotonic() - began_s}

    def close(self) -> None:
        """Be one no more. Idempotent."""
        if self._mesh is not None:
            self._mesh.close()

    def settle(self, members: int) -> None:
        """Wait until this many members are alive and nothing is known to be lacking."""
        self.mesh.wait_members(members, timeout=60)
        self.mesh.wait_synced(timeout=60)

    def write(self, prefix: str, count: int, size: int) -> str:
        """As many writes of `size` bytes as fast as may be; a token for all of them."""
        bucket = self.mesh.bucket(_BUCKET)
        for number in range(count):
            key = f"{prefix}{number:05d}"
            bucket[key] = key.encode() + _PAD[: size - len(key)]
        return self.mesh.token()

    def write_sessions(self, prefix: str, count: int) -> str:
        """Sessions of 1 KiB, written whole; a token for all of them."""
        bucket = self.mesh.bucket("sessions", kind="map", ttl=1800, deletes="final")
        cart = "x" * 980
        for number in range(count):
            bucket[f"{prefix}{number:05d}"] = {"user": number, "cart": cart}
        return self.mesh.token()

    def write_paced(self, count: int, per_s: float) -> None:
        """Writes that each carry the moment of writing, at a steady pace."""
        bucket = self.mesh.bucket(_BUCKET)
        began_s = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, began_s + number / per_s - time.monotonic()))
            bucket[f"paced{number}"] = time.monotonic_ns()

    def watch(self, count: int) -> Iterator[object]:
        """Answer once when watching, and then with each write's age when it was seen, in ms."""
        changes = self.mesh.bucket(_BUCKET).watch("paced", since="now", timeout=30)
        yield None
        lags_ms = []
        for change in changes:
            lags_ms.append((time.monotonic_ns() - change.value) / 1e6)
            if len(lags_ms) == count:
                break
        yield lags_ms

    def wait_for(self, tokens: list[str]) -> float:
        """Wait until all that these stand for is here; the moment, on the machine's monotonic clock."""
        for token in tokens:
            self.mesh.wait_for(token, timeout=80)
        return time.monotonic()

    def usage(self) -> dict[str, float]:
        """What this process has used so far."""
        traffic = self.mesh.status().traffic
        return {"cpu_s": time.process_time(), "monotonic_s": time.monotonic()} | dict(traffic)

    def memory(self) -> dict[str, float]:
        """Resident memory in MB, at its peak and now."""
        gc.collect()
        with open("/proc/self/status") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        return {
            "peak_mb": int(fields["VmHWM"].split()[0]) / 1000,
            "now_mb": int(fields["VmRSS"].split()[0]) / 1000,
        }


if __name__ == "__main__":
    commands = Commands()
    obey(commands)
    commands.close()
