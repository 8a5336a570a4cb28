"""Runs as tables: read back from what `sim run` and `sim sweep` wrote, compared, and grouped over seeds.

A row is a flat map from names to plain values, one run each: options, then figures. Invariant: grouping says how many runs each
line stands for, and never mixes runs that differ in an option it does not show, but for the seed.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Final

from attrs import fields

from gossipsync.errors import ConfigError
from gossipsync.sim.options import Options

Row = Mapping[str, object]
OPTION_NAMES: Final = tuple(attribute.name for attribute in fields(Options))
_RUNS_FILES: Final = ("runs.ndjson", "result.json")
_NO_FIGURES: Final = frozenset({"run", "scenario", "schema", "trace_hash", *OPTION_NAMES})
_FLAT: Final = ("config", "figures")
_LEFT_OUT: Final = frozenset({"traffic", "schema"})


def read_runs(source: Path) -> list[Row]:
    """The runs in a sweep's folder, a run's folder, or a file of either. Raises ConfigError for anything else."""
    path = source
    if source.is_dir():
        path = next(
            (source / name for name in _RUNS_FILES if (source / name).exists()), source / "?"
        )
    try:
        text = path.read_text(encoding="utf-8")
        documents = _documents(text)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{source} has no runs to compare; name a folder of `sim sweep`,"
            " or a file with the JSON of `sim run -o json`"
        ) from error
    if not documents or not all("converged" in document for document in documents):
        raise ConfigError(f"{source} has no finished runs; run `sim sweep` or `sim run` first")
    return [{"source": str(source), **_flat(document)} for document in documents]


def _documents(text: str) -> list[dict[str, object]]:
    try:
        found = [json.loads(text)]
    except ValueError:
        found = [json.loads(line) for line in text.splitlines() if line]
    if not all(isinstance(document, dict) for document in found):
        raise ValueError("not a JSON map")
    return found


def _flat(document: dict[str, object]) -> dict[str, object]:
    """What `sim run -o json` prints, in the shape of a sweep's row."""
    row: dict[str, object] = {}
    for name in _FLAT:
        part = document.get(name)
        if isinstance(part, dict):
            row.update(part)
    for name, value in document.items():
        if name in _FLAT or name in _LEFT_OUT:
            continue
        if name == "rounds_to" and isinstance(value, dict):
            row.update({f"rounds_to_{share}": rounds for share, rounds in value.items()})
        elif name == "violations" and isinstance(value, list):
            row[name] = len(value)
        else:
            row[name] = value
    return row


def varying(rows: Sequence[Row]) -> list[str]:
    """The options in which runs differ."""
    return [name for name in OPTION_NAMES if len({json.dumps(row.get(name)) for row in rows}) > 1]


def figures(rows: Sequence[Row]) -> list[str]:
    """The names of what was measured, in the order of the rows."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(name for name in row if name not in _NO_FIGURES))
    names.pop("source", None)
    return list(names)


def grouped(rows: Sequence[Row], by: Sequence[str]) -> list[dict[str, object]]:
    """One row for each combination of the options' values: means of numbers, and how many runs they stand for."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(json.dumps([row.get(name) for name in by]), []).append(row)
    names = figures(rows)
    return [
        {
            **{name: members[0].get(name) for name in by},
            "runs": len(members),
            **{name: _mean([member.get(name) for member in members]) for name in names},
        }
        for members in sorted(groups.values(), key=lambda group: _place(group[0], by))
    ]


def _place(row: Row, by: Sequence[str]) -> list[tuple[bool, float, str]]:
    """Where a group stands: numbers by size before words."""
    values = [row.get(name) for name in by]
    return [
        (False, float(value), "") if isinstance(value, int | float) else (True, 0.0, str(value))
        for value in values
    ]


def _mean(values: Iterable[object]) -> object:
    """The mean of numbers; of what is missing or no number, None. Of yes and no, whether all say yes."""
    found = list(values)
    if found and all(isinstance(value, bool) for value in found):
        return all(found)
    numbers = [value for value in found if isinstance(value, int | float)]
    if not numbers or len(numbers) < len(found):
        return None
    return round(sum(numbers) / len(numbers), 3)


def as_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV with a heading; what a row lacks stays empty."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    text = StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return ":".join(f"{part:g}" for part in value)
    return "" if value is None else value
