"""`gossipsync demo`: three real peers share sessions, lose one of them and get it back.

Invariant: it ends only processes that it started, and leaves neither process nor file behind, however it
ends.
"""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

import click

from gossipsync.cli._options import SetupCommand

__all__ = ["demo"]

_BUDGET_S: Final = 28.0
_LONGEST_FOLDER: Final = 60
"""Beyond, the control sockets' paths might be too long for the kernel."""


@click.command(cls=SetupCommand, epilog="Example: gossipsync demo")
def demo() -> None:
    """See three peers share sessions.

    Real processes on this machine, with mutual TLS: they share sessions, lose one peer to SIGKILL, and
    get it back. Takes about ten seconds, needs no network and no settings, and cleans up after itself.
    """
    from gossipsync.cli._demo_story import Story
    from gossipsync.cli._demo_view import narrator

    started_s = time.monotonic()
    with _signals_interrupt(), _folder() as folder, narrator() as voice:
        story = Story(folder, voice, started_s + _BUDGET_S)
        try:
            story.tell()
        finally:
            story.end_peers()
        voice.step(f"All of it worked, in {time.monotonic() - started_s:.1f} s.")
        voice.say("Next: gossipsync init mynet, then gossipsync run -c mynet/gossipsync.toml")


@contextmanager
def _folder() -> Iterator[Path]:
    near = tempfile.gettempdir()
    folder = Path(
        tempfile.mkdtemp(prefix="gossipsync-", dir=near if len(near) < _LONGEST_FOLDER else "/tmp")  # noqa: S108 - mkdtemp makes it safe
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM, and the terminal's end, end the demo as Ctrl-C does: after it has cleaned up."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    former = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
