"""Exits that the interpreter's own exit handlers do not see, and losses that no log handler shows.

A child of `multiprocessing` ends with `os._exit` after its own finalizers, a worker process of celery after a signal of celery's, both
without `atexit`. A mesh that was used there would end with its last writes still in it, so closing is registered with these, too.

Invariant: no such library is imported here; a program that does not use it pays one look-up in `sys.modules`.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import Final

__all__ = ["close_at_child_exit", "tell_loss"]

_LIBRARIES: Final = ("multiprocessing.util", "billiard.util", "celery.signals")
_LAST: Final = -100
"""Priority of the finalizer: after the program's own, and after its own children have been joined."""
_registered: set[tuple[int, str]] = set()


def close_at_child_exit(close_all: Callable[[], None]) -> None:
    """Have `close_all` called where a child process of these libraries ends; once a process."""
    for name in _LIBRARIES:
        library = sys.modules.get(name)
        if library is not None and (os.getpid(), name) not in _registered:
            _registered.add((os.getpid(), name))
            if name == "celery.signals":
                library.worker_process_shutdown.connect(
                    lambda **_: close_all(), weak=False, dispatch_uid="gossipsync"
                )
            else:
                library.Finalize(None, close_all, exitpriority=_LAST)


def tell_loss(count: int, name: str, advice: str) -> None:
    """Print to stderr how many writes ended with this peer, unless a log handler has shown the error already."""
    if not _is_shown(logging.getLogger("gossipsync.peer")) and sys.stderr is not None:
        sys.stderr.write(f"gossipsync: {count} writes of peer {name!r} may be lost: {advice}\n")


def _is_shown(logger: logging.Logger) -> bool:
    """Whether any handler but the library's own NullHandler gets the errors of a logger."""
    if not logger.isEnabledFor(logging.ERROR):
        return True  # the program has switched them off on purpose
    found: logging.Logger | None = logger
    while found is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in found.handlers):
            return True
        found = found.parent if found.propagate else None
    return False
