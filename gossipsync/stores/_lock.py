"""One process a data folder: an exclusive lock on `data_dir/lock`, which holds the owner's pid for people to read.

`flock` and not a pid file, because the system gives it up however the process ends. Invariant: a forked child never
releases the parent's lock, and never keeps it alive after the parent has gone.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path

from gossipsync.errors import StoreLockedError
from gossipsync.stores._faults import system_calls


class FolderLock:
    """The lock on a data folder, taken at once. Raises StoreLockedError, or StoreError where the folder cannot be used."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        with system_calls(self._path):
            self._open()

    def _open(self) -> None:
        # Unbuffered: what is written is there for the reader in the other process.
        file = FileIO(self._path, "r+", opener=_open_private)
        try:
            self._lock(file)
        except BaseException:
            file.close()
            raise
        self._file = file

    def _lock(self, file: FileIO) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = file.read(20).decode("ascii", "replace").strip()
            holder = f"process {pid}" if pid.isdecimal() else "another process"
            raise StoreLockedError(
                f"{self._path.parent} is in use by {holder}; stop that, or give this peer a data_dir of its own"
            ) from error
        file.truncate(0)
        file.write(b"%d\n" % os.getpid())

    def renew(self) -> None:
        """Take the lock again if its file was removed or replaced. Raises StoreLockedError, OSError."""
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno())):
                return
        former = self._file
        self._open()
        former.close()

    def release(self) -> None:
        """Let others have the folder. Idempotent."""
        if not self._file.closed:
            # Closing alone would leave it locked while a child forked behind Python's back has the file open.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._file.close()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's lock without releasing it."""
        self._file.close()


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o600)
