"""The life of one mesh in this process: started at first use, closed once, begun anew in a forked child.

A web service opens its mesh when it imports its modules and forks its workers afterwards; so nothing is
started before somebody needs it, and a child must forget what its parent had started: the threads are
gone, the locks may be held for ever, and the sockets and files are the parent's.

Invariants: at most one engine a mesh and process; in a forked child nothing of the parent's engine is
used, closed or waited for; `close` takes two seconds at most and can be called twice.
"""

import atexit
import logging
import os
from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING
from weakref import WeakSet

from gossipsync.embed._exits import close_at_child_exit, tell_loss
from gossipsync.embed._sigterm import close_at_sigterm
from gossipsync.embed._waiting import ThreadParker, async_parker
from gossipsync.errors import ClosedError, ConfigError, StoreLockedError

if TYPE_CHECKING:
    from gossipsync.runtime.clock import Clock
    from gossipsync.runtime.engine import Engine
    from gossipsync.runtime.host import EngineThread
    from gossipsync.runtime.settings import Settings

__all__ = ["Life"]

_log = logging.getLogger("gossipsync.engine")
_MARGIN_S = 0.5  # for threads to end after the engine's own two seconds
_OF_PARENT = (
    "this process was forked from one that uses the mesh, and is a peer of its own: open one here with another "
    "data_dir and socket, or with none"
)
_OF_SIBLINGS = (
    "of processes forked from one the first to use the mesh has the folder, and each is a peer of its own: open "
    "one with another data_dir in each, or with none"
)


class Life:
    """Starts, finds and ends the engine of one mesh. Safe in any thread.

    `bind` and `unbind` are called whenever an engine has come or gone: `bind` may raise LocalError, and
    the start then fails with it.
    """

    def __init__(
        self,
        settings: "Settings",
        clock: "Clock",
        bind: Callable[["Engine"], None],
        unbind: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.clock = clock
        self._bind = bind
        self._unbind = unbind
        self._lock = RLock()  # a signal handler may close what this thread is starting
        self._thread: EngineThread | None = None
        self._engine: Engine | None = None
        self._is_closed = False
        self._is_told = False
        """Whether stderr was told of lost writes."""
        self._failure: BaseException | None = None
        self._fork: str | None = None
        """What a forked child is told of a folder that is in use."""
        _lives.add(self)

    @property
    def running(self) -> "Engine | None":
        """The engine, if it runs."""
        return self._engine

    def engine(self) -> "Engine":
        """The engine, started if need be. Raises ClosedError and whatever keeps it from starting."""
        return self._engine or self._start()

    def _start(self) -> "Engine":
        with self._lock:
            if self._engine is not None:
                return self._engine  # another thread was first
            parker = ThreadParker()
            thread = self._begin(parker.wake)
            try:
                parker.park(None)
            except BaseException:  # interrupted: whatever comes up is to go down again
                thread.when_started(lambda: _dismiss(thread))
                raise
            return self._adopt(thread)

    async def start_async(self) -> "Engine":
        """Start without blocking the event loop. The mesh is not yet known to anybody else."""
        parker = async_parker()
        thread = self._begin(parker.wake)
        try:
            await parker.park(None)
        except BaseException:  # cancelled: whatever comes up is to go down again
            thread.when_started(lambda: _dismiss(thread))
            raise
        return self._adopt(thread)

    def _begin(self, on_started: Callable[[], None]) -> "EngineThread":
        from gossipsync.embed._start import build_engine
        from gossipsync.runtime.host import EngineThread

        if self._failure is not None:
            raise self._failure
        if self._is_closed:
            raise ClosedError("this mesh has been closed; open another")
        close_at_sigterm(_close_all)
        close_at_child_exit(_close_all)
        thread = EngineThread(lambda: build_engine(self.settings, self.clock))
        thread.when_started(on_started)
        thread.start()
        return thread

    def _adopt(self, thread: "EngineThread") -> "Engine":
        """Take over an engine that has just started, or raise what kept it from starting."""
        engine = thread.engine
        if engine is None:
            assert thread.error is not None
            if self._fork is not None and isinstance(thread.error, StoreLockedError):
                raise StoreLockedError(f"{thread.error}; {self._fork}") from thread.error
            if self._fork == _OF_PARENT and isinstance(thread.error, ConfigError):
                # The parent started with the same settings: it is the parent's socket that is in the way.
                raise ConfigError(f"{thread.error}; {self._fork}") from thread.error
            raise thread.error
        try:
            self._bind_open(engine)
        except BaseException:
            _dismiss(thread)
            thread.join(self._close_s)
            raise
        self._thread, self._engine = thread, engine
        thread.when_ended(lambda: self._handle_ended(thread))
        return engine

    def _bind_open(self, engine: "Engine") -> None:
        if self._is_closed:  # meanwhile, by a signal handler in this very thread
            raise ClosedError("this mesh was closed while it started")
        self._bind(engine)

    @property
    def _close_s(self) -> float:
        from gossipsync.runtime.host import CLOSE_S

        return CLOSE_S + _MARGIN_S

    def _handle_ended(self, thread: "EngineThread") -> None:
        """The engine's thread ends: closed by us, from the command line, or by a bug. In that thread."""
        if self._thread is thread:
            self._is_closed = True
            self._failure = thread.error
            self._engine = None
            self._unbind()

    def close(self, *, leave: bool = False) -> int:
        """Hand over and end, within two seconds; with `leave`, give up membership first. Returns the number of lost writes."""
        thread = self.request_close(leave=leave)
        if thread is None:
            return 0
        if not thread.join(self._close_s):
            _log.error("the engine did not end in time; it is left behind")
        return self._lost_writes(thread)

    async def close_async(self, *, leave: bool = False) -> int:
        """`close` without blocking the event loop. Cancelled, it goes on in the background, and exit waits for it."""
        thread = self.request_close(leave=leave)
        if thread is None:
            return 0
        parker = async_parker()
        thread.when_ended(parker.wake)
        await parker.park(self._close_s)
        return self._lost_writes(thread)

    def _lost_writes(self, thread: "EngineThread") -> int:
        """Writes that ended with the engine; told on stderr, once, where no log shows it."""
        count = 0 if thread.engine is None else thread.engine.lost_writes
        if count and not self._is_told:
            from gossipsync.runtime.observe import LOST_ADVICE

            self._is_told = True
            tell_loss(count, self.settings.name, LOST_ADVICE)
        return count

    @property
    def is_up(self) -> bool:
        """Whether there is an engine that has not ended, closing or not."""
        return self._thread is not None and self._thread.is_alive

    def request_close(self, *, leave: bool = False) -> "EngineThread | None":
        """Begin to end; the thread to wait for, if there is one. Idempotent."""
        with self._lock:
            self._is_closed = True
            engine, self._engine = self._engine, None
            thread = self._thread
        if engine is not None:
            self._unbind()
            engine.request_close(leave=leave)
        return thread

    def forget_parent(self) -> None:
        """In a forked child: begin anew. Only this thread exists here."""
        self._lock = RLock()
        if self._engine is not None:
            self._engine.disown()
        self._fork = (self._fork or _OF_SIBLINGS) if self._engine is None else _OF_PARENT
        self._thread = self._engine = self._failure = None
        self._is_told = False
        self._unbind()


def _dismiss(thread: "EngineThread") -> None:
    if thread.engine is not None:
        thread.engine.request_close()


_lives: WeakSet[Life] = WeakSet()


def _forget_parent() -> None:
    for life in list(_lives):
        life.forget_parent()


def _close_all() -> None:
    """At the process's end: all at once, so that they share the two seconds; also those that are closing already."""
    lives = [life for life in list(_lives) if life.is_up]
    for life in lives:
        life.request_close()
    for life in lives:
        life.close()


os.register_at_fork(after_in_child=_forget_parent)
atexit.register(_close_all)
