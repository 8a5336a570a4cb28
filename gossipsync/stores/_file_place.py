"""Place of a journal: whether the files at its path are still those that a connection has open.

A file that is replaced by `mv` or removed stays open in this process, and commits would go on into a file that no later start
finds. The device and inode of both files tell, at the cost of two `stat` calls a commit.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_Identity = tuple[int, int]


class FilePlace:
    """The journal and its write-ahead log, as they were when they were opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal_path = path.with_name(path.name + "-wal")
        self._file = _identity_of(path)
        self._wal: _Identity | None = None

    def note_wal(self) -> None:
        """A commit was made, so that there is a write-ahead log now."""
        if self._wal is None:
            self._wal = _identity_of(self._wal_path)

    def has_changed(self) -> bool:
        """Whether another file, or none, is at either path."""
        return _identity_of(self._path) != self._file or (
            self._wal is not None and _identity_of(self._wal_path) != self._wal
        )

    def has_file(self) -> bool:
        """Whether the journal itself is still at its path."""
        return _identity_of(self._path) == self._file

    def set_aside_wal(self) -> None:
        """Rename a write-ahead log that does not belong to the journal that is there now. Raises OSError."""
        found = _identity_of(self._wal_path)
        # Ours belongs to our file, and another one to another file.
        if found is not None and (found == self._wal) != self.has_file():
            self._wal_path.replace(self._wal_path.with_name(self._wal_path.name + ".aside"))


def _identity_of(path: Path) -> _Identity | None:
    with suppress(OSError):
        about = os.stat(path)
        return about.st_dev, about.st_ino
    return None
