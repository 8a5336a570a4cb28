"""The report of one run: one page that needs nothing else, to read on a screen or on paper.

Invariant: no link, script or font from elsewhere; whatever comes from outside is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gossipsync.sim.report import _drawing, _pictures
from gossipsync.sim.report._samples import Samples
from gossipsync.sim.result import Result, Violation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKED: Final = re.compile(r"`([^`]+)`")
_STYLE: Final = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "DejaVu Sans", Arial, sans-serif; color: #1d2429; background: #fff;
       max-width: 52rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .3rem; }
p { margin: .3rem 0 .6rem; }
figure { margin: 0; break-inside: avoid; }
figcaption { color: #4c575e; font-size: .9rem; }
section { break-inside: avoid; }
svg { width: 100%; height: auto; display: block; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { text-align: left; padding: .16rem 1.4rem .16rem 0; border-bottom: 1px solid #e3e7ea;
         vertical-align: top; font-weight: normal; }
th { color: #4c575e; white-space: nowrap; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .6rem 1.2rem;
           margin: 1.2rem 0; }
.figures div { border-left: 3px solid #1b5e8c; padding-left: .7rem; }
.figures b { display: block; font-size: 1.25rem; }
.figures span { color: #4c575e; font-size: .85rem; }
.options { columns: 2; column-gap: 2rem; }
.options table { width: 100%; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .86rem; }
code { overflow-wrap: anywhere; }
.command span { white-space: nowrap; }
pre { background: #f4f6f7; padding: .7rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.bad { color: #a01f2d; font-weight: bold; }
@page { size: A4; margin: 16mm 14mm; }
@media print { body { font-size: 10pt; margin: 0; max-width: none; padding: 0; }
               h2 { margin-top: .9rem; } svg { width: auto; max-width: 100%; height: 56mm; }
               .figures { margin: .7rem 0; } }
"""


def check_place(path: Path) -> None:
    """Raises ConfigError unless a page can be made and written there: ask before the run."""
    _drawing.check_place(path, (".html", ".htm"))
    with _drawing.drawing("check"):
        pass


def write_page(
    path: Path, result: Result, samples: Samples, *, title: str, text: str, command: str
) -> None:
    """Write the page of a finished run; `text` says what it shows. Raises ConfigError."""
    page = "".join(_page(result, samples, title, text, command))
    _drawing.write_whole(path, page.encode())


def _page(result: Result, samples: Samples, title: str, text: str, command: str) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    yield f"<h1>{escape(title)}</h1>\n"
    for paragraph in text.split("\n\n"):
        marked = _MARKED.sub(r"<code>\1</code>", escape(paragraph))
        yield f"<p>{marked}</p>\n"
    words = " ".join(f"<span>{escape(word)}</span>" for word in command.split())
    yield f'<p><code class="command">{words}</code></p>\n'
    yield from _violations(result.violations)
    yield _figures(result)
    yield from _sections(result, samples)
    yield _details(result)
    yield "</body>\n</html>\n"


def _violations(violations: tuple[Violation, ...]) -> Iterator[str]:
    for violation in violations:
        where = "" if violation.peer is None else f" at peer {violation.peer}"
        yield (
            f'<p class="bad">Broken: {escape(violation.checker)}{where},'
            f" {violation.virtual_s:g} s: {escape(violation.detail)}</p>\n"
        )
        if violation.trace:
            yield f"<pre>{escape(chr(10).join(violation.trace))}</pre>\n"


def _figures(result: Result) -> str:
    rounds = [_plain(result.rounds_to[share]) for share in ("50", "99", "100")]
    shown = {
        "rounds to 50 / 99 / 100 %": " / ".join(rounds),
        "bytes a peer": _plain(round(result.bytes_per_peer)),
        "exchanges": _plain(result.exchanges),
        "virtual seconds": _plain(round(result.virtual_s, 1)),
        "real seconds": _plain(result.wall_s and round(result.wall_s, 1)),
        "invariants": "all held" if not result.violations else f"{len(result.violations)} broken",
        "in the end": "all equal" if result.converged else "not all equal",
        **{name.replace("_", " "): _plain(value) for name, value in result.figures.items()},
    }
    cells = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>\n"
        for name, value in shown.items()
    )
    return f'<div class="figures">\n{cells}</div>\n'


def _sections(result: Result, samples: Samples) -> Iterator[str]:
    options = result.options
    start_s = options.first_write_s
    pictures: tuple[tuple[str, str, Callable[[], Figure]], ...] = (
        (
            "Spread",
            "How far updates have come, a mark a round; dotted where 50, 99 and 100 % of the peers had all.",
            lambda: _pictures.infected(result, samples),
        ),
        (
            "Bytes",
            "What a peer sends in a round, by kind: comparing (digest), updates (delta), who is there (membership).",
            lambda: _pictures.traffic(result.rows, options.interval, start_s),
        ),
        (
            "Staleness",
            "The age of the oldest update that a peer lacks and somebody has.",
            lambda: _pictures.staleness(samples),
        ),
        (
            "Lag of each peer",
            "One line a peer, or the worst of a band of peers; grey where it did not run.",
            lambda: _pictures.heat(samples),
        ),
        (
            "Links",
            "Open links of the average peer; exchanges with random partners open some for a while.",
            lambda: _pictures.links(result.rows, start_s),
        ),
    )
    for heading, caption, draw in pictures:
        with _drawing.drawing(heading):
            svg = _drawing.svg_of(draw())
        yield (
            f"<section><h2>{heading}</h2>\n<figure>{svg}"
            f"<figcaption>{caption}</figcaption></figure></section>\n"
        )


def _details(result: Result) -> str:
    return (
        "<h2>Options</h2>\n<div class='options'>"
        + _table(result.config)
        + "</div>\n<h2>Trace</h2>\n"
        + f"<p><code>{escape(result.trace_hash)}</code>: the same seed and version give the same.</p>\n"
    )


def _table(values: Mapping[str, object]) -> str:
    cells = "".join(
        f"<tr><th>{escape(name.replace('_', ' '))}</th><td>{escape(_plain(value))}</td></tr>\n"
        for name, value in values.items()
    )
    return f"<table>\n{cells}</table>"


def _plain(value: object) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:g}"
        case tuple() | list():
            return " : ".join(f"{part:g}" for part in value)
        case _:
            return str(value)
