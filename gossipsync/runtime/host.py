"""The engine's thread: trio in the background of a program of any flavour.

A blocked event loop must not stall gossip, and a program of plain threads has no loop at all; so the
engine always gets a thread of its own, also beside asyncio and trio. It is a daemon thread: a program
that ends without closing is not kept alive, an atexit hook closes for it.

Invariant: `on_started` and `on_ended` are each called exactly once, in that order, in the engine's
thread, whatever happens; after `on_started` either `engine` or `error` is set.
"""

import logging
from collections.abc import Callable
from threading import Thread
from typing import Final

import trio

from gossipsync.errors import GossipsyncError, InternalError
from gossipsync.runtime.engine import Engine

__all__ = ["CLOSE_S", "EngineThread"]

CLOSE_S: Final = 2.0
"""The longest that a close may take."""
_log = logging.getLogger("gossipsync.engine")


class EngineThread:
    """Builds an engine and runs it, in a thread of its own."""

    def __init__(
        self,
        build: Callable[[], Engine],
        *,
        on_started: Callable[[], None],
        on_ended: Callable[[], None],
    ) -> None:
        self.engine: Engine | None = None
        self.error: BaseException | None = None
        self.has_ended = False
        self._build = build
        self._on_started = on_started
        self._on_ended = on_ended
        self._is_started = False
        self._thread = Thread(target=self._main, name="gossipsync", daemon=True)

    def start(self) -> None:
        """Begin; `on_started` tells when it serves, or that it never will."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread's end; False if it has not ended in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _main(self) -> None:
        try:
            engine = self._build()
            trio.run(self._run, engine)
        except BaseException as error:  # noqa: BLE001 - nothing is above; whoever started it gets it
            self._fail(error)
        finally:
            self.has_ended = True
            if not self._is_started:
                self._tell_started()
            self._on_ended()

    async def _run(self, engine: Engine) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda *, task_status: engine.run(task_status=task_status))
            self.engine = engine
            self._tell_started()

    def _tell_started(self) -> None:
        self._is_started = True
        self._on_started()

    def _fail(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if not isinstance(error, GossipsyncError):
            _log.error("the engine has ended by a bug", exc_info=error)
            cause, error = error, InternalError(f"the engine has ended: {error!r}")
            error.__cause__ = cause
        self.error = error
