"""How the state of the mesh looks to a person: screens and tables.

Invariant: everything a peer wrote passes through `shown` and stands in plain text cells.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gossipsync.cli._output import table
from gossipsync.cli._text import shown

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = ["gossip_screen", "member_table", "size", "span", "state_cell", "status_screen"]

_STYLES = {
    "alive": "green",
    "ready": "green",
    "suspect": "yellow",
    "down": "red",
    "joining": "yellow",
}
_SHORT_ID = 12
_REFUSED_LINES = 8
"""Incompatible peers that a screen names; the documents have all."""


def status_screen(status: Mapping[str, object]) -> "RenderableType":
    """`status` as one screen."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_facts(status)]
    buckets = _rows(status["buckets"])
    parts.append(_bucket_table(buckets) if buckets else Text("no buckets yet\n"))
    if rejected := _mapping(status["rejected"]):
        counts = ", ".join(f"{shown(reason)} {count}" for reason, count in rejected.items())
        parts.append(Text(f"rejected   {counts}"))
    warnings = status["warnings"]
    names = ", ".join(map(shown, warnings)) if isinstance(warnings, list) else ""
    parts.append(Text(f"warnings   {names or 'none'}", style="yellow" if names else ""))
    parts += _refused_lines(status, width=9)
    if failure := status["store_failure"]:
        parts.append(Text(f"store      {shown(failure)}", style="red"))
    return Group(*parts)


def member_table(rows: Sequence[Mapping[str, object]]) -> "Table":
    """The member table."""
    return table(
        ["name", "peer", "address", "zone", "state", "last seen", "behind"],
        (
            (
                row["name"],
                str(row["peer_id"])[:_SHORT_ID],
                row["address"],
                row["zone"] or None,
                state_cell(row["state"]),
                None if row["last_seen_s"] is None else _ago(row["last_seen_s"]),
                row["behind"],
            )
            for row in rows
        ),
        numeric=["behind"],
    )


def state_cell(state: object) -> "Text":
    """A state in the colour that says how good it is."""
    from rich.text import Text

    return Text(shown(state), style=_STYLES.get(str(state), ""))


def gossip_screen(info: Mapping[str, object]) -> "RenderableType":
    """`gossipinfo`: what is known of every log, what every link carries, what waits."""
    from rich.console import Group
    from rich.text import Text

    facts = {name: info[name] for name in ("peer_id", "epoch", "digest") if name in info}
    for group in ("health", "queues", "drops", "traffic"):
        numbers = _mapping(info.get(group))
        if numbers:
            facts[group] = ", ".join(f"{name} {count}" for name, count in numbers.items())
    parts: list[RenderableType] = [
        Text(f"{name:<8}  {shown(fact)}") for name, fact in facts.items()
    ]
    parts += _refused_lines(info, width=8)
    if members := _rows(info.get("members")):
        parts.append(member_table(members))
    parts += [_link_table(_rows(info.get("links"))), _vector_table(_rows(info.get("vector")))]
    return Group(*parts)


def size(count: object) -> str:
    """A number of bytes as people read it."""
    if not isinstance(count, int | float):
        return "–"
    amount = float(count)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return (
                f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
            )
        amount /= 1000
    return f"{amount:.1f} GB"


def span(seconds: object) -> str:
    """A span as people read it."""
    if not isinstance(seconds, int | float):
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def _ago(seconds: object) -> str:
    return "none yet" if seconds is None else f"{span(seconds)} ago"


def _facts(status: Mapping[str, object]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    counts = _mapping(status["members"])
    lag, traffic = _mapping(status["lag_s"]), _mapping(status["traffic"])
    offset = status["clock_offset_ms"]
    facts = {
        "peer": f"{shown(status['name'])}  {str(status['peer_id'])[:_SHORT_ID]}",
        "state": state_cell(status["state"]),
        "address": shown(status["address"] or "does not listen"),
        "members": ", ".join(f"{count} {shown(name)}" for name, count in counts.items()),
        "lag": f"p50 {span(lag.get('p50'))}, p99 {span(lag.get('p99'))}",
        "last round": _ago(status["last_round_s"]),
        "clock": "offset unknown" if offset is None else f"offset {offset} ms",
        "traffic": f"{size(traffic.get('sent_bytes'))} sent, {size(traffic.get('received_bytes'))} received",
        "up": f"{span(status['uptime_s'])}, version {shown(status['version'])}",
    }
    grid = Table.grid(padding=(0, 3))
    for name, fact in facts.items():
        grid.add_row(Text(name, style="bold"), fact if isinstance(fact, Text) else Text(str(fact)))
    return grid


def _bucket_table(rows: Sequence[Mapping[str, object]]) -> "Table":
    return table(
        ["bucket", "kind", "keys", "tombstones", "size", "origins", "fingerprint"],
        (
            (
                row["name"],
                row["kind"],
                row["keys"],
                row["tombstones"],
                size(row["bytes"]),
                row["origins"],
                str(row["fingerprint"])[:16],
            )
            for row in rows
        ),
        numeric=["keys", "tombstones", "size", "origins"],
    )


def _link_table(rows: Sequence[Mapping[str, object]]) -> "Table":
    return table(
        ["link to", "peer", "heard", "queued", "sent", "received", "logs behind"],
        (
            (
                row["name"],
                str(row["peer_id"])[:_SHORT_ID],
                _ago(row["heard_s"]),
                size(row["queued_bytes"]),
                size(row["sent_bytes"]),
                size(row["received_bytes"]),
                row["lines_behind"],
            )
            for row in rows
        ),
        numeric=["queued", "sent", "received", "logs behind"],
    )


def _vector_table(rows: Sequence[Mapping[str, object]]) -> "Table":
    return table(
        ["bucket", "origin", "epoch", "bundles", "stored", "head"],
        (
            (
                row["bucket"],
                str(row["peer_id"])[:_SHORT_ID],
                row["epoch"],
                row["index"],
                row["stored"],
                str(row["head"])[:_SHORT_ID],
            )
            for row in rows
        ),
        numeric=["bundles", "stored"],
    )


def _refused_lines(document: Mapping[str, object], *, width: int) -> list["Text"]:
    """Peers without a common protocol, the first few of them in words."""
    from rich.text import Text

    details = [shown(row["detail"]) for row in _rows(document.get("incompatible"))]
    rest = len(details) - _REFUSED_LINES
    lines = details[:_REFUSED_LINES] + ([f"and {rest} more: see -o json"] if rest > 0 else [])
    return [Text(f"{'refused':<{width}}  {line}", style="yellow") for line in lines]


def _rows(value: object) -> list[Mapping[str, object]]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
