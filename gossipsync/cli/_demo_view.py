"""How the demo tells its story: a live table on a terminal, plain lines elsewhere.

Invariant: both tell the same story in the same order; only the table's redrawing differs.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import click

from gossipsync.cli._output import console, table
from gossipsync.cli._screens import size, state_cell

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

__all__ = ["Narrator", "PeerRow", "narrator"]

_PAUSE_S: Final = 0.7
"""Time to read a step before its result moves the table; nobody reads along without a terminal."""

PeerRow = Sequence[object]
"""name, process, state, members, sessions, fingerprint, received bytes; None where unknown."""


class Narrator(Protocol):
    """Tells the story."""

    def step(self, text: str) -> None:
        """What is about to be done, and why."""
        ...

    def say(self, text: str) -> None:
        """What has been seen."""
        ...

    def show(self, rows: Sequence[PeerRow]) -> None:
        """How the peers stand, at the end of a step."""
        ...

    def redraw(self, rows: Callable[[], Sequence[PeerRow]]) -> None:
        """How they stand in the middle of one; `rows` is asked only where somebody can see it move."""
        ...


@contextmanager
def narrator() -> Iterator[Narrator]:
    """The narrator that fits where stdout goes."""
    if not sys.stdout.isatty():
        yield _Plain()
        return
    from rich.live import Live

    with Live(_peer_table([]), console=console(), auto_refresh=False) as live:
        yield _OnTerminal(live)


class _Plain:
    def step(self, text: str) -> None:
        click.echo(f"== {text}")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        click.echo(f"   {text}")
        sys.stdout.flush()

    def show(self, rows: Sequence[PeerRow]) -> None:
        for name, process, state, members, sessions, fingerprint, received in rows:
            if state is None:
                click.echo(f"   {name}: {process}")
                continue
            click.echo(
                f"   {name}: {process}, {state}, {members} members, {sessions} sessions,"
                f" fingerprint {fingerprint or '–'}, {size(received)} received"
            )
        sys.stdout.flush()

    def redraw(self, rows: Callable[[], Sequence[PeerRow]]) -> None:
        pass


class _OnTerminal:
    def __init__(self, live: "Live") -> None:
        self._live = live
        self._has_begun = False

    def step(self, text: str) -> None:
        from rich.text import Text

        if self._has_begun:
            time.sleep(_PAUSE_S)
        self._has_begun = True
        self._live.console.print(Text(text, style="bold"))

    def say(self, text: str) -> None:
        from rich.text import Text

        self._live.console.print(Text(f"  {text}"))

    def show(self, rows: Sequence[PeerRow]) -> None:
        self._live.update(_peer_table(rows), refresh=True)

    def redraw(self, rows: Callable[[], Sequence[PeerRow]]) -> None:
        self.show(rows())


def _peer_table(rows: Sequence[PeerRow]) -> "Table":
    columns = ["peer", "process", "state", "members", "sessions", "fingerprint", "received"]
    return table(
        columns,
        (
            (
                name,
                process,
                None if state is None else state_cell(state),
                members,
                sessions,
                fingerprint,
                None if received is None else size(received),
            )
            for name, process, state, members, sessions, fingerprint, received in rows
        ),
        numeric=["members", "sessions", "received"],
    )
