"""Comparing two peers that this machine reaches: diff.

Invariant: no value leaves a peer for it; keys are compared by what stands for their value and expiry, the same that adds up to a
bucket's fingerprint.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click
from attrs import frozen

from gossipsync.cli._caller import Caller, fields_of
from gossipsync.cli._failures import NoPeerError
from gossipsync.cli._options import Invocation, PeerCommand, output_option
from gossipsync.cli._output import Report, print_report
from gossipsync.cli._text import shown

__all__ = ["diff"]

_SHORT_ID: Final = 12


@frozen
class _End:
    """One of the two peers."""

    caller: Caller
    name: object
    peer_id: object
    fingerprints: dict[str, object]


@frozen
class _Bucket:
    """What one peer has of a bucket: what stands for each key, and (peer id, epoch) -> index of each line."""

    keys: dict[str, bytes]
    lines: dict[tuple[str, str], int]


@click.command(
    cls=PeerCommand, epilog="Example: gossipsync diff web1/gossipsync.toml web2/data/control.sock"
)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@output_option
@click.pass_obj
def diff(invocation: Invocation, a: str, b: str, output: str) -> None:
    """Show which origins and keys differ between two peers.

    A and B are peers of this machine: a control socket, a settings file, a folder with one of these, or the name or peer id of the
    local peer. Of another machine's peer, compare `status` fingerprints, or load its archive into a peer here.
    """
    with ExitStack() as stack:
        ends = [_end(stack.enter_context(_call(invocation, called))) for called in (a, b)]
        names = sorted({name for end in ends for name in end.fingerprints})
        lines: list[dict[str, object]] = []
        keys: list[dict[str, object]] = []
        for name in names:
            found = [_bucket(end.caller, name) for end in ends]
            lines += _lines(name, *found)
            if len({end.fingerprints.get(name) for end in ends}) > 1:
                keys += _keys(name, *found)
    first, second = ends
    document = {
        "schema": 1,
        "a": {"name": first.name, "peer_id": first.peer_id},
        "b": {"name": second.name, "peer_id": second.peer_id},
        "lines": lines,
        "keys": keys,
    }
    rows = [{"type": "line", **row} for row in lines] + [{"type": "key", **row} for row in keys]
    print_report(Report(document, rows, lambda: _screen(first, second, lines, keys)), output)


def _call(invocation: Invocation, called: str) -> Caller:
    path = Path(called)
    places = [path, path / "gossipsync.toml", path / "control.sock", path / "data" / "control.sock"]
    for place in places:
        if place.suffix == ".toml" and place.is_file():
            return Invocation(config=place).call()
        if place.is_socket():
            return Caller(place)
    caller = invocation.call()
    status = caller.ask_fields("status")
    if called == status["name"] or (called and str(status["peer_id"]).startswith(called)):
        return caller
    caller.close()
    raise NoPeerError(f"{called!r} is no peer that this machine reaches: name its control socket")


def _end(caller: Caller) -> _End:
    status = caller.ask_fields("status")
    buckets = status["buckets"]
    assert isinstance(buckets, list)
    rows = [fields_of(bucket) for bucket in buckets]
    fingerprints = {str(row["name"]): row["fingerprint"] for row in rows}
    return _End(caller, status["name"], status["peer_id"], fingerprints)


def _bucket(caller: Caller, name: str) -> _Bucket:
    keys: dict[str, bytes] = {}
    for part in caller.parts("sums", bucket=name):
        keys.update(part if isinstance(part, list) else ())
    rows = caller.last_result()["lines"]
    assert isinstance(rows, list)
    lines = {}
    for row in map(fields_of, rows):
        index = row["index"]
        assert isinstance(index, int)
        lines[str(row["peer_id"]), str(row["epoch"])] = index
    return _Bucket(keys, lines)


def _lines(name: str, a: _Bucket, b: _Bucket) -> list[dict[str, object]]:
    return [
        {
            "bucket": name,
            "origin": line[0],
            "epoch": line[1],
            "a": a.lines.get(line, 0),
            "b": b.lines.get(line, 0),
        }
        for line in sorted(a.lines.keys() | b.lines.keys())
        if a.lines.get(line, 0) != b.lines.get(line, 0)
    ]


def _keys(name: str, a: _Bucket, b: _Bucket) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for key in sorted(a.keys.keys() | b.keys.keys()):
        if a.keys.get(key) != b.keys.get(key):
            where = "both" if key in a.keys and key in b.keys else "a" if key in a.keys else "b"
            rows.append({"bucket": name, "key": key, "in": where})
    return rows


def _screen(
    a: _End, b: _End, lines: list[dict[str, object]], keys: list[dict[str, object]]
) -> list[str]:
    if not lines and not keys:
        return [f"{shown(a.name)} and {shown(b.name)} have the same"]
    only = {"a": f"only {shown(a.name)}", "b": f"only {shown(b.name)}", "both": "they differ"}
    told = [
        f"line  {shown(row['bucket'])}  {str(row['origin'])[:_SHORT_ID]}  epoch {row['epoch']}: "
        f"{shown(a.name)} {row['a']}, {shown(b.name)} {row['b']}"
        for row in lines
    ]
    return told + [
        f"key   {shown(row['bucket'])}  {shown(row['key'])}: {only[str(row['in'])]}" for row in keys
    ]
