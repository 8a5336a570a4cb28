"""Comparing two peers: those that this machine reaches, and any member as the local peer sees it (diff).

Invariant: no value is shown or kept; keys are compared by what stands for them. Of two peers that this machine reaches that is
what adds up to a bucket's fingerprint; of a member what stands for the entries that it proves.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click
from attrs import frozen

from gossipsync.cli._caller import Caller, fields_of
from gossipsync.cli._options import Invocation, PeerCommand, output_option
from gossipsync.cli._output import Report, print_report
from gossipsync.cli._text import shown
from gossipsync.core.model.member_name import member_called
from gossipsync.errors import LocalError, RemoteError

__all__ = ["diff"]

_SHORT_ID: Final = 12
_SHORT_HEAD: Final = 16

_Line = tuple[int, str]
"""(index, hash of the head)."""
_Row = dict[str, object]


@frozen
class _End:
    """One of the two peers."""

    caller: Caller
    member: str | None
    """Whom of its members the local peer is to ask; None for the local peer itself."""
    name: object
    peer_id: object
    fingerprints: dict[str, object]
    """Of the buckets of the local peer."""


@click.command(cls=PeerCommand, epilog="Example: gossipsync diff web-1 web-2")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@output_option
@click.pass_obj
def diff(invocation: Invocation, a: str, b: str, output: str) -> None:
    """Show which origins and keys differ between two peers.

    A and B are peers of this machine: a control socket, a settings file, a folder with one of these; or members of the mesh: a
    exact name, or at least 8 characters of its peer id. A member is asked by the local peer, which verifies what it shows and takes none of it; nothing
    shows what a member leaves out. Buckets too large to be asked for at once are named, and only their lines compared.
    """
    lines: list[_Row] = []
    keys: list[_Row] = []
    uncompared: list[_Row] = []
    with ExitStack() as stack:
        first, second = (_end(stack, invocation, called) for called in (a, b))
        for name in sorted(first.fingerprints.keys() | second.fingerprints.keys()):
            lines += _lines(name, _lines_of(first, name), _lines_of(second, name))
            try:
                keys += _compare(name, first, second)
            except RemoteError as error:
                uncompared.append({"bucket": name, "reason": str(error)})
    document = {
        "schema": 1,
        "a": {"name": first.name, "peer_id": first.peer_id},
        "b": {"name": second.name, "peer_id": second.peer_id},
        "lines": lines,
        "keys": keys,
        "uncompared": uncompared,
    }
    rows = [
        {"type": kind, **row}
        for kind, found in (("line", lines), ("key", keys), ("uncompared", uncompared))
        for row in found
    ]
    screen = (first, second, lines, keys, uncompared)
    print_report(Report(document, rows, lambda: _screen(*screen)), output)


def _end(stack: ExitStack, invocation: Invocation, called: str) -> _End:
    path = Path(called)
    places = [path, path / "gossipsync.toml", path / "control.sock", path / "data" / "control.sock"]
    for place in places:
        if place.suffix == ".toml" and place.is_file():
            return _local_end(stack.enter_context(Invocation(config=place).call()))
        if place.is_socket():
            return _local_end(stack.enter_context(Caller(place)))
    caller = stack.enter_context(invocation.call())
    local = _local_end(caller)
    try:
        name, peer_id = member_called(called, _members(caller))
    except LocalError as error:
        raise LocalError(f"{error}; or name the control socket of a peer on this machine") from None
    if peer_id == local.peer_id:
        return local
    return _End(caller, peer_id, name, peer_id, local.fingerprints)


def _members(caller: Caller) -> Iterator[tuple[str, str, tuple[str, str]]]:
    """(name, peer id, both) of every member."""
    for part in caller.parts("members"):
        for row in map(fields_of, part if isinstance(part, list) else ()):
            name, peer_id = str(row["name"]), str(row["peer_id"])
            yield name, peer_id, (name, peer_id)


def _local_end(caller: Caller) -> _End:
    status = caller.ask_fields("status")
    buckets = status["buckets"]
    assert isinstance(buckets, list)
    rows = [fields_of(bucket) for bucket in buckets]
    fingerprints = {str(row["name"]): row["fingerprint"] for row in rows}
    return _End(caller, None, status["name"], status["peer_id"], fingerprints)


def _lines_of(end: _End, bucket: str) -> dict[tuple[str, str], _Line]:
    """By (peer id, epoch)."""
    found: dict[tuple[str, str], _Line] = {}
    for part in end.caller.parts("lines", None, bucket=bucket, peer=end.member):
        for row in map(fields_of, part if isinstance(part, list) else ()):
            index = row["index"]
            assert isinstance(index, int)
            found[str(row["peer_id"]), str(row["epoch"])] = (index, str(row["head"]))
    return found


def _lines(
    name: str, a: dict[tuple[str, str], _Line], b: dict[tuple[str, str], _Line]
) -> list[_Row]:
    nothing = (0, "")
    return [
        {
            "bucket": name,
            "origin": line[0],
            "epoch": line[1],
            "a": a.get(line, nothing)[0],
            "b": b.get(line, nothing)[0],
            "a_head": a.get(line, nothing)[1][:_SHORT_HEAD] or None,
            "b_head": b.get(line, nothing)[1][:_SHORT_HEAD] or None,
        }
        for line in sorted(a.keys() | b.keys())
        if a.get(line) != b.get(line)
    ]


def _compare(name: str, a: _End, b: _End) -> list[_Row]:
    """The keys that differ. Raises RemoteError where a member shows them not, or not all."""
    if a.member is None and b.member is None:
        if a.fingerprints.get(name) == b.fingerprints.get(name):
            return []
        return _keys(name, _keys_of(a, "sums", name), _keys_of(b, "sums", name))
    return _keys(name, _keys_of(a, "outlines", name), _keys_of(b, "outlines", name))


def _keys_of(end: _End, operation: str, bucket: str) -> dict[str, bytes]:
    """What stands for each key."""
    given: dict[str, object] = {"bucket": bucket}
    if operation == "outlines":
        given["peer"] = end.member
    keys: dict[str, bytes] = {}
    for part in end.caller.parts(operation, None, **given):
        keys.update(part if isinstance(part, list) else ())
    return keys


def _keys(name: str, a: dict[str, bytes], b: dict[str, bytes]) -> list[_Row]:
    rows: list[_Row] = []
    for key in sorted(a.keys() | b.keys()):
        if a.get(key) != b.get(key):
            where = "both" if key in a and key in b else "a" if key in a else "b"
            rows.append({"bucket": name, "key": key, "in": where})
    return rows


def _screen(
    a: _End, b: _End, lines: list[_Row], keys: list[_Row], uncompared: list[_Row]
) -> list[str]:
    if not lines and not keys and not uncompared:
        return [f"{shown(a.name)} and {shown(b.name)} have the same"]
    only = {"a": f"only {shown(a.name)}", "b": f"only {shown(b.name)}", "both": "they differ"}
    told = [
        f"line  {shown(row['bucket'])}  {str(row['origin'])[:_SHORT_ID]}  epoch {row['epoch']}: "
        + (
            f"{shown(a.name)} {row['a']}, {shown(b.name)} {row['b']}"
            if row["a"] != row["b"]
            else f"both {row['a']}, of different heads {row['a_head']} and {row['b_head']}"
        )
        for row in lines
    ]
    told += [
        f"key   {shown(row['bucket'])}  {shown(row['key'])}: {only[str(row['in'])]}" for row in keys
    ]
    return told + [
        f"keys of {shown(row['bucket'])} not compared: {shown(row['reason'])}" for row in uncompared
    ]
