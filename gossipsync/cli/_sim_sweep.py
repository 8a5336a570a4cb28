"""`gossipsync sim sweep`: a scenario over seeds and options, resumable, one tidy table out.

Invariant: every finished run is on disk before the next is reported; Ctrl-C loses only what was running.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gossipsync.cli._failures import Exit
from gossipsync.cli._output import Report, print_report, table
from gossipsync.cli._sim_options import option_axes, parsed_axis, parsed_seeds
from gossipsync.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from gossipsync.sim.sweep import Archive, Job, Pool, Row

__all__ = ["print_rows", "sweep"]

_SHOWN: Final = (
    *("converged", "rounds_to_50", "rounds_to_99", "rounds_to_100", "virtual_s"),
    *("bytes_per_peer", "violations", "wall_s"),
)
"""Figures in the table for people, before those of the scenario's own; CSV and JSON have them all."""


@click.command(
    epilog="Example: gossipsync sim sweep one-update --peers 100,1000 --fanout 1,2,3 --seeds 5"
)
@click.argument("scenario", metavar="[SCENARIO|FILE]", default="plain")
@click.option("--seeds", metavar="N|A-B|A,B,…", help="Seeds: so many, a range, or these.")
@option_axes
@click.option(
    "-j",
    "--jobs",
    "processes",
    type=click.IntRange(1, 1024),
    help="Processes  [default: one a core]",
)
@click.option("--scheduler", metavar="tcp://…", help="Run on a Dask cluster (extra dask).")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where runs are kept and found again  [default: sweep-SCENARIO]",
)
@click.option(
    "-o", "--output", type=click.Choice(["table", "csv", "json", "ndjson"]), default="table"
)
def sweep(
    scenario: str,
    seeds: str | None,
    processes: int | None,
    scheduler: str | None,
    out: Path | None,
    output: str,
    **given: str | None,
) -> int:
    """Run a scenario many times, and tabulate.

    Each combination of the options' values and seeds is run once. Options take several values, separated by
    commas; those not given are the scenario's own. Finished runs are kept in the folder --out: the same
    command goes on where it was interrupted.
    """
    from gossipsync.sim.sweep import Archive

    jobs = _jobs(scenario, seeds, {name: text for name, text in given.items() if text is not None})
    folder = out or Path(f"sweep-{Path(scenario).stem}")
    pool = _pool(processes, scheduler)
    archive = Archive.opened(folder)
    is_complete = _run(jobs, archive, pool)
    rows = [archive.rows[job.key] for job in jobs if job.key in archive.rows]
    _write_table(folder, rows)
    print_rows(rows, output)
    if not is_complete:
        raise click.ClickException(
            f"interrupted; {len(rows)} of {len(jobs)} runs are kept in {folder},"
            " and the same command goes on from there"
        )
    return Exit.ERROR if any(row["violations"] for row in rows) else Exit.FINE


def _jobs(name: str, seeds: str | None, given: Mapping[str, str]) -> list[Job]:
    """Raises click.UsageError for what cannot be run."""
    from gossipsync.sim.scenarios import load
    from gossipsync.sim.sweep import jobs_of

    try:
        scenario = load(name)
        axes = {**scenario.sweep, **{name: parsed_axis(name, text) for name, text in given.items()}}
        if seeds is not None:
            axes["seed"] = parsed_seeds(seeds)
        return jobs_of(scenario, axes)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error


def _pool(processes: int | None, scheduler: str | None) -> Pool:
    from gossipsync.sim.sweep_pools import DaskPool, ProcessPool

    if scheduler is not None:
        if processes is not None:
            raise click.UsageError(
                "--jobs is for this machine's processes; leave it or --scheduler out"
            )
        return DaskPool.connected(scheduler, time.perf_counter)
    return ProcessPool(processes or len(os.sched_getaffinity(0)), time.perf_counter)


def _run(jobs: Sequence[Job], archive: Archive, pool: Pool) -> bool:
    """Run what is missing, with a progress bar on stderr; False if interrupted."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from gossipsync.sim.sweep import sweep as rows_of

    kept = len(jobs) - len(archive.missing(jobs))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        what = f"{len(jobs)} runs" + (f", {kept} kept" if kept else "")
        task = progress.add_task(what, total=len(jobs) - kept)
        try:
            with closing(rows_of(jobs, archive, pool)) as rows:
                for number, _ in enumerate(rows, start=1):
                    progress.update(task, completed=max(0, number - kept))
        except KeyboardInterrupt:
            return False
    return True


def _write_table(folder: Path, rows: Sequence[Row]) -> None:
    """The tidy table beside the runs, replaced as a whole."""
    from gossipsync.sim.report import as_csv

    part = folder / "table.csv.part"
    part.write_text(as_csv(rows), encoding="utf-8")
    part.replace(folder / "table.csv")


def print_rows(rows: Sequence[Mapping[str, object]], output: str) -> None:
    """Runs on stdout: everything for programs, for people what varies and what came out."""
    from gossipsync.sim.report import as_csv

    if output == "csv":
        click.echo(as_csv(rows), nl=False)
        return
    print_report(Report({"schema": 1, "runs": rows}, rows, lambda: _shown(rows)), output)


def _shown(rows: Sequence[Mapping[str, object]]) -> Table:
    from gossipsync.sim.report import figures, varying

    measured = figures(rows)
    own = [name for name in measured if name not in _KNOWN]
    head = [name for name in ("source", "runs") if any(name in row for row in rows)]
    columns = [
        *head,
        *varying(rows),
        *(name for name in _SHOWN if name in measured),
        *(name for name in own if name not in head),
    ]
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    return table(columns, cells, numeric=[name for name in columns if name != "source"])


def _cell(value: object) -> object:
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"
        case int():
            return f"{value:,}" if abs(value) >= 10_000 else value
        case list() | tuple():
            return ":".join(f"{part:g}" for part in value)
        case _:
            return value


_KNOWN: Final = frozenset(
    {
        *_SHOWN,
        *("exchanges", "messages", "bytes_total", "digest_bytes", "delta_bytes", "payload_bytes"),
        *("peers", "seed", "cut_short"),
    }
)
