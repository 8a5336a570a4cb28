"""The command line of the benchmarks: `scripts/bench --help`."""

import shlex
import sys
from pathlib import Path
from time import monotonic

import click
from rich.console import Console

from _bench import _core, _forgetting, _hundred, _idle, _joining, _local, _reconciling, _replication
from _bench._figures import Benchmark, Figure, Scale, medians, untargeted
from _bench._fleet import BenchError
from _bench._report import Results, check_page, to_json, to_table, write_page

FULL = Scale(
    *("full", 100_000, 1_000, 15_000, 5.0, 8.0, (10, 1_000, 10_000), (8,), (3, 12)),
    *((25, 24, 24, 24), 30.0),
)
QUICK = Scale("quick", 5_000, 200, 900, 0.5, 1.5, (10, 1_000), (3,), (3,), (7, 6), 6.0)

BENCHMARKS = (
    Benchmark("local", "get and put by one thread of one process", _local.local),
    Benchmark("bundles", "sealing and verified ingest in the core, one thread", _core.bundles),
    Benchmark("sessions", "sessions shared by 3 processes", _replication.sessions),
    Benchmark("updates", "CPU and bytes until every process has all", _replication.updates),
    Benchmark("latency", "from a write to its being seen elsewhere", _replication.latency),
    Benchmark("join", "a new process gets everything", _joining.join),
    Benchmark("catch-up", "a process comes back and gets what it missed", _joining.catch_up),
    Benchmark("reconcile", "two core peers whose logs do not tell", _reconciling.reconciling),
    Benchmark(
        "forgetting", "what a million writes of few keys leave behind", _forgetting.forgetting
    ),
    Benchmark("idle-exchange", "two equal core peers compare", _core.idle_exchange),
    Benchmark("idle-traffic", "a small mesh in which nothing happens", _idle.idle_traffic),
    Benchmark(
        "hundred", "100 peers in seven processes, and what happens to three", _hundred.hundred
    ),
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, type=click.Choice([b.name for b in BENCHMARKS]))
@click.option("--quick", is_flag=True, help="Small sizes: shows that it runs, not how fast.")
@click.option("--repeat", default=1, type=click.IntRange(1), help="Runs; medians are reported.")
@click.option("-o", "--output", default="table", type=click.Choice(["table", "json"]))
@click.option(
    "--write",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Also put the table into this Markdown page.",
)
@click.option("--list", "is_list", is_flag=True, help="Name the benchmarks and end.")
def main(
    only: tuple[str, ...],
    *,
    quick: bool,
    repeat: int,
    output: str,
    write: Path | None,
    is_list: bool,
) -> None:
    """Measure gossipsync against the figures it is to reach."""
    chosen = [b for b in BENCHMARKS if not only or b.name in only]
    if is_list:
        for benchmark in chosen:
            click.echo(f"{benchmark.name:14} {benchmark.about}")
        return
    if write is not None:
        try:
            check_page(write)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    scale = QUICK if quick else FULL
    results: Results = {b.name: _measure(b, scale, repeat) for b in chosen}
    if output == "json":
        click.echo(to_json(results))
    else:
        Console().print(to_table(results))
    if write is not None:
        write_page(write, results, shlex.join(["scripts/bench", *sys.argv[1:]]))


def _measure(benchmark: Benchmark, scale: Scale, repeat: int) -> list[Figure]:
    runs = []
    for _ in range(repeat):
        began_s = monotonic()
        try:
            figures = list(benchmark.run(scale))
        except BenchError as error:
            raise click.ClickException(f"{benchmark.name}: {error}") from error
        click.echo(f"{benchmark.name}: {monotonic() - began_s:.1f} s", err=True)
        runs.append(figures if scale.is_full else untargeted(figures))
    return medians(runs)


if __name__ == "__main__":
    main()
