"""Options of simulated worlds as people write them: `sim sweep` takes several values of each, separated by commas.

Invariant: what `parsed` gives is of the type that `sim.Options` expects; whether the value makes sense is for the options to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import click

from gossipsync.cli._settings import seconds_of
from gossipsync.errors import ConfigError

__all__ = ["HELP", "OPTION", "option_axes", "parsed", "parsed_axis", "parsed_seeds"]

F = TypeVar("F", bound=Callable[..., object])

HELP: Final = {
    "peers": "Peers at the start.",
    "seed": "All randomness comes from it.",
    "updates": "Updates in all.",
    "writers": "Peers that write.",
    "workload": "burst, poisson, sessions, hot or counters.",
    "rate": "Updates a second, unless all come at once.",
    "value_bytes": "Size of a value.",
    "interval": "Between rounds.",
    "fanout": "Partners a round.",
    "jitter": "Share of the interval by which rounds vary.",
    "latency": "Median one-way latency.",
    "spread": "Of latencies: constant, uniform, lan or wan.",
    "loss": "Share of conversations lost, of frames late.",
    "drops": "Share of single frames lost.",
    "duplicates": "Share of frames doubled.",
    "reorders": "Share of frames overtaken.",
    "bandwidth": "Bytes a second of each direction of a link.",
    "partition": "AT:FOR:SHARE, in seconds.",
    "cuts": "Share of peers a minute cut off from some others in one direction.",
    "churn": "Share of peers replaced a minute.",
    "crashes": "Share of peers that crash a minute.",
    "restores": "Share of those that come back from an old copy.",
    "clones": "Share of peers a minute that are copied while they run, key and all.",
    "disk_failures": "Share of peers whose disk fails a minute.",
    "rollbacks": "Share of peers a minute whose store returns to an older copy while they run.",
    "rogues": "Share of peers that alter what they send.",
    "silent": "Share of peers that leave joining peers without an answer.",
    "endless": "Share of peers that answer joining peers for ever, with nothing new.",
    "skew": "Milliseconds by which clocks are off at most.",
    "clone_skew": "Milliseconds by which clocks of clones are off at most, beside skew.",
    "clock_steps": "Share of peers whose clock is set anew a minute.",
    "max_skew": "How far ahead a stamp may be; what is further waits.",
    "horizon": "Longest absence after which a peer returns with its data.",
    "trim_after": "How long what has lost stays in its bundle.",
    "budget": "Bytes a delta.",
    "ordering": "mixed, depth, breadth or precise.",
    "ack": "What writers wait for: self, a number, majority, all, zones or mixed.",
    "push": "on or off.",
    "membership": "on: presence is gossiped; off: a directory.",
    "start": "With membership on: warm or cold (only seeds are known).",
    "apart": "How long every peer lives alone, without seeds, before all meet.",
    "restart_after_meeting": "Share of starts that end within 10 s of the first link.",
    "joiners": "COUNT@SECONDS: empty newcomers that start at once.",
    "warmup": "From the start to the first write.",
    "quiet": "When faults and writes end.",
    "until": "converged, or how long to run.",
}
_WORDS: Final = frozenset({"workload", "spread", "ordering", "membership", "start", "ack"})
_SPANS: Final = frozenset(
    {
        *("interval", "latency", "max_skew", "horizon", "trim_after"),
        *("apart", "warmup", "quiet", "until"),
    }
)
_WHOLE: Final = frozenset(
    {"peers", "seed", "updates", "writers", "value_bytes", "fanout", "budget", "bandwidth"}
)
_MOST_SEEDS: Final = 100_000


class _Option(click.ParamType[str]):
    """The name of an option, as in `loss` or `value-bytes`."""

    name = "option"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        name = str(value).replace("-", "_")
        if name not in HELP:
            self.fail(f"{value!r} is no option of a run; options: {', '.join(HELP)}", param, ctx)
        return name


OPTION: Final = _Option()


def parsed(name: str, text: str) -> object:
    """One value of an option. Raises click.UsageError."""
    shown = f"--{name.replace('_', '-')}"
    try:
        return _value(name, text.strip())
    except (ValueError, ConfigError) as error:
        raise click.UsageError(f"{shown}: {text!r} is not {_kind(name)}") from error


def _value(name: str, text: str) -> object:
    if name in _WORDS:
        return text
    if name == "push":
        if text not in {"on", "off"}:
            raise ValueError(text)
        return text == "on"
    if name == "partition":
        at, span, share = text.split(":")
        return (seconds_of(at), seconds_of(span), float(share))
    if name == "joiners":
        count, at = text.split("@")
        return (int(count), seconds_of(at))
    if name == "until" and text == "converged":
        return None
    if name in _SPANS:
        return seconds_of(text)
    return int(text) if name in _WHOLE else float(text)


def _kind(name: str) -> str:
    if name == "push":
        return "on or off"
    if name == "partition":
        return "seconds:seconds:share, as in 10:30:0.5"
    if name == "joiners":
        return "a number of peers and a time, as in 6@20"
    if name in _SPANS:
        return "a duration, as in 5, 20ms or 1m"
    return "a whole number" if name in _WHOLE else "a number"


def parsed_axis(name: str, text: str) -> list[object]:
    """Several values, separated by commas. Raises click.UsageError."""
    values = [parsed(name, part) for part in text.split(",")]
    return list(dict.fromkeys(values))


def parsed_seeds(text: str) -> list[object]:
    """`5`: seeds 0 to 4; `3-7`: 3 to 7; `1,5,9`: these. Raises click.UsageError."""
    try:
        if "," in text:
            seeds = [int(part) for part in text.split(",")]
        elif "-" in text:
            first, last = (int(part) for part in text.split("-"))
            seeds = list(range(first, min(last, first + _MOST_SEEDS) + 1))
        else:
            seeds = list(range(min(int(text), _MOST_SEEDS)))
    except ValueError:
        seeds = []
    if not seeds:
        raise click.UsageError(f"--seeds: {text!r} is none of: 5 (0 to 4), 3-7, 1,5,9")
    return [*dict.fromkeys(seeds)]


def option_axes(function: F) -> F:
    """Every option of a world, each with one value or several."""
    for name, text in reversed(HELP.items()):
        function = click.option(f"--{name.replace('_', '-')}", name, metavar="V[,V…]", help=text)(
            function
        )
    return function
