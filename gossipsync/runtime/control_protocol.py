"""The control socket's protocol, without I/O: frames, requests, replies, and where the socket is.

A peer answers questions from this machine on a unix socket. Both ends use this module: the peer
through trio, the command line through blocking sockets, so it imports neither::

    frame    length (4 bytes, big-endian) then one strict CBOR value
    request  [1, operation, {argument: value}]
    reply    [0, result] the end · [1, code, message, {detail: value}] failed · [2, part] more follows

One request at a time: the caller sends the next one after the end of the reply. Application values
travel as encoded bytes, so that this protocol allows no CBOR tags.

Invariant: no frame is buffered beyond the limit its reader names, and nothing that is not canonical
CBOR of the promised shape gets past `parse_request` and `parse_reply`.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from attrs import frozen

from gossipsync import errors
from gossipsync.core.model import strict
from gossipsync.core.model.strict import MalformedError
from gossipsync.errors import (
    AckTimeoutError,
    ConfigError,
    GossipsyncError,
    InternalError,
    LocalError,
)

__all__ = [
    "MAX_REPLY_BYTES",
    "MAX_REQUEST_BYTES",
    "AbsentKeyError",
    "Done",
    "Failed",
    "Frames",
    "MalformedError",
    "OtherVersionError",
    "Part",
    "Reply",
    "Request",
    "check_socket_path",
    "frame",
    "parse_reply",
    "parse_request",
    "socket_path",
]

VERSION: Final = 1
MAX_REQUEST_BYTES: Final = 1 << 20
"""What a caller may make a peer buffer: the largest value and its key, with room to spare."""
MAX_REPLY_BYTES: Final = 64 << 20
"""What a peer may make a caller buffer: the vectors of a very large mesh; lists come in parts."""
MAX_PATH_BYTES: Final = 107
"""A unix socket's path in `sockaddr_un`, without its final zero."""
_LENGTH_BYTES: Final = 4
_MAX_DEPTH: Final = 12


class AbsentKeyError(LocalError):
    """A key that the operation needs is absent.

    Fault: the caller's, or somebody deleted it meanwhile. State: nothing was written. Next: put the
    whole value first. In Python this is a plain KeyError; here it needs a code to travel under.
    """

    code = "absent"


class OtherVersionError(LocalError):
    """The caller speaks another control protocol than this peer.

    Fault: neither's; the command line and the peer are of different installations. State: nothing was done.
    Next: call the peer with the command line of its own installation, or restart it with this one.
    """

    code = "version"

    def __init__(self, theirs: int) -> None:
        super().__init__(
            f"the caller speaks control protocol {theirs}, this peer speaks {VERSION}: use the gossipsync that the peer was "
            "started with, or restart the peer with this one"
        )


class SocketSettings(Protocol):
    """The settings that say where a peer's control socket is."""

    @property
    def socket(self) -> Path | None: ...
    @property
    def data_dir(self) -> Path | None: ...
    @property
    def name(self) -> str: ...


@frozen
class Request:
    """One question to a peer."""

    operation: str
    arguments: Mapping[str, object]

    def encoded(self) -> bytes:
        """As one frame. Raises MalformedError for what CBOR cannot carry."""
        return frame([VERSION, self.operation, dict(self.arguments)])


@frozen
class Done:
    """The end of a reply that succeeded."""

    result: object

    def encoded(self) -> bytes:
        """As one frame."""
        return frame([0, self.result])


@frozen
class Failed:
    """The end of a reply that failed: an error with its stable code."""

    code: str
    message: str
    details: Mapping[str, object]

    @classmethod
    def of(cls, error: GossipsyncError) -> "Failed":
        """What crosses the socket of an error."""
        details: dict[str, object] = {}
        if isinstance(error, AckTimeoutError):
            details = {"acked_by": list(error.acked_by), "needed": error.needed}
        return cls(error.code, str(error), details)

    def encoded(self) -> bytes:
        """As one frame; a message that is no valid text is mended, never refused."""
        message = self.message.encode(errors="backslashreplace").decode()
        return frame([1, self.code, message, dict(self.details)])

    def error(self) -> GossipsyncError:
        """The error as it was raised at the peer."""
        match self.details:
            case {"acked_by": [*peers], "needed": int(needed)} if self.code == AckTimeoutError.code:
                return AckTimeoutError(self.message, acked_by=tuple(map(str, peers)), needed=needed)
        known = _ERRORS.get(self.code)
        if known is None or known is AckTimeoutError:
            return InternalError(f"{self.message} (code {self.code}, of another version)")
        return known(self.message)


@frozen
class Part:
    """One part of a reply that comes in several."""

    value: object

    def encoded(self) -> bytes:
        """As one frame."""
        return frame([2, self.value])


Reply = Done | Failed | Part


def parse_request(body: bytes) -> Request:
    """Raises OtherVersionError for one of another control protocol, MalformedError for anything else but a request."""
    match _decode(body):
        case [int(version), str(operation), dict() as arguments] if version == VERSION:
            return Request(operation, _checked(arguments))
        case [int(version), *_] if version != VERSION:
            raise OtherVersionError(version)
    raise MalformedError("not a request of this version")


def parse_reply(body: bytes) -> Reply:
    """Raises MalformedError unless it is a reply."""
    match _decode(body):
        case [0, result]:
            return Done(result)
        case [1, str(code), str(message), dict() as details]:
            return Failed(code, message, _checked(details))
        case [2, part]:
            return Part(part)
        case _:
            raise MalformedError("not a reply of this version")


def frame(obj: object) -> bytes:
    """One strict CBOR value behind its length. Raises MalformedError for what CBOR cannot carry."""
    try:
        body = strict.encode(obj)
    except (ValueError, TypeError) as error:
        raise MalformedError(f"cannot be sent: {error}") from error
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class Frames:
    """Cuts a byte stream into frames, holding at most one frame of `limit` bytes and what came with it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that are complete now. Raises MalformedError for a frame over the limit."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH_BYTES:
            size = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
            if size > self._limit:
                raise MalformedError(f"a frame of {size} bytes; the limit is {self._limit}")
            end = _LENGTH_BYTES + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH_BYTES:end])
            del self._buffer[:end]
            yield body

    @property
    def is_empty(self) -> bool:
        """Whether no part of a further frame has come."""
        return not self._buffer


def socket_path(settings: SocketSettings) -> Path:
    """Where a peer with these settings listens, and where the command line looks for it."""
    if settings.socket is not None:
        return settings.socket
    if settings.data_dir is not None:
        return settings.data_dir / "control.sock"
    import platformdirs.api

    # Only what a file name may hold: a name may have a slash, or be as long as it likes.
    name = "".join(c if (c.isascii() and c.isalnum()) or c in "-_." else "_" for c in settings.name)
    with warnings.catch_warnings():
        # Where the user has no runtime folder (containers, cron) it warns of the one below /tmp that we then use.
        warnings.simplefilter("ignore", platformdirs.api.RuntimeDirWarning)
        folder = Path(platformdirs.user_runtime_dir("gossipsync", appauthor=False))
    return folder / f"{name.lstrip('.')[:48] or 'peer'}.sock"


def check_socket_path(path: Path) -> bytes:
    """The path as the kernel takes it. Raises ConfigError if it is too long for a unix socket."""
    raw = os.fsencode(path.absolute())
    if len(raw) > MAX_PATH_BYTES:
        raise ConfigError(
            f"the control socket's path has {len(raw)} bytes, and unix sockets allow"
            f" {MAX_PATH_BYTES}: {path}; set `socket` to a shorter path, such as /run/gossipsync/a.sock"
        )
    return raw


_ERRORS: Final[Mapping[str, type[GossipsyncError]]] = {
    AbsentKeyError.code: AbsentKeyError,
    "version": LocalError,
    **{
        error.code: error
        for error in map(vars(errors).__getitem__, errors.__all__)
        if isinstance(error, type) and issubclass(error, GossipsyncError)
    },
}


def _checked(arguments: dict[object, object]) -> dict[str, object]:
    checked = {key: value for key, value in arguments.items() if type(key) is str}
    if len(checked) < len(arguments):
        raise MalformedError("argument names must be text")
    return checked


def _decode(body: bytes) -> object:
    message = _thawed(strict.decode(body, _MAX_DEPTH))
    if isinstance(message, list) and message and type(message[0]) is int:  # not a bool
        return message
    raise MalformedError("not a message")


def _thawed(obj: object) -> object:
    """The strict decoder's immutable values as plain lists and dicts."""
    if isinstance(obj, Mapping):
        return {key: _thawed(part) for key, part in obj.items()}
    if isinstance(obj, tuple):
        return [_thawed(part) for part in obj]
    return obj
