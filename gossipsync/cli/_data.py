"""Reading and changing a bucket: get, put, del, keys, watch.

Invariant: a value is printed as JSON on stdout, and nothing else is: an absent key prints nothing.
"""

import sys
from typing import Final

import click

from gossipsync.cli._caller import Caller, fields_of
from gossipsync.cli._failures import Exit
from gossipsync.cli._options import (
    DURATION,
    NEVER,
    SECONDS,
    Invocation,
    PeerCommand,
    Terms,
    output_option,
    repeat_option,
    write_options,
)
from gossipsync.cli._output import Report, print_report, repeat, table
from gossipsync.cli._receipts import print_receipt, write
from gossipsync.cli._text import json_text, shown, time_text
from gossipsync.cli._values import ValueForm, parse_value, spelled, to_json
from gossipsync.errors import CursorError, LocalError

__all__ = ["delete", "get", "history", "keys", "put", "watch"]

_SHORT_ID: Final = 12


@click.command(cls=PeerCommand, epilog="Example: gossipsync get sessions 7f3a")
@click.argument("bucket")
@click.argument("key")
@click.option("--field", metavar="F", help="Only this field of a map.")
@click.option(
    "--from",
    "peer",
    metavar="PEER",
    help="As this member has it: an exact name, or at least 8 characters of a peer id.",
)
@output_option
@click.pass_context
def get(
    ctx: click.Context, bucket: str, key: str, field: str | None, peer: str | None, output: str
) -> None:
    """Print a value as JSON.

    An absent key prints nothing and exits 1; -o json says {"found": false}. Bytes print as {"$bytes": BASE64}, a datetime as
    {"$datetime": …}; a set prints as a sorted list. With --from the value is what that member has now, verified by its origin's
    signature; nothing is changed here.
    """
    with ctx.ensure_object(Invocation).call() as caller:
        if peer is None:
            result = caller.ask_fields("get", bucket=bucket, key=key, field=field)
            found = result["found"] is True
            value = _value(result["value"]) if found else None
        else:
            found, value = _fetched(caller, bucket, key, field, peer)
    if output != "table":
        click.echo(json_text({"schema": 1, "found": found, "value": spelled(value)}))
    elif found:
        click.echo(to_json(value))
    ctx.exit(Exit.FINE if found else Exit.ERROR)


@click.command(
    cls=PeerCommand, epilog="Example: gossipsync put sessions 7f3a '{\"user\": 7}' --ttl 30m"
)
@click.argument("bucket")
@click.argument("key")
@click.argument("value")
@click.option("--field", metavar="F", help="Set only this field of a map.")
@click.option(
    "--ttl",
    metavar="D",
    help="Life: seconds, or like 30s, 10m, 1h, 7d; or never  [default: the bucket's]",
)
@click.option(
    "--string", "form", flag_value="string", help="VALUE is text, whatever it looks like."
)
@click.option("--json", "form", flag_value="json", help="VALUE is JSON, or an error.")
@click.option("--bytes", "form", flag_value="bytes", help="VALUE is bytes.")
@write_options
@output_option
@click.pass_obj
def put(
    invocation: Invocation,
    bucket: str,
    key: str,
    value: str,
    field: str | None,
    ttl: str | None,
    form: ValueForm | None,
    terms: Terms,
    output: str,
) -> None:
    """Store VALUE under KEY.

    VALUE is JSON if it parses, else text; - reads it from stdin. Returns when this peer has stored it;
    --ack waits for others too.
    """
    from gossipsync.core.model.values import encode_value

    raw = sys.stdin.buffer.read() if value == "-" else value.encode(errors="surrogateescape")
    encoded = encode_value(parse_value(raw, form or "guess"))
    result = write(
        invocation,
        "put",
        terms,
        bucket=bucket,
        key=key,
        value=encoded,
        field=field,
        ttl_ms=_ttl_ms(ttl),
    )
    print_receipt(result, output)


@click.command(
    "del", cls=PeerCommand, epilog="Example: gossipsync del sessions 7f3a --ack majority"
)
@click.argument("bucket")
@click.argument("key")
@click.option("--field", metavar="F", help="Remove only this field of a map.")
@write_options
@output_option
@click.pass_obj
def delete(
    invocation: Invocation,
    bucket: str,
    key: str,
    field: str | None,
    terms: Terms,
    output: str,
) -> None:
    """Delete KEY on every peer.

    A delete is written whether the key has arrived here yet or not.
    """
    result = write(invocation, "del", terms, bucket=bucket, key=key, field=field)
    print_receipt(result, output)


@click.command(cls=PeerCommand, epilog="Example: gossipsync keys sessions --prefix user:")
@click.argument("bucket")
@click.option("--prefix", default="", help="Only keys that start so.")
@output_option
@repeat_option
@click.pass_obj
def keys(
    invocation: Invocation, bucket: str, prefix: str, output: str, every_s: float | None
) -> None:
    """List the live keys of a bucket."""

    def ask() -> Report:
        with invocation.call() as caller:
            parts = caller.parts("keys", bucket=bucket, prefix=prefix)
            found = [str(each) for part in parts if isinstance(part, list) for each in part]
        rows = [{"key": each} for each in found]
        return Report({"schema": 1, "keys": found}, rows, lambda: [*map(shown, found)])

    repeat(ask, output, every_s)


@click.command(cls=PeerCommand, epilog="Example: gossipsync watch flags --since now -o ndjson")
@click.argument("bucket")
@click.option("--prefix", default="", help="Only keys that start so.")
@click.option(
    "--since",
    metavar="CURSOR",
    help="now, or a cursor that watch has printed  [default: what is there, first]",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="S",
    type=SECONDS,
    help="End after S seconds without a change.",
)
@output_option
@click.pass_obj
def watch(
    invocation: Invocation,
    bucket: str,
    prefix: str,
    since: str | None,
    timeout_s: float | None,
    output: str,
) -> None:
    """Print what is in a bucket, then every change.

    Goes on until Ctrl-C. Several changes of one key may come as the newest one. With json and ndjson each change is one line.
    """
    if since == "":
        raise CursorError("an empty cursor")
    with invocation.call() as caller:
        parts = caller.parts(
            "watch", None, bucket=bucket, prefix=prefix, since=since, timeout_s=timeout_s
        )
        try:
            for part in parts:
                for change in part if isinstance(part, list) else []:
                    click.echo(_change_line(fields_of(change), output))
        except KeyboardInterrupt:
            return


@click.command(cls=PeerCommand, epilog="Example: gossipsync history flags beta -o json")
@click.argument("bucket")
@click.argument("key")
@output_option
@click.pass_obj
def history(invocation: Invocation, bucket: str, key: str, output: str) -> None:
    """What was written to KEY, oldest first.

    All that still holds, and what lost within the bucket's history setting, as far back as this peer has been there.
    """
    with invocation.call() as caller:
        parts = caller.parts("history", bucket=bucket, key=key)
        rows = [
            _version(fields_of(row)) for part in parts if isinstance(part, list) for row in part
        ]
    columns = ["at", "kind", "field", "value", "origin", "sender"]
    print_report(
        Report(
            {"schema": 1, "versions": rows},
            rows,
            lambda: table(
                columns,
                (
                    [row["at"], row["kind"], row["field"], json_text(row["value"])]
                    + [str(row[who])[:_SHORT_ID] for who in ("origin", "sender")]
                    for row in rows
                ),
            ),
        ),
        output,
    )


def _fetched(
    caller: Caller, bucket: str, key: str, field: str | None, peer: str
) -> tuple[bool, object]:
    """Does that member have it, and what is it?"""
    parts = list(caller.parts("fetch", bucket=bucket, keys=[key], peer=peer))
    rows = [row for part in parts if isinstance(part, list) for row in part]
    if not rows:
        return False, None
    value = _value(rows[0][1])
    if field is None:
        return True, value
    if not isinstance(value, dict):
        raise LocalError(f"the value of {key!r} has no fields; leave --field out")
    return field in value, value.get(field)


def _version(row: dict[str, object]) -> dict[str, object]:
    return {
        "kind": row["kind"],
        "field": row["field"],
        "value": spelled(_value(row["value"])),
        "origin": row["origin"],
        "sender": row["sender"],
        "hlc": row["hlc"],
        "at": time_text(row["at_ms"]),
        "expires": None if row["expires_ms"] is None else time_text(row["expires_ms"]),
    }


def _change_line(change: dict[str, object], output: str) -> str:
    raw = change["value"]
    if output == "table":
        text = "" if raw is None else " " + to_json(_value(raw))
        return f"{change['kind']:<7} {shown(change['key'])}{text}"
    value = None if raw is None else spelled(_value(raw))
    return json_text({"schema": 1, **change, "value": value})


def _ttl_ms(ttl: str | None) -> int | None:
    if ttl is None:
        return None
    if ttl == "never":
        return NEVER
    return max(1, round(DURATION.convert(ttl, None, click.get_current_context()) * 1000))


def _value(raw: object) -> object:
    from gossipsync.core.model.values import decode_value

    assert isinstance(raw, bytes)
    return decode_value(raw)
