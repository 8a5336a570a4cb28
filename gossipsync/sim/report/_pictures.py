"""The pictures of one run, and the picture that compares many.

Each function takes plain numbers and gives a figure. Invariant: time is in seconds after the first write, or in rounds where
rounds are what is asked about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gossipsync.errors import ConfigError
from gossipsync.sim.report._drawing import (
    COLOURS,
    LINES,
    SUFFIXES,
    check_place,
    drawing,
    new_figure,
    write_whole,
)
from gossipsync.sim.report._samples import Samples
from gossipsync.sim.report._tables import grouped, varying
from gossipsync.sim.result import Result
from gossipsync.sim.series import KINDS, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_BARS: Final = 60
_MOST_HEAT_ROWS: Final = 200
_MOST_LINES: Final = 24
_MOST_TICKS: Final = 8


def infected(result: Result, samples: Samples) -> Figure:
    """The share of peers that have an update, round by round."""
    figure = new_figure()
    axes = figure.add_subplot()
    interval = result.options.interval
    rounds = [sample.virtual_s / interval for sample in samples.rows]
    shares = [100 * sample.held_share for sample in samples.rows]
    axes.plot(rounds, shares, color=COLOURS[0], marker="o" if len(rounds) <= 40 else "", ms=3.5)
    reached: dict[int, list[str]] = {}
    for share, count in result.rounds_to.items():
        if count is not None:
            reached.setdefault(count, []).append(share)
    span = max([1, *rounds, *reached])
    for count, names in _apart(reached, 0.09 * span).items():
        axes.axvline(count, color=COLOURS[5], linewidth=0.8, linestyle=":")
        text = f"{' and '.join(names)} %\nround {count}"
        axes.annotate(
            text,
            (count, 4),
            color=COLOURS[5],
            xytext=(-3, 0),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    is_one = result.options.updates == 1
    axes.set(
        xlabel=f"rounds of {interval:g} s",
        ylabel="peers that have it, %" if is_one else "updates that a peer has, mean %",
        ylim=(0, 103),
        xlim=(0, 1.02 * span),
    )
    return figure


def _apart(reached: dict[int, list[str]], gap: float) -> dict[int, list[str]]:
    """What would be written over one another, only once: where the last share was reached."""
    kept: dict[int, list[str]] = {}
    for count in sorted(reached, reverse=True):
        if not kept or min(kept) - count >= gap:
            kept[count] = reached[count]
    return kept


def traffic(rows: Sequence[Row], interval: float, start_s: float) -> Figure:
    """Bytes that a peer sent in each round, by kind."""
    figure = new_figure()
    axes = figure.add_subplot()
    step = max(1, -(-(len(rows) - 1) // _MOST_BARS))
    # The last row is of the run's end, which need not be a round's.
    ends = [*rows[:-1:step], rows[-1]]
    lefts = [(row.virtual_s - start_s) / interval for row in ends]
    widths = [0.9 * (late - early) for early, late in pairwise(lefts)]
    bottoms = [0.0] * len(widths)
    for kind, colour in zip(KINDS, COLOURS, strict=False):
        name = f"{kind}_bytes"
        sizes = [
            (getattr(late, name) - getattr(early, name)) / max(1, late.peers) / step
            for early, late in pairwise(ends)
        ]
        if any(sizes):
            axes.bar(
                lefts[:-1], sizes, widths, bottom=bottoms, color=colour, label=kind, align="edge"
            )
            bottoms = [low + size for low, size in zip(bottoms, sizes, strict=True)]
    axes.set(xlabel=f"rounds of {interval:g} s", ylabel="bytes a peer sends a round")
    axes.set_xlim(left=0)
    if any(bottoms):
        _legend_above(axes)
    return figure


def staleness(samples: Samples) -> Figure:
    """For how long peers have lacked something that others have."""
    figure = new_figure()
    axes = figure.add_subplot()
    at_s = [sample.virtual_s for sample in samples.rows]
    for position, (name, label) in enumerate(
        (("lag_p50_s", "median"), ("lag_p99_s", "99 % of peers below"), ("lag_max_s", "worst peer"))
    ):
        lags = [getattr(sample, name) for sample in samples.rows]
        axes.plot(at_s, lags, LINES[position], color=COLOURS[position], label=label)
    axes.set(xlabel="seconds after the first write", ylabel="age of what a peer lacks, s")
    axes.set_ylim(bottom=0)
    _legend_above(axes)
    return figure


def heat(samples: Samples) -> Figure:
    """The lag of each peer over time, the peers that lag longest on top."""
    figure = new_figure(3.4)
    axes = figure.add_subplot()
    from numpy.ma import masked_invalid

    size = max(len(lags) for lags in samples.lags)
    rows = [
        [lags[number] if number < len(lags) else float("nan") for lags in samples.lags]
        for number in range(size)
    ]
    rows.sort(key=lambda row: -sum(lag for lag in row if not isnan(lag)))
    shown = _thinned(rows, _MOST_HEAT_ROWS)
    times = [sample.virtual_s for sample in samples.rows]
    axes.set_facecolor("#d9d9d9")
    step = size / len(shown)
    image = axes.pcolormesh(
        [times[0] - (times[1] - times[0] if len(times) > 1 else 1), *times],
        [min(size, step * number) for number in range(len(shown) + 1)],
        masked_invalid(shown),
        cmap="YlGnBu",
        vmin=0,
        rasterized=True,
    )
    axes.set_xlim(times[0], max(times[-1], times[0] + 1e-9))
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.set(xlabel="seconds after the first write", ylabel="peers, longest lag first")
    figure.colorbar(image, label="age of what it lacks, s", pad=0.02)
    return figure


def _legend_above(axes: Axes) -> None:
    """Where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=4, borderaxespad=0.1)


def _thinned(rows: list[list[float]], most: int) -> list[list[float]]:
    """At most so many rows, each the worst of those that it stands for."""
    step = -(-len(rows) // most)
    if step <= 1:
        return rows
    return [
        [
            max(column, key=lambda lag: -1.0 if isnan(lag) else lag)
            for column in zip(*band, strict=True)
        ]
        for band in (rows[first : first + step] for first in range(0, len(rows), step))
    ]


def links(rows: Sequence[Row], start_s: float) -> Figure:
    """Links a peer has, over time, and how many peers there are."""
    figure = new_figure(2.4)
    axes = figure.add_subplot()
    at_s = [row.virtual_s - start_s for row in rows]
    axes.plot(at_s, [2 * row.links / max(1, row.peers) for row in rows], color=COLOURS[0])
    axes.set(xlabel="seconds after the first write", ylabel="links a peer, mean")
    axes.set_ylim(bottom=0)
    if len({row.peers for row in rows}) > 1:
        beside = axes.twinx()
        beside.plot(at_s, [row.peers for row in rows], "--", color=COLOURS[1])
        beside.set_ylabel("peers (dashed)", color=COLOURS[1])
        beside.grid(visible=False)
    return figure


def draw_comparison(
    rows: Sequence[Mapping[str, object]], x: str, y: str, path: Path, *, title: str | None = None
) -> None:
    """One figure of many runs: `y` against the option `x`, a line for each combination of the other options, means
    over seeds. Raises ConfigError where that makes no picture.
    """
    check_place(path, SUFFIXES)
    others = [name for name in varying(rows) if name not in (x, "seed")]
    groups = grouped(rows, [*others, x])
    points = [
        (tuple(group[name] for name in others), place, value)
        for group in groups
        if (place := _number(group.get(x))) is not None
        and (value := _number(group.get(y))) is not None
    ]
    names = list(dict.fromkeys(point[0] for point in points))
    if not points:
        known = ", ".join(sorted(name for name in groups[0] if name not in others))
        raise ConfigError(f"no run has numbers for both {x} and {y}; there are: {known}")
    if len(names) > _MOST_LINES:
        raise ConfigError(f"that would be {len(names)} lines; compare fewer runs at once")
    with drawing(path.name):
        figure = new_figure(3.6)
        axes = figure.add_subplot()
        for number, name in enumerate(names):
            line = sorted(point[1:] for point in points if point[0] == name)
            axes.plot(
                [place for place, _ in line],
                [value for _, value in line],
                LINES[number // len(COLOURS) % len(LINES)],
                color=COLOURS[number % len(COLOURS)],
                marker="o",
                ms=3.5,
                label=", ".join(f"{o} {_short(v)}" for o, v in zip(others, name, strict=True)),
            )
        places = sorted({place for _, place, _ in points})
        if len(places) <= _MOST_TICKS:
            axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.set(xlabel=_label(x), ylabel=_label(y))
        axes.set_ylim(bottom=0)
        if title:
            axes.set_title(title, loc="left")
        if others:
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        data = BytesIO()
        figure.savefig(data, format=path.suffix[1:].lower(), metadata=_without_date(path))
    write_whole(path, data.getvalue())


def _without_date(path: Path) -> dict[str, str | None]:
    return {"Date": None} if path.suffix.lower() == ".svg" else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _label(name: str) -> str:
    return name.replace("_", " ")


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
