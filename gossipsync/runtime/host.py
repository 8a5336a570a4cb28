"""The engine's thread: trio in the background of a program of any flavour.

A blocked event loop must not stall gossip, and a program of plain threads has no loop at all; so the
engine always gets a thread of its own, also beside asyncio and trio. It is a daemon thread: a program
that ends without closing is not kept alive, an atexit hook closes for it.

Invariant: "started" and then "ended" come exactly once, whatever happens; from the first on either
`engine` or `error` is set.
"""

import logging
from collections.abc import Callable
from threading import Lock, Thread
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

    def __init__(self, build: Callable[[], Engine]) -> None:
        self.engine: Engine | None = None
        self.error: BaseException | None = None
        self._build = build
        self._started = _Moment()
        self._ended = _Moment()
        self._thread = Thread(target=self._main, name="gossipsync", daemon=True)

    def start(self) -> None:
        """Begin to build and run."""
        self._thread.start()

    def when_started(self, call: Callable[[], None]) -> None:
        """Have `call` made when the engine serves, or never will: in its thread, or here if it is past."""
        self._started.then(call)

    def when_ended(self, call: Callable[[], None]) -> None:
        """Have `call` made when the engine has ended: in its thread, or here if it is past."""
        self._ended.then(call)

    @property
    def is_alive(self) -> bool:
        """Whether the thread has been started and has not ended."""
        return self._thread.is_alive()

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
            self._started.come()
            self._ended.come()

    async def _run(self, engine: Engine) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda *, task_status: engine.run(task_status=task_status))
            self.engine = engine
            self._started.come()

    def _fail(self, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if not isinstance(error, GossipsyncError):
            _log.error("the engine has ended by a bug", exc_info=error)
            cause, error = error, InternalError(f"the engine has ended: {error!r}")
            error.__cause__ = cause
        self.error = error


class _Moment:
    """Something that happens once, and what is to be done then."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._has_come = False
        self._calls: list[Callable[[], None]] = []

    def then(self, call: Callable[[], None]) -> None:
        with self._lock:
            if not self._has_come:
                self._calls.append(call)
                return
        call()

    def come(self) -> None:
        with self._lock:
            if self._has_come:
                return
            self._has_come = True
        for call in self._calls:
            call()
