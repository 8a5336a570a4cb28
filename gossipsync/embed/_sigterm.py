"""SIGTERM in a program that does not handle it: say goodbye, then die of it as before.

Python ends at SIGTERM without running exit handlers, and a mesh would vanish without a word. So the first start in the main thread
takes the signal over, but only where nobody else has: a framework's own handler, set before or after, is left alone.

The program goes on while another thread closes the meshes (a call on one then raises ClosedError): to stop the main thread
wherever it happens to be could stop it with a lock that closing needs.

Invariant: the process still dies of SIGTERM, within the two seconds that a close may take; but for a signal that comes in the moment in
which the main thread falls asleep for good, which CPython hears when something wakes that thread.
"""

import os
import signal
from collections.abc import Callable
from threading import Event, Thread, current_thread, main_thread
from types import FrameType

__all__ = ["close_at_sigterm"]


def close_at_sigterm(close_all: Callable[[], None]) -> None:
    """Have `close_all` called at SIGTERM, if this is the main thread and the signal is not taken."""
    if current_thread() is main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _Ending(close_all).handle)


class _Ending:
    def __init__(self, close_all: Callable[[], None]) -> None:
        self._close_all = close_all
        self._is_under_way = False
        self._is_over = Event()

    def handle(self, _signum: int, _frame: FrameType | None) -> None:
        """In the main thread, at every SIGTERM: ours at the end, too."""
        if self._is_over.is_set():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        elif not self._is_under_way:
            self._is_under_way = True
            Thread(target=self._end, name="gossipsync-sigterm", daemon=True).start()

    def _end(self) -> None:
        try:
            self._close_all()
        finally:
            self._is_over.set()
            os.kill(os.getpid(), signal.SIGTERM)
