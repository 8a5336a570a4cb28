"""Opening the control socket's file: who may reach it, and what may already be there.

Three things keep other users out, so that no single slip opens the peer: the folder is its owner's, the
socket file has mode 0600 before anybody can connect, and the kernel is asked who calls.

Invariant: a socket that somebody listens on, and a file that is no socket, are never replaced.
"""

import errno
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from gossipsync.errors import ConfigError
from gossipsync.runtime.control_protocol import check_socket_path

__all__ = ["CREDENTIALS_BYTES", "BoundSocket", "bind_control_socket", "is_welcome", "uid_in"]

_BACKLOG: Final = 64
_PROBE_TIMEOUT_S: Final = 1.0
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid
CREDENTIALS_BYTES: Final = _CREDENTIALS.size


@frozen
class BoundSocket:
    """A listening socket and the file it has."""

    socket: socket.socket
    path: Path
    inode: int

    def close(self) -> None:
        """Stop listening and remove the file, if it is still ours."""
        self.socket.close()
        with suppress(OSError):
            if os.lstat(self.path).st_ino == self.inode:
                os.unlink(self.path)


def bind_control_socket(path: Path, *, is_own_folder: bool) -> BoundSocket:
    """Listen on `path`; blocking, for a worker thread. Raises ConfigError.

    `is_own_folder` says that the folder is gossipsync's (the data folder): it is then closed to others.
    """
    raw = check_socket_path(path)
    try:
        _prepare_folder(path.parent, is_own_folder=is_own_folder)
        with _folder_locked(path.parent):
            _remove_stale(path, raw)
            return _listen(path, raw)
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"cannot open the control socket {path}: {error.strerror}") from error


def uid_in(credentials: bytes) -> int:
    """Who is at the other end, from what the kernel says for SO_PEERCRED."""
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    return int(uid)


def is_welcome(uid: int) -> bool:
    """Whether this user may ask this peer: its own, or root."""
    return uid in {os.geteuid(), 0}


def _prepare_folder(folder: Path, *, is_own_folder: bool) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{folder} is not a folder; set `socket` to a path in one")
    if status.st_uid == os.geteuid() and is_own_folder and status.st_mode & _OTHERS:
        folder.chmod(0o700)
        return
    # In a sticky folder such as /tmp others can add files but not take ours away.
    is_sticky = bool(status.st_mode & stat.S_ISVTX)
    if status.st_mode & _OTHERS_MAY_WRITE and not is_sticky:
        raise ConfigError(
            f"others may write to {folder}, the control socket's; run: chmod 700 {folder}"
        )
    if status.st_uid not in {os.geteuid(), 0}:
        raise ConfigError(
            f"{folder} belongs to another user; set `socket` to a path in your own folder"
        )


@contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Of two that start at once the second sees the first one's socket, not a stale one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: Path, raw: bytes) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise ConfigError(
            f"{path} exists and is no socket; nothing was changed; set `socket` to another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        try:
            probe.connect(raw)
        except ConnectionRefusedError:
            path.unlink()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EACCES} and not isinstance(
                error, TimeoutError
            ):
                raise
    raise ConfigError(
        f"another peer listens on {path}; stop it, or give this one its own data_dir, socket or name"
    )


def _listen(path: Path, raw: bytes) -> BoundSocket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(raw)
        # Nobody can connect before listen(), so the mode is right from the first moment on. The umask
        # would do it in one step, but belongs to the whole process, and threads make files meanwhile.
        path.chmod(0o600)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        return BoundSocket(listener, path, path.lstat().st_ino)
    except BaseException:
        listener.close()
        raise
