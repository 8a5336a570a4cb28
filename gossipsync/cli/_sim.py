"""`gossipsync sim`: worlds of many peers in virtual time. `run` is here; `sweep` and `report` beside.

Invariant: nothing is written before the options are known to describe a world and the places to write to are known to be writable,
and files appear whole.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from gossipsync.cli._failures import Exit
from gossipsync.cli._output import Report, print_report
from gossipsync.cli._sim_options import HELP, parsed
from gossipsync.cli._sim_report import report
from gossipsync.cli._sim_sweep import sweep
from gossipsync.cli._text import json_text
from gossipsync.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gossipsync.sim import Options, Progress, Result
    from gossipsync.sim.report import Samples
    from gossipsync.sim.scenarios import Scenario

__all__ = ["sim"]

F = TypeVar("F", bound=Callable[..., object])


@click.group()
def sim() -> None:
    """Simulate many peers in virtual time, with the code that runs in production."""


def _world_options(function: F) -> F:
    for name, text in reversed(HELP.items()):
        function = click.option(f"--{name.replace('_', '-')}", name, metavar="V", help=text)(
            function
        )
    return function


@sim.command(epilog="Example: gossipsync sim run --peers 1000 --seed 7 --fanout 3 --loss 0.1")
@click.argument("scenario", metavar="[SCENARIO|FILE]", default="plain")
@_world_options
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write result.json, and the time series as series.ndjson and series.csv.",
)
@click.option(
    "--report",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write one self-contained page with pictures (extra sim).",
)
def run(
    scenario: str, output: str, out: Path | None, page: Path | None, **given: str | None
) -> int:
    """Run one world, from its first write until all peers have everything.

    Times are virtual. The same options and seed give the same trace on any machine.
    """
    from gossipsync.sim.scenarios import load

    try:
        world = load(scenario)
        changes = {name: parsed(name, text) for name, text in given.items() if text is not None}
        options = world.options(**changes)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    _check_folder(out)
    samples = _samples(page)
    result = _run(world, options, samples)
    command = world.command(options) if scenario != "plain" else options.command()
    if not result.is_fine:
        click.echo(f"seed {options.seed} failed; replay: {command}", err=True)
        for line in _violation_lines(result):
            click.echo(line, err=True)
    document = result.document()
    print_report(Report(document, [document], lambda: _lines(result)), output)
    _write_folder(out, result)
    if page is not None and samples is not None:
        _write_page(page, world, result, samples, command)
    if result.is_cut_short:
        raise click.ClickException("interrupted; what is shown is the run so far")
    if not result.is_fine:
        raise click.ClickException(f"{_fault(result)}; replay: {command}")
    return Exit.FINE


for _command in (sweep, report):
    sim.add_command(_command)


# -- running -------------------------------------------------------------------------------------------------


def _run(world: Scenario, options: Options, samples: Samples | None) -> Result:
    interrupted: list[bool] = []
    with _progress(options) as watch, _interrupts(interrupted):
        return world.run(
            options,
            clock=time.perf_counter,
            watch=watch,
            stop=lambda: bool(interrupted),
            look=samples.look if samples is not None else None,
        )


@contextmanager
def _progress(options: Options) -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr, where that is a terminal, with the time to the end; by share of peers where convergence is the end."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{options.peers} peers", total=1.0)

        def watch(progress: Progress) -> None:
            share = progress.equal_share
            if options.until is not None or progress.virtual_s < options.writing_s:
                share = progress.virtual_s / progress.end_s
            about = f"{options.peers} peers, {progress.virtual_s:.0f} virtual s"
            bar.update(task, completed=share, description=about)

        yield watch


@contextmanager
def _interrupts(interrupted: list[bool]) -> Iterator[None]:
    """The first Ctrl-C ends the run and keeps what is done; the second ends the program."""
    import signal

    def note(_signal: int, _frame: object) -> None:
        interrupted.append(True)
        signal.signal(signal.SIGINT, former)

    former = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


# -- results -------------------------------------------------------------------------------------------------


def _fault(result: Result) -> str:
    if result.violations:
        first = result.violations[0]
        return f"{first.checker} does not hold: {first.detail}"
    return f"not all peers had everything after {result.virtual_s:g} virtual s"


def _violation_lines(result: Result) -> list[str]:
    lines = []
    for violation in result.violations:
        whose = "" if violation.peer is None else f" at peer {violation.peer}"
        lines.append(
            f"{violation.checker}{whose}, {violation.virtual_s:g} s, after {violation.events} inputs: "
            f"{violation.detail}"
        )
        lines += violation.trace
    return lines


def _lines(result: Result) -> list[str]:
    """For people: one fact a line."""
    rounds = ", ".join(f"{share} % {count or '-'}" for share, count in result.rounds_to.items())
    facts = {
        "peers": f"{result.peers}",
        "seed": f"{result.seed}",
        "converged": "yes" if result.converged else "no",
        "rounds to": rounds,
        "virtual s": f"{result.virtual_s:g}",
        "wall s": f"{result.wall_s:g}" if result.wall_s is not None else "-",
        "exchanges": f"{result.exchanges:,}",
        "messages": f"{result.messages:,}",
        "bytes": f"{result.bytes_total:,} ({result.bytes_per_peer:,.0f} a peer)",
        "of these": f"digests {result.digest_bytes:,}, deltas {result.delta_bytes:,}",
        "payload": f"{result.payload_bytes:,}",
        "violations": f"{len(result.violations)}",
        "trace": result.trace_hash,
    }
    facts |= {name.replace("_", " "): str(figure) for name, figure in result.figures.items()}
    width = max(map(len, facts))
    return [f"{name:<{width}}  {fact}" for name, fact in facts.items()]


# -- files ---------------------------------------------------------------------------------------------------


def _check_folder(folder: Path | None) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".gossipsync-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise click.ClickException(
            f"--out {folder} cannot be written ({error.strerror}); name another folder"
        ) from error


def _write_folder(folder: Path | None, result: Result) -> None:
    if folder is None:
        return
    rows = [row.shown() for row in result.rows]
    table = io.StringIO()
    if rows:
        writer = csv.DictWriter(table, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    texts = {
        "result.json": json_text(result.document(), indent=2) + "\n",
        "series.ndjson": "".join(json_text(row) + "\n" for row in rows),
        "series.csv": table.getvalue(),
    }
    for name, text in texts.items():
        part = folder / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / name)


def _samples(page: Path | None) -> Samples | None:
    if page is None:
        return None
    from gossipsync.sim.report import Samples, check_place

    check_place(page)
    return Samples()


def _write_page(
    page: Path, world: Scenario, result: Result, samples: Samples, command: str
) -> None:
    from gossipsync.sim.report import write_page

    text = world.docstring.partition("\n")[2].strip()
    write_page(page, result, samples, title=world.title, text=text, command=command)
    click.echo(f"wrote {page}", err=True)
