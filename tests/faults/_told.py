"""A peer that is embedded in a program, and does to itself what it is told on stdin: `python _told.py CONFIG`.

For faults that only the process itself can arrange: its clock steps, its kernel refuses to flush files.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from pathlib import Path
from time import monotonic, time_ns
from typing import TYPE_CHECKING

import gossipsync
from gossipsync.core import Now
from gossipsync.runtime.sources import load_settings

if TYPE_CHECKING:
    from tests.processes._peers import PeerProcess

FLUSHES = {"x86_64": (74, 75), "aarch64": (82, 83)}
"""Numbers of the system calls fsync and fdatasync."""
_SECCOMP = {"x86_64": 317, "aarch64": 277}


class ToldPeer:
    """A peer that runs this program instead of `gossipsync run`."""

    def __init__(self, peer: "PeerProcess") -> None:
        self.peer = peer
        peer.program = [sys.executable, __file__, str(peer.config)]

    def tell(self, *words: object) -> None:
        """Have something done, and wait until it is."""
        process = self.peer.process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"done\n", self.peer.log


class SteppingClock:
    """The machine's clocks, of which the wall clock is set by hand."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def now(self) -> Now:
        return Now(monotonic(), self.wall_ms())

    def wall_ms(self) -> int:
        return time_ns() // 1_000_000 + round(self.offset_s * 1000)


def refuse_flushes() -> None:
    """From now on fsync and fdatasync fail with EIO in every thread of this process, by a filter in the kernel."""
    libc = ctypes.CDLL(None, use_errno=True)
    machine = platform.machine()
    load_number, jump_if_equal, answer = 0x20, 0x15, 0x06
    fsync, fdatasync = FLUSHES[machine]
    steps = [
        (load_number, 0, 0, 0),
        (jump_if_equal, 1, 0, fsync),
        (jump_if_equal, 0, 1, fdatasync),
        (answer, 0, 0, 0x0005_0000 | errno.EIO),
        (answer, 0, 0, 0x7FFF_0000),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    no_new_privileges, set_filter, all_threads = 38, 1, 1
    assert libc.prctl(no_new_privileges, 1, 0, 0, 0) == 0
    assert libc.syscall(_SECCOMP[machine], set_filter, all_threads, program) == 0, os.strerror(
        ctypes.get_errno()
    )


def main(config: str) -> None:
    clock = SteppingClock()
    settings = load_settings(Path(config))
    with gossipsync.Mesh(settings, clock) as mesh:
        name, peer_id = settings.name, mesh.peer_id
        print(f"ready name={name} address={mesh.address} peer_id={peer_id}", flush=True)
        for line in sys.stdin:
            match line.split():
                case ["clock", offset_s]:
                    clock.offset_s = float(offset_s)
                case ["refuse-flushes"]:
                    refuse_flushes()
                case words:
                    raise ValueError(words)
            print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
