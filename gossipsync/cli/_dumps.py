"""Taking data out of a mesh and putting it back: dump, load.

NDJSON is for people and programs, and is written as this peer's own; an archive carries the origins' signatures, so that any peer of
the network can take it, linked or not.

Invariant: a file is read to its end and found sound before anything of it is merged or written.
"""

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import click
from attrs import frozen

from gossipsync.cli._archive import KIND, read_archive, write_archive
from gossipsync.cli._caller import Caller, fields_of
from gossipsync.cli._files import new_file
from gossipsync.cli._options import Invocation, PeerCommand, output_option
from gossipsync.cli._output import Report, print_report
from gossipsync.cli._text import json_text, time_text
from gossipsync.cli._values import spelled, unspelled
from gossipsync.errors import GossipsyncError, InternalError, LocalError, ValueTypeError

__all__ = ["dump", "load"]

_REQUEST_BYTES: Final = 512 << 10
"""Of rows or pieces in one request: with the largest value on top, still below what a peer takes."""
_REQUEST_ROWS: Final = 500
_LINE_BYTES: Final = 4 << 20
"""The largest value, every byte of it escaped, and its key."""
_WAITS_S: Final = 10.0
_MS_PER_S: Final = 1000


@click.command(
    cls=PeerCommand,
    epilog="Example: gossipsync dump sessions > sessions.ndjson; gossipsync dump --archive --out all.gsa",
)
@click.argument("buckets", metavar="[BUCKET]...", nargs=-1)
@click.option("--archive", is_flag=True, help="A signed archive instead of NDJSON.")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    default="-",
    help="A new file, mode 0600; - is stdout  [default: -]",
)
@click.pass_obj
def dump(invocation: Invocation, buckets: tuple[str, ...], archive: bool, out: Path) -> None:
    """Write out what buckets hold; all of them, if none is named.

    As NDJSON: one line a key, with its value, expiry, origin and stamp. As an archive: the bundles as their origins signed them,
    for `load` at any peer of the same network, even one that was never connected.
    """
    with invocation.call() as caller, ExitStack() as stack:
        names = buckets or _all_buckets(caller)
        if str(out) == "-":
            if archive and sys.stdout.isatty():
                raise click.UsageError("an archive is not for terminals: pass --out FILE")
            file: BinaryIO = sys.stdout.buffer
        else:
            file = stack.enter_context(new_file(out))
        if archive:
            write_archive(file, _signed(caller, names))
        else:
            for row in _rows(caller, names):
                file.write(f"{json_text(row)}\n".encode())
        file.flush()


def _all_buckets(caller: Caller) -> list[str]:
    buckets = caller.ask_fields("status")["buckets"]
    assert isinstance(buckets, list)
    return [str(fields_of(bucket)["name"]) for bucket in buckets]


def _signed(caller: Caller, buckets: Iterable[str]) -> Iterator[tuple[bytes, list[bytes]]]:
    for bucket in buckets:
        for part in caller.parts("pieces", bucket=bucket):
            match part:
                case [bytes(certificate), [*pieces]]:
                    yield certificate, [piece for piece in pieces if isinstance(piece, bytes)]
                case _:
                    raise InternalError("the peer's answer is not what this version expects")


def _rows(caller: Caller, buckets: Iterable[str]) -> Iterator[dict[str, object]]:
    from gossipsync.core.model.values import decode_value

    for bucket in buckets:
        for part in caller.parts("rows", bucket=bucket):
            for given in part if isinstance(part, list) else []:
                row = fields_of(given)
                raw, expires_ms = row["value"], row["expires_ms"]
                assert isinstance(raw, bytes)
                yield {
                    "bucket": row["bucket"],
                    "key": row["key"],
                    "kind": row["kind"],
                    "value": spelled(decode_value(raw)),
                    "expires": None if expires_ms is None else time_text(expires_ms),
                    "origin": row["origin"],
                    "hlc": row["hlc"],
                }


@click.command(
    cls=PeerCommand, epilog="Example: gossipsync load sessions.ndjson; gossipsync load - < all.gsa"
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@output_option
@click.pass_obj
def load(invocation: Invocation, file: Path, output: str) -> None:
    """Put back what `dump` wrote: NDJSON or an archive; - is stdin.

    NDJSON is written as this peer's own, so that each key has the value of its line. An archive is verified byte by byte and merged
    as if its origins were linked: what is newer here stays. A file with anything wrong in it is refused as a whole.
    """
    with ExitStack() as stack:
        content = stack.enter_context(_seekable(file))
        is_archive = content.read(len(KIND)) == KIND
        caller = stack.enter_context(invocation.call())
        report = (_load_archive if is_archive else _load_rows)(caller, content)
    document = {"schema": 1, **report}
    text = ", ".join(f"{number} {what}" for what, number in report.items())
    print_report(Report(document, [document], lambda: [text]), output)


def _seekable(path: Path) -> BinaryIO:
    """The file, or a copy of what stdin gives: it is read twice."""
    if str(path) != "-":
        return path.open("rb")
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - its caller closes it
    while data := sys.stdin.buffer.read(_REQUEST_BYTES):
        copy.write(data)
    copy.seek(0)
    return copy


def _load_archive(caller: Caller, content: BinaryIO) -> dict[str, int]:
    report = {"pieces": 0, "changed": 0}
    for is_trial in (True, False):
        content.seek(0)
        for certificate, pieces in read_archive(content, _REQUEST_BYTES):
            changed = _sent(
                caller, "load_pieces", certificate=certificate, pieces=pieces, is_trial=is_trial
            )["changed"]
            assert isinstance(changed, int)
            report["changed"] += changed
            report["pieces"] += 0 if is_trial else len(pieces)
    _sent(caller, "settle")
    return report


@frozen
class _Row:
    """One line of NDJSON, ready to be sent."""

    number: int
    bucket: str
    kind: str | None
    fields: Mapping[str, object]
    size_bytes: int


def _load_rows(caller: Caller, content: BinaryIO) -> dict[str, int]:
    content.seek(0)
    for _ in _read_rows(content):
        pass  # every line is sound, or this raises
    content.seek(0)
    report = {"written": 0, "expired": 0}
    for batch in _batches(_read_rows(content)):
        first, rows = batch[0], [row.fields for row in batch]
        try:
            answer = _sent(caller, "load_rows", bucket=first.bucket, kind=first.kind, rows=rows)
        except LocalError as error:
            lines = f"lines {first.number} to {batch[-1].number}"
            before = f"{report['written']} keys before them are written"
            raise type(error)(f"{lines}: {error} ({before}, of these none)") from error
        for name in report:
            number = answer[name]
            assert isinstance(number, int)
            report[name] += number
    _sent(caller, "settle")
    return report


def _sent(caller: Caller, operation: str, **arguments: object) -> dict[str, object]:
    return caller.ask_fields(operation, waits_s=_WAITS_S, **arguments)


def _batches(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    """Neighbours of one bucket, as many as go into one request."""
    batch: list[_Row] = []
    size = 0
    for row in rows:
        if batch and (
            (row.bucket, row.kind) != (batch[0].bucket, batch[0].kind)
            or len(batch) == _REQUEST_ROWS
            or size + row.size_bytes > _REQUEST_BYTES
        ):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row.size_bytes
    if batch:
        yield batch


def _read_rows(content: BinaryIO) -> Iterator[_Row]:
    number = 0
    while line := content.readline(_LINE_BYTES + 1):
        number += 1
        if len(line) > _LINE_BYTES:
            raise ValueTypeError(f"line {number} is longer than any that dump writes")
        if line.strip():
            yield _row(number, line)


def _row(number: int, line: bytes) -> _Row:
    from gossipsync.core.model.values import encode_value

    try:
        match json.loads(line):
            case {"bucket": str(bucket), "key": str(key), "value": value, **more}:
                kind, expires = more.get("kind"), more.get("expires")
                if not isinstance(kind, str | None):
                    raise ValueTypeError("kind is a text")
                encoded, expires_ms = encode_value(unspelled(value)), _time_ms(expires)
                fields = {"key": key, "value": encoded, "expires_ms": expires_ms}
                return _Row(number, bucket, kind, fields, len(encoded) + len(line[:512]))
            case _:
                raise ValueTypeError("it has no bucket, key and value")
    except RecursionError:
        raise ValueTypeError(f"line {number}: nested too deeply") from None
    except GossipsyncError as error:
        raise type(error)(f"line {number}: {error}") from error
    except ValueError as error:
        raise ValueTypeError(f"line {number} is not JSON as dump writes it: {error}") from error


def _time_ms(text: object) -> int | None:
    if text is None:
        return None
    if not isinstance(text, str) or (moment := datetime.fromisoformat(text)).tzinfo is None:
        raise ValueTypeError("expires is a time with its zone, or null")
    return round(moment.timestamp() * _MS_PER_S)
