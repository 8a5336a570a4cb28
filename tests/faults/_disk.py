"""A small disk of its own for a peer: a tmpfs in a mount namespace that needs no rights of the machine's administrator."""

import os
import subprocess
from pathlib import Path
from typing import Self

import pytest

from tests.processes._peers import DEADLINE_S, PeerProcess

_MOUNT = 'mount -t tmpfs -o size="$1",mode=700 tmpfs "$2" && echo mounted && exec cat'


class SmallDisk:
    """The data folder of one peer on a file system of `size`; it lasts as long as the block, whoever is killed in it."""

    def __init__(self, peer: PeerProcess, size: str) -> None:
        self._folder = peer.folder / "data"
        self._folder.mkdir(mode=0o700)
        peer.settings["socket"] = "control.sock"  # out here, where it can be found
        try:
            self._holder = subprocess.Popen(
                ["unshare", "-rm", "sh", "-c", _MOUNT, "sh", size, str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            pytest.skip("not on this platform: no unshare command")
        peer.prefix = ["nsenter", f"--target={self._holder.pid}", "--user", "--mount"]
        peer.prefix += ["--preserve-credentials", f"--wd={peer.folder}"]

    def __enter__(self) -> Self:
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"mounted\n":
            self.__exit__()
            pytest.skip("not on this platform: no mounts in namespaces of one's own")
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.communicate(timeout=DEADLINE_S)

    @property
    def path(self) -> Path:
        """The folder, seen from here."""
        return Path(f"/proc/{self._holder.pid}/root{self._folder}")

    def fill(self, but_bytes: int) -> None:
        """Leave so much room, or what is left of a page less."""
        disk = os.statvfs(self.path)
        (self.path / "ballast").write_bytes(bytes(disk.f_bavail * disk.f_frsize - but_bytes))

    def make_room(self) -> None:
        (self.path / "ballast").unlink()
