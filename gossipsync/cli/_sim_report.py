"""`gossipsync sim report`: runs side by side, averaged over seeds, as a table or a picture.

Invariant: it only reads runs; what it writes, it writes whole or not at all.
"""

from __future__ import annotations

from pathlib import Path

import click

from gossipsync.cli._sim_options import OPTION
from gossipsync.cli._sim_sweep import print_rows

__all__ = ["report"]


@click.command(epilog="Example: gossipsync sim report sweep-one-update --by peers,fanout,loss")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--by", metavar="OPTION,…", help="Average all runs that are equal in these options.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.svg|png",
    help="Draw --y against --x (extra sim).",
)
@click.option("--x", "across", type=OPTION, help="The option across.")
@click.option("--y", "up", default="rounds_to_100", show_default=True, help="The figure up.")
@click.option("--title", help="Above the picture.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "csv", "json", "ndjson"]), default="table"
)
def report(
    sources: tuple[Path, ...],
    by: str | None,
    picture: Path | None,
    across: str | None,
    up: str,
    title: str | None,
    output: str,
) -> int:
    """Compare runs: folders of `sim sweep`, or files of `sim run -o json`."""
    from gossipsync.sim.report import draw_comparison, grouped, read_runs

    rows = [row for source in sources for row in read_runs(source)]
    if picture is not None:
        if across is None:
            raise click.UsageError("--picture needs --x, the option across")
        draw_comparison(rows, across, up, picture, title=title)
        click.echo(f"wrote {picture}", err=True)
    if by is not None:
        names = [_option(name) for name in by.split(",")]
        print_rows(grouped(rows, names), output)
    elif picture is None:
        print_rows(rows, output)
    return 0


def _option(name: str) -> str:
    try:
        return str(OPTION.convert(name, None, None))
    except click.BadParameter as error:
        raise click.UsageError(f"--by: {error.message}") from error
