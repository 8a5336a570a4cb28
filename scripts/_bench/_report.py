"""Figures for people, programs and the documentation."""

import json
import os
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from _bench._figures import Figure

__all__ = ["Results", "check_page", "to_json", "to_table", "write_page"]

_BEGIN, _END = "<!-- figures: written by scripts/bench -->", "<!-- /figures -->"
_DIGITS = 3

Results = dict[str, list[Figure]]
"""Figures by the benchmark that measured them."""


def to_table(results: Results) -> Table:
    """For a terminal."""
    table = Table(title=_machine_line(), title_justify="left", box=SIMPLE)
    table.add_column("figure")
    table.add_column("measured", justify="right")
    table.add_column("target", justify="right")
    table.add_column("")
    for figures in results.values():
        for figure in figures:
            style = "red" if figure.is_met is False else None
            table.add_row(*_cells(figure), style=style, end_section=figure is figures[-1])
    return table


def to_json(results: Results) -> str:
    """For programs."""
    figures = [
        {
            "benchmark": name,
            "figure": figure.what,
            "value": figure.value,
            "unit": figure.unit,
            "target": figure.target,
            "bound": None if figure.target is None else ("least" if figure.is_floor else "most"),
            "met": figure.is_met,
            "missed_by": figure.missed_by,
        }
        for name, figures in results.items()
        for figure in figures
    ]
    return json.dumps({"schema": 1, "machine": _machine(), "figures": figures}, indent=1)


def check_page(path: Path) -> None:
    """Raise ValueError unless the page has a place for figures."""
    _cut(path)


def write_page(path: Path, results: Results, command: str) -> None:
    """Replace the table between the marks of a Markdown page. Raises ValueError where they are missing."""
    head, tail = _cut(path)
    lines = [_BEGIN, "", f"`{command}`, {_machine_line()}:", "", *_markdown(results), "", _END]
    path.write_text(head + "\n".join(lines) + tail, encoding="utf-8")


def _cut(path: Path) -> tuple[str, str]:
    """What comes before and after the place for figures."""
    head, begin, rest = path.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{path} has no place for figures: {_BEGIN} … {_END}")
    return head, tail


def _markdown(results: Results) -> Iterable[str]:
    yield "| figure | measured | target | |"
    yield "| --- | ---: | ---: | --- |"
    for figures in results.values():
        for figure in figures:
            yield f"| {' | '.join(_cells(figure))} |"


def _cells(figure: Figure) -> tuple[str, str, str, str]:
    measured = f"{_number(figure.value)} {figure.unit}"
    if figure.target is None:
        return figure.what, measured, "", ""
    target = f"{'≥' if figure.is_floor else '≤'} {_number(figure.target)}"
    missed = figure.missed_by
    return figure.what, measured, target, "met" if missed is None else f"missed by {missed:.0%}"


def _number(value: float) -> str:
    if value >= 10**_DIGITS:
        return f"{round(value):,}"
    return f"{value:.{_DIGITS}g}"


def _machine() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(_LOAD, 2),
        "date": datetime.now(tz=UTC).date().isoformat(),
    }


def _machine_line() -> str:
    machine = _machine()
    return (
        f"{machine['cores']} cores, {machine['system']}, Python {machine['python']}, "
        f"load {machine['load_before']} before, {machine['date']}"
    )


_LOAD = os.getloadavg()[0] if sys.platform != "win32" else 0.0
"""Of the machine when the benchmarks began: what else kept it busy."""
