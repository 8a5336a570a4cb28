"""TCP, and why a connection did not come up: the one error for TCP, TLS and what lies between.

trio sets TCP_NODELAY on every socket stream, so a small frame leaves at once.

Invariant: no OSError of a socket, and no time-out of ours, passes this module under another name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from socket import gaierror

import trio

from gossipsync.core.model.address import join_address
from gossipsync.errors import TransportError

__all__ = [
    "HandshakeError",
    "HandshakeReason",
    "connect",
    "deadline",
    "listen_tcp",
    "socket_address",
]

_BACKLOG = 128


class HandshakeReason(StrEnum):
    """Why a connection did not come up; the values are names of counters and never change."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NAME = "name-not-found"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    PLAIN_TEXT = "plain-text"
    TLS_VERSION = "tls-version"
    CERTIFICATE = "certificate"
    CERTIFICATE_EXPIRED = "certificate-expired"
    TLS = "tls"
    HALF_OPEN = "half-open"
    ENROL_ONLY = "enrol-only"
    ENROLLED = "enrolled"


class HandshakeError(TransportError):
    """A connection did not come up; `reason` says why.

    Fault: as the reason says. State: the connection is closed, nothing was believed. Next: try again
    later, or correct the address or the credentials.
    """

    code = "handshake"

    def __init__(self, reason: HandshakeReason, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the reason when the exception crosses a process border."""
        return (HandshakeError, (self.reason, str(self).partition(": ")[2]))


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise HandshakeError if the block takes longer."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as error:
        message = f"no connection within {seconds:g} s"
        raise HandshakeError(HandshakeReason.TIMEOUT, message) from error


async def connect(host: str, port: int) -> trio.SocketStream:
    """A TCP connection. Raises HandshakeError."""
    where = join_address(host, port)
    try:
        return await trio.open_tcp_stream(host, port)
    except gaierror as error:
        raise HandshakeError(HandshakeReason.NAME, f"{where}: {error.strerror}") from error
    except (OSError, ValueError) as error:
        is_refused = any(isinstance(each, ConnectionRefusedError) for each in _causes(error))
        reason = HandshakeReason.REFUSED if is_refused else HandshakeReason.UNREACHABLE
        raise HandshakeError(reason, f"{where}: {error}") from error


async def listen_tcp(host: str, port: int) -> list[trio.SocketListener]:
    """Bound sockets; port 0 takes a free one. Raises TransportError."""
    try:
        return await trio.open_tcp_listeners(port, host=host, backlog=_BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        raise TransportError(f"cannot listen on {join_address(host, port)}: {error}") from error


def socket_address(name: tuple[str | int, ...]) -> str:
    """What getsockname or getpeername returned, as host:port."""
    return join_address(str(name[0]), int(name[1]))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and, where several addresses were tried, what happened to each."""
    yield error
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        yield from cause.exceptions
    elif cause is not None:
        yield cause
