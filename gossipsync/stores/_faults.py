"""SQLite's and the system's errors, said in ours: what happened, to which file, and what to do next.

Why apart: while a file is only read, an error that SQLite calls generic (no such table, a text that does not decode) means
that the file is not what we wrote; while it is written, the same code may mean anything but damage.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gossipsync.errors import StoreCorruptError, StoreError, StoreFullError

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_ENVIRONMENT: Final = _BUSY | {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
"""Primary codes that blame the machine and not the bytes."""
_GOES_ON: Final = (
    "a peer that runs tries again every second, one that could not start is to be started again"
)


UNFINISHED: Final = "this peer's last run ended while it wrote its whole state anew"
"""Doubt about a store that says of itself that it is not whole."""


def behind(place: str) -> str:
    """Message for a store that no longer has the last commit."""
    return (
        f"{place} no longer has what this peer committed last: it was restored from an older copy, replaced or emptied. The peer "
        "writes its whole state there again from memory, and confirms no write before that is done: let it run"
    )


def corrupt(path: Path, what: str) -> StoreCorruptError:
    """The error for bytes that are not what was written."""
    return StoreCorruptError(
        f"{path} is damaged or not ours: {what}. Nothing was changed. Copy {path.name} and {path.name}-wal to a safe place first: "
        f"they may hold writes that no other peer has. Then restore a backup of both, or move {path.name} and {path.name}-wal "
        "aside together and start again; the mesh gives back all that any peer still holds"
    )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Map what SQLite raises while `path` is only read."""
    try:
        yield
    except sqlite3.Error as error:
        code = _code_of(error)
        if code & 0xFF in _ENVIRONMENT and code != sqlite3.SQLITE_IOERR_SHORT_READ:
            raise _of_environment(path, error) from error
        raise corrupt(path, str(error)) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Map what SQLite raises while `path` is written."""
    try:
        yield
    except sqlite3.Error as error:
        if _code_of(error) & 0xFF in _DAMAGED:
            raise corrupt(path, str(error)) from error
        raise _of_environment(path, error) from error


@contextmanager
def system_calls(path: Path) -> Iterator[None]:
    """Map OSError of what is done to `path` without SQLite."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise _full(path, str(error.strerror)) from error
        raise StoreError(
            f"{path} cannot be used: {error.strerror}. Check that data_dir is a folder that user id {os.geteuid()} "
            "may read and write, then start again"
        ) from error


def _of_environment(path: Path, error: sqlite3.Error) -> StoreError:
    code = _code_of(error)
    # The second: no room for the -shm file.
    if code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return _full(path, str(error))
    if code & 0xFF in _BUSY:
        return StoreError(
            f"{path} is held by another program ({error}): end it; the peer tries again"
        )
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StoreError(
        f"{path} cannot be read or written: {error} ({name}). Check the disk, its quota and the file's owner and mode; "
        f"{_GOES_ON}"
    )


def _full(path: Path, why: str) -> StoreFullError:
    return StoreFullError(
        f"no room left for {path} ({why}): make room on its disk or quota; {_GOES_ON}"
    )


def _code_of(error: sqlite3.Error) -> int:
    """The extended result code; SQLITE_ERROR where Python raised it without asking SQLite."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR))
