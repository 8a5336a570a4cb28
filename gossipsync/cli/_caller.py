"""The command line's end of the control socket: blocking, and without trio.

Invariant: a reply that was read in part only (an interrupt, a time-out) ends its connection; the next request opens another.
Nothing is sent to, and nothing believed from, a process of another user: the kernel says who
listens (SO_PEERCRED), and only this user, root, or (for root) anybody is asked.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gossipsync.cli._failures import NoPeerError
from gossipsync.errors import InternalError, NotPermittedError, ValueTooLargeError, ValueTypeError
from gossipsync.runtime.control_protocol import (
    MAX_REPLY_BYTES,
    MAX_REQUEST_BYTES,
    Done,
    Failed,
    Frames,
    MalformedError,
    Part,
    Reply,
    Request,
    check_socket_path,
    parse_reply,
)
from gossipsync.runtime.control_socket import CREDENTIALS_BYTES, uid_in

__all__ = ["Caller", "fields_of"]

_REPLY_TIMEOUT_S: Final = 15.0
"""Longer than any operation that does not wait may take; beyond, the peer counts as stuck."""
_RECEIVE_BYTES: Final = 1 << 16


class Caller:
    """One connection to a local peer; a context that closes it.

    Raises NoPeerError where nobody answers, and what the peer raised as that same error here.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_midway = False
        self._open()

    def _open(self) -> None:
        self._frames = Frames(MAX_REPLY_BYTES)
        self._bodies: Iterator[bytes] = iter(())
        self._socket = _connect(self._path)

    def ask(self, operation: str, /, *, waits_s: float | None = 0.0, **arguments: object) -> object:
        """The result of an operation that may wait `waits_s` (None: for ever) before it answers."""
        limit_s = None if waits_s is None else waits_s + _REPLY_TIMEOUT_S
        for _ in self.parts(operation, limit_s, **arguments):
            raise InternalError(f"{operation} answered in parts")
        return self._result

    def ask_fields(
        self, operation: str, /, *, waits_s: float | None = 0.0, **arguments: object
    ) -> dict[str, object]:
        """The result of an operation that answers with named fields."""
        return fields_of(self.ask(operation, waits_s=waits_s, **arguments))

    def ask_to_end(self, operation: str) -> None:
        """Have the peer end: it answers by hanging up, once it has said goodbye to the others."""
        try:
            self.ask(operation)
        except _HungUpError:
            return

    def parts(
        self, operation: str, /, limit_s: float | None = _REPLY_TIMEOUT_S, **arguments: object
    ) -> Iterator[object]:
        """The parts of a reply that comes in several; `limit_s` of silence is too long."""
        request = _encoded(operation, arguments)
        if self._is_midway:
            # The rest of an interrupted reply would be taken for the reply to this request.
            self._socket.close()
            self._open()
        self._is_midway = True
        self._socket.settimeout(limit_s)
        with self._failures_mapped(), suppress(BrokenPipeError, ConnectionResetError):
            # A peer that turns us away does so at once, and its reason waits to be read.
            self._socket.sendall(request)
        while True:
            with self._failures_mapped():
                reply = self._next_reply()
            match reply:
                case Part(value):
                    yield value
                case Failed():
                    self._is_midway = False
                    raise reply.error()
                case Done(result):
                    self._is_midway = False
                    self._result = result
                    return

    def close(self) -> None:
        """Hang up; whatever the peer was doing for us ends."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _next_reply(self) -> Reply:
        while (body := next(self._bodies, None)) is None:
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                raise _HungUpError(f"the peer on {self._path} hung up before it had answered")
            self._bodies = self._frames.feed(data)
        return parse_reply(body)

    @contextmanager
    def _failures_mapped(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise NoPeerError(f"the peer on {self._path} does not answer") from error
        except OSError as error:
            raise _HungUpError(f"the peer on {self._path} hung up: {error.strerror}") from error
        except MalformedError as error:
            raise InternalError(
                f"the process on {self._path} speaks no control protocol: {error}"
            ) from error


def fields_of(answer: object) -> dict[str, object]:
    """An answer, or a part of one, that is made of named fields."""
    if not isinstance(answer, dict):
        raise InternalError("the peer's answer is not what this version expects")
    return answer


class _HungUpError(NoPeerError):
    pass


def _encoded(operation: str, arguments: Mapping[str, object]) -> bytes:
    try:
        request = Request(operation, arguments).encoded()
    except MalformedError as error:
        raise ValueTypeError("an argument is not valid text; pass UTF-8") from error
    if len(request) > MAX_REQUEST_BYTES:
        raise ValueTooLargeError(
            f"a request of {len(request)} bytes; {MAX_REQUEST_BYTES} are allowed"
        )
    return request


def _connect(path: Path) -> socket.socket:
    raw = check_socket_path(path)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_REPLY_TIMEOUT_S)
        connection.connect(raw)
        _check_listener(connection, path)
    except PermissionError as error:
        connection.close()
        raise NotPermittedError(f"the peer on {path} belongs to another user") from error
    except OSError as error:
        connection.close()
        raise NoPeerError(f"no peer answers on {path}") from error
    except NotPermittedError:
        connection.close()
        raise
    return connection


def _check_listener(connection: socket.socket, path: Path) -> None:
    uid = uid_in(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS_BYTES))
    if os.geteuid() not in {uid, 0} and uid != 0:
        raise NotPermittedError(f"the socket {path} belongs to a process of user {uid}; not asked")
