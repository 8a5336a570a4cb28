"""What state the mesh is in, and leaving it: status, members, gossipinfo, wait, leave, forget.

Invariant: `--check` judges this peer alone; the state of others never makes it unhealthy.
"""

import time
from typing import Final

import click

from gossipsync.cli import _screens
from gossipsync.cli._caller import Caller, fields_of
from gossipsync.cli._failures import NoPeerError, UnhealthyError
from gossipsync.cli._options import (
    SECONDS,
    Invocation,
    PeerCommand,
    output_option,
    repeat_option,
)
from gossipsync.cli._output import Report, repeat

__all__ = ["forget", "gossipinfo", "leave", "members", "status", "wait"]

UNHEALTHY_WARNINGS: Final = frozenset(
    {"behind", "forked", "cloned", "clock-suspect", "revoked", "store-failing"}
)
_STATUS_ORDER: Final = (
    *(
        "schema",
        "name",
        "peer_id",
        "address",
        "network_id",
        "epoch",
        "state",
        "uptime_s",
        "version",
    ),
    *("members", "buckets", "lag_s", "clock_offset_ms", "traffic", "rejected", "warnings"),
)
_MEMBERS_ORDER: Final = ("alive", "suspect", "down", "away")
_BUCKET_ORDER: Final = ("name", "kind", "keys", "tombstones", "bytes", "origins", "fingerprint")
_MEMBER_ORDER: Final = (
    *("name", "peer_id", "address", "zone", "state", "epoch", "last_seen_s", "behind"),
)
_GOSSIP_ORDER: Final = ("schema", "peer_id", "epoch", "digest", "members", "vector", "links")
_APPEAR_S: Final = 5.0
"""How long `wait` gives a peer that is just being started to open its control socket."""


@click.command(cls=PeerCommand, epilog="Example: gossipsync status --check && deploy-next-one")
@click.option(
    "--check",
    is_flag=True,
    help="Exit 4 if this peer is unfit: joining, leaving, alone though it has seeds, or warned.",
)
@output_option
@repeat_option
@click.pass_obj
def status(invocation: Invocation, check: bool, output: str, every_s: float | None) -> None:
    """This peer on one screen.

    Its state, members, buckets, lag, traffic and warnings.
    """
    if check and every_s is not None:
        raise click.UsageError("--check answers once; it does not go with -w")
    complaints: list[str] = []

    def ask() -> Report:
        with invocation.call() as caller:
            document = _status_document(caller.ask_fields("status"))
        complaints[:] = _complaints(document)
        return Report(document, [document], lambda: _screens.status_screen(document))

    repeat(ask, output, every_s)
    if check and complaints:
        raise UnhealthyError(f"this peer is {', '.join(complaints)}")


@click.command(cls=PeerCommand, epilog="Example: gossipsync members -w 2")
@output_option
@repeat_option
@click.pass_obj
def members(invocation: Invocation, output: str, every_s: float | None) -> None:
    """The member table, as this peer sees it."""

    def ask() -> Report:
        with invocation.call() as caller:
            rows = [
                _ordered(fields_of(row), _MEMBER_ORDER)
                for part in caller.parts("members")
                if isinstance(part, list)
                for row in part
            ]
        document = {"schema": 1, "members": rows}
        return Report(document, rows, lambda: _screens.member_table(rows))

    repeat(ask, output, every_s)


@click.command(cls=PeerCommand, epilog="Example: gossipsync gossipinfo -o json")
@click.argument("peer", required=False)
@output_option
@repeat_option
@click.pass_obj
def gossipinfo(
    invocation: Invocation, peer: str | None, output: str, every_s: float | None
) -> None:
    """Vectors, links, this peer's own health, queues and traffic.

    Of all members, or of PEER alone: an exact name, or at least 8 characters of a peer id.
    """

    def ask() -> Report:
        with invocation.call() as caller:
            info = {"schema": 1, **caller.ask_fields("gossipinfo", peer=peer)}
        document = _ordered(info, _GOSSIP_ORDER)
        return Report(document, [document], lambda: _screens.gossip_screen(document))

    repeat(ask, output, every_s)


@click.command(cls=PeerCommand, epilog="Example: gossipsync wait --members 3 --synced --timeout 30")
@click.option(
    "--members",
    "member_count",
    metavar="N",
    type=click.IntRange(min=1),
    help="Until N members are alive, this one included.",
)
@click.option(
    "--synced",
    is_flag=True,
    help="Until this peer lacks nothing that its members are known to have.",
)
@click.option("--token", metavar="T", help="Until this peer has what the token stands for.")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="S",
    type=SECONDS,
    help="Give up after S seconds, exit 5  [default: never]",
)
@click.pass_obj
def wait(
    invocation: Invocation,
    member_count: int | None,
    synced: bool,
    token: str | None,
    timeout_s: float | None,
) -> None:
    """Wait until the mesh is as asked.

    With several options, until all of them hold. For scripts: exits 5 when the time is up.
    """
    if member_count is None and not synced and token is None:
        raise click.UsageError("say what to wait for: --members, --synced or --token")
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with _appearing(
        invocation, _APPEAR_S if timeout_s is None else min(timeout_s, _APPEAR_S)
    ) as caller:
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        caller.ask(
            "wait",
            waits_s=left_s,
            members=member_count,
            synced=synced,
            token=token,
            timeout_s=left_s,
        )


@click.command(cls=PeerCommand, epilog="Example: gossipsync leave -c old-peer/gossipsync.toml")
@click.pass_obj
def leave(invocation: Invocation) -> None:
    """Give up this peer's membership and end it.

    The others stop expecting it back. To stop a peer for a while, send it SIGTERM instead.
    """
    with invocation.call() as caller:
        caller.ask_to_end("leave")


@click.command(cls=PeerCommand, epilog="Example: gossipsync forget web-7")
@click.argument("peer")
@click.pass_obj
def forget(invocation: Invocation, peer: str) -> None:
    """Give up a member that is dead for good, everywhere.

    PEER is an exact name, or at least 8 characters of a peer id. It counts no more for ack=majority and all. One that is alive cannot
    be forgotten; one that comes back is a member again.
    """
    with invocation.call() as caller:
        caller.ask_fields("forget", peer=peer)


def _appearing(invocation: Invocation, patience_s: float) -> Caller:
    """The local peer, or NoPeerError if it has not opened its control socket within `patience_s`."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return invocation.call()
        except NoPeerError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.02)


def _complaints(document: dict[str, object]) -> list[str]:
    state = document["state"]
    warnings = document["warnings"]
    assert isinstance(warnings, list)
    found = [str(state)] if state in {"joining", "leaving"} else []
    if state == "alone" and document["has_seeds"]:
        found.append("alone though it has seeds")
    return found + [f"warned {code}" for code in warnings if code in UNHEALTHY_WARNINGS]


def _status_document(answer: dict[str, object]) -> dict[str, object]:
    status = _ordered(answer, _STATUS_ORDER)
    status["members"] = _ordered(fields_of(status["members"]), _MEMBERS_ORDER)
    buckets = status["buckets"]
    assert isinstance(buckets, list)
    status["buckets"] = [_ordered(fields_of(bucket), _BUCKET_ORDER) for bucket in buckets]
    return status


def _ordered(fields: dict[str, object], order: tuple[str, ...]) -> dict[str, object]:
    """The same in the order that the documentation has; canonical CBOR has one of its own."""
    return {name: fields[name] for name in order if name in fields} | fields
