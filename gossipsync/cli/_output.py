"""How results are printed: a table for people, JSON for programs, again and again with `-w`.

Invariant: data goes to stdout, JSON is printable ASCII, and no cell of a table interprets what a peer
wrote: every cell is plain text through `shown`.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click
from attrs import frozen

from gossipsync.cli._text import json_text, shown

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

__all__ = ["Report", "console", "print_report", "repeat", "table"]

_PIPE_WIDTH = 10_000  # a pipe has no width: never fold or cut what a script will read


@frozen
class Report:
    """What a command has to say, in all three forms."""

    document: Mapping[str, object]
    rows: Sequence[Mapping[str, object]]
    """What ndjson prints, one a line; for a report that is no list, the document itself."""
    render: Callable[[], "RenderableType | list[str]"]
    """What a person sees: something rich prints, or plain lines."""


def print_report(report: Report, output: str) -> None:
    """Print a report in the form asked for."""
    match output:
        case "json":
            # One line for a program; a person who looks at it gets line breaks.
            click.echo(json_text(report.document, indent=2 if sys.stdout.isatty() else None))
        case "ndjson":
            for row in report.rows:
                click.echo(json_text(row))
        case _:
            match report.render():
                case list() as lines:
                    click.echo("".join(f"{line}\n" for line in lines), nl=False)
                case renderable:
                    console().print(renderable)


def repeat(ask: Callable[[], Report], output: str, every_s: float | None) -> None:
    """Print what `ask` gives, once or every so many seconds until interrupted."""
    if every_s is None:
        print_report(ask(), output)
        return
    import time

    try:
        while True:
            report = ask()
            if output == "table" and sys.stdout.isatty():
                click.clear()
            print_report(report, output)
            sys.stdout.flush()
            time.sleep(every_s)
    except KeyboardInterrupt:
        return


def console() -> "Console":
    """Where tables go: stdout, in colours only if it is a terminal that wants them."""
    from rich.console import Console

    is_plain = bool(os.environ.get("NO_COLOR")) or not sys.stdout.isatty()
    return Console(
        file=sys.stdout,
        color_system=None if is_plain else "auto",
        width=None if sys.stdout.isatty() else _PIPE_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, numeric: Iterable[str] = ()
) -> "Table":
    """Rows under headings: numbers to the right, a dash for None."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    result = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    right = set(numeric)
    for column in columns:
        result.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        # A cell that comes styled was made of `shown` text; a str would be read as markup.
        cells = (cell if isinstance(cell, Text) else Text(_plain(cell)) for cell in row)
        result.add_row(*cells)
    return result


def _plain(cell: object) -> str:
    return "–" if cell is None else shown(cell)
