"""The control socket's serving side: answers this machine's command line, inside the peer.

Each caller gets a task; the number of callers, the size of what they send, the time they take to send it
and to read the answer are all bounded, so a broken or hostile caller costs a slot for a while and nothing
else. What the operations do is in `control_operations`.

Invariant: garbage ends the connection it came on and touches nothing else, and no caller of another user
gets an answer.
"""

import logging
import os
import socket
from functools import partial
from pathlib import Path
from typing import Final

import trio

from gossipsync.errors import GossipsyncError, InternalError, NotPermittedError, OverloadedError
from gossipsync.runtime.control_arguments import Arguments
from gossipsync.runtime.control_operations import OPERATIONS
from gossipsync.runtime.control_protocol import (
    MAX_REQUEST_BYTES,
    Done,
    Failed,
    Frames,
    MalformedError,
    OtherVersionError,
    Part,
    Reply,
    Request,
    parse_request,
)
from gossipsync.runtime.control_socket import (
    CREDENTIALS_BYTES,
    bind_control_socket,
    is_welcome,
    uid_in,
)
from gossipsync.runtime.control_waits import ServedEngine

__all__ = ["serve"]

_MAX_CALLERS: Final = 32
"""Connections at once: some operators and scripts, not a service's traffic."""
_IDLE_S: Final = 30.0
"""A caller must have sent its next whole request by then."""
_SEND_S: Final = 10.0
"""A caller must have read a frame by then."""
_RECEIVE_BYTES: Final = 1 << 16
_log = logging.getLogger("gossipsync.control")


async def serve(
    engine: ServedEngine,
    path: Path,
    *,
    task_status: trio.TaskStatus[Path] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer callers on the unix socket `path` until cancelled. Raises ConfigError if it cannot be opened."""
    is_own_folder = path.parent == engine.settings.data_dir
    bound = await trio.to_thread.run_sync(
        partial(bind_control_socket, path, is_own_folder=is_own_folder)
    )
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound.socket))
    callers = _Callers(engine)
    try:
        task_status.started(path)
        await trio.serve_listeners(callers.welcome, [listener])
    finally:
        bound.close()


class _Callers:
    """Everybody who is connected at the moment."""

    def __init__(self, engine: ServedEngine) -> None:
        self._engine = engine
        self._count = 0

    async def welcome(self, stream: trio.SocketStream) -> None:
        """Serve one caller to its end; whatever it does, this returns."""
        self._count += 1
        try:
            async with stream:
                await self._serve(stream)
        except (trio.BrokenResourceError, trio.TooSlowError, MalformedError) as error:
            _log.debug("a caller of the control socket was hung up on: %s", type(error).__name__)
        except Exception:  # noqa: BLE001 - a bug met by one caller must not end the peer
            _log.exception("a bug in gossipsync: please report it with this traceback")
        finally:
            self._count -= 1

    async def _serve(self, stream: trio.SocketStream) -> None:
        option = socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS_BYTES
        uid = uid_in(stream.socket.getsockopt(*option))
        if not is_welcome(uid):
            _log.warning("user %d was refused at the control socket", uid)
            refusal = NotPermittedError(
                f"this peer runs as user {os.geteuid()} and does not answer user {uid}"
            )
            await _send(stream, Failed.of(refusal))
            return
        if self._count > _MAX_CALLERS:
            await _send(
                stream, Failed.of(OverloadedError(f"{_MAX_CALLERS} callers are connected already"))
            )
            return
        frames = Frames(MAX_REQUEST_BYTES)
        while (request := await _next_request(stream, frames)) is not None:
            if isinstance(request, Failed):
                await _send(stream, request)
                return
            reply = await self._answer(stream, request)
            if reply is None:
                return
            await _send(stream, reply)

    async def _answer(self, stream: trio.SocketStream, request: Request) -> Done | Failed | None:
        """The end of the reply; None if the caller has gone meanwhile."""
        reply: Done | Failed | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, stream, nursery.cancel_scope)
            reply = await self._carry_out(stream, request)
            nursery.cancel_scope.cancel()
        return reply

    async def _carry_out(self, stream: trio.SocketStream, request: Request) -> Done | Failed | None:
        operation = OPERATIONS.get(request.operation)
        if operation is None:
            known = InternalError(f"this peer's version has no operation {request.operation!r}")
            return Failed.of(known)

        async def send_part(value: object) -> None:
            await _send(stream, Part(value))

        try:
            return Done(await operation(self._engine, Arguments(request.arguments), send_part))
        except GossipsyncError as error:
            return Failed.of(error)
        except (trio.BrokenResourceError, trio.TooSlowError):
            return None  # gone, or not reading, in the middle of an answer in parts
        except Exception:  # noqa: BLE001 - a bug met by one caller must not end the peer
            _log.exception("a bug in gossipsync: please report it with this traceback")
            return Failed.of(InternalError(f"{request.operation} met a bug; the peer's log has it"))


async def _next_request(stream: trio.SocketStream, frames: Frames) -> Request | Failed | None:
    """The next request, or the answer to one that cannot be read; None once the caller has hung up between two."""
    with trio.fail_after(_IDLE_S):
        while True:
            data = await stream.receive_some(_RECEIVE_BYTES)
            if not data:
                return None
            bodies = list(frames.feed(bytes(data)))
            if len(bodies) > 1 or (bodies and not frames.is_empty):
                raise MalformedError("a request before the former one was answered")
            if bodies:
                try:
                    return parse_request(bodies[0])
                except OtherVersionError as error:
                    return Failed.of(error)


async def _send(stream: trio.SocketStream, reply: Reply) -> None:
    try:
        data = reply.encoded()
    except MalformedError:
        _log.exception("a reply could not be encoded")
        data = Failed.of(InternalError("the reply could not be encoded")).encoded()
    with trio.fail_after(_SEND_S):
        await stream.send_all(data)


async def _cancel_when_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """While an answer is being made the caller has nothing to say: anything readable means it is gone.

    Only waits, and reads nothing: a request that follows the answer at once is still all there.
    """
    await trio.lowlevel.wait_readable(stream.socket)
    scope.cancel()
