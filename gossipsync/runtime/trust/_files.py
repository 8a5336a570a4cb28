"""Secrets on disk: written whole or not at all, readable by their owner alone.

A crash while a key is written must leave either no file or the whole file, and two processes that
create the same file at once must end with one key, which both use. A file is therefore written beside
its place, flushed, and linked into place, which fails if another process was first. On a file system
without hard links (FAT, some network and FUSE mounts) it is renamed into place, under a lock.

Invariant: no secret is ever on disk with rights for group or others, not even for a moment.
"""

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from gossipsync.errors import ConfigError

__all__ = [
    "MAX_FILE_BYTES",
    "check_private_folder",
    "create_file",
    "flush_folder",
    "is_vacant",
    "read_file",
    "read_secret",
]

MAX_FILE_BYTES = (
    64 * 1024
)  # keys and certificates are below 4 KiB; whatever is larger is none of ours
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NO_LINKS = frozenset(
    {
        errno.EPERM,
        errno.EACCES,
        errno.ENOTSUP,
        errno.EOPNOTSUPP,
        errno.ENOSYS,
        errno.EMLINK,
        errno.EXDEV,
    }
)
"""What `link` fails with on file systems that have no hard links."""


def create_file(path: Path, content: bytes) -> bool:
    """Create the file with mode 0600, durably; False, and nothing changed, if it exists already."""
    beside = path.with_name(f".{path.name}.{token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if not _rename_new(beside, path):
                return False
    finally:
        beside.unlink(missing_ok=True)
    flush_folder(path.parent)
    return True


def _rename_new(beside: Path, path: Path) -> bool:
    """Rename to a path at which nothing is; False, and nothing changed, if something is."""
    lock_path = path.with_name(f".{path.name}.lock")
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        is_first = not os.path.lexists(path)
        if is_first:
            beside.rename(path)
        # Now the path itself keeps others out: the lock is of no use any more, not even to a process that waits for it.
        lock_path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
    return is_first


def flush_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_secret(path: Path) -> bytes:
    """The content of a file that only its owner may read. Raises ConfigError, FileNotFoundError too."""
    return _read(path, is_secret=True)


def read_file(path: Path) -> bytes:
    """The content of a file whose readers do not matter. Raises ConfigError, FileNotFoundError too."""
    return _read(path, is_secret=False)


def check_private_folder(path: Path) -> None:
    """Raise ConfigError unless it is a folder that nobody else may enter."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"cannot read the folder {path}: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise ConfigError(f"{path} is not a folder")
    if mode & _OTHERS:
        raise ConfigError(f"{path} is open to other users; run: chmod 700 {path}")


def is_vacant(path: Path) -> bool:
    """Whether a new folder may take this path: nothing there, or an empty folder."""
    with suppress(FileNotFoundError):
        if not path.is_dir():
            return not path.exists() and not path.is_symlink()
        return not any(path.iterdir())
    return True


def _read(path: Path, *, is_secret: bool) -> bytes:
    try:
        # O_NONBLOCK: a FIFO in the file's place must not hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path} is not a file")
        if is_secret and status.st_mode & _OTHERS:
            raise ConfigError(f"{path} may be read by other users; run: chmod 600 {path}")
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is too large for a key or certificate")
    return content
