"""How pictures look, and how they become text or files: matplotlib without a display, the same bytes for the same data.

Invariant: a picture file is written whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gossipsync.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS: Final = ("#1b5e8c", "#d1711c", "#4d8f3a", "#8a4a9e", "#b23a48", "#5c6b73")
"""Told apart in grey, too: no two neighbours are of one lightness."""
LINES: Final = ("-", "--", "-.", ":")
SUFFIXES: Final = (".svg", ".png")


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """Draw in here. Raises ConfigError where there is nothing to draw with."""
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise ConfigError(
            "pictures need matplotlib: pip install 'gossipsync[sim]', or ask for no picture"
        ) from error
    # The salt names what is shared within one picture; two on a page must not share names.
    with rc_context(
        {
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#dddddd",
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.6,
            "legend.frameon": False,
            "legend.fontsize": 8.5,
            "savefig.dpi": 150,
            "svg.hashsalt": name,
        }
    ):
        yield


def new_figure(height: float = 2.9) -> Figure:
    """An empty picture as wide as a page."""
    from matplotlib.figure import Figure

    return Figure(figsize=(7.2, height))


def svg_of(figure: Figure) -> str:
    """The picture as an element to put into a page."""
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    markup = text.getvalue()
    markup = markup[markup.index("<svg") :]
    # Names of groups serve nobody and would stand twice on one page.
    markup = re.sub(r'<g id="[^"]*"', "<g", markup)
    return re.sub(r"<metadata>.*?</metadata>", "", markup, flags=re.DOTALL)


def check_place(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raises ConfigError unless a file may be written there, of a kind we write."""
    if path.suffix.lower() not in suffixes:
        raise ConfigError(f"{path} should end in {' or '.join(suffixes)}; name it so")
    try:
        with _part_of(path).open("wb"):
            pass
        _part_of(path).unlink()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror or error}; name another place"
        ) from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file by another name first. Raises ConfigError."""
    part = _part_of(path)
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConfigError(
            f"{path} cannot be written: {error.strerror or error}; name another place"
        ) from error


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")
