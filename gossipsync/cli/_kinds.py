"""Changing counters and sets: incr, sadd, srem.

The bucket is made with that kind if nobody has announced it yet; on a bucket of another kind these are
an error.
"""

import click

from gossipsync.cli._options import Invocation, PeerCommand, Terms, output_option, write_options
from gossipsync.cli._receipts import print_receipt, write

__all__ = ["incr", "sadd", "srem"]


@click.command(
    cls=PeerCommand,
    context_settings={"ignore_unknown_options": True},
    epilog="Example: gossipsync incr hits /index; gossipsync incr stock bolts -5",
)
@click.argument("bucket")
@click.argument("key")
@click.argument("amount", type=click.IntRange(-(2**63), 2**63 - 1), default=1)
@write_options
@output_option
@click.pass_obj
def incr(
    invocation: Invocation,
    bucket: str,
    key: str,
    amount: int,
    terms: Terms,
    output: str,
) -> None:
    """Add AMOUNT to a counter.

    AMOUNT is 1 unless given, and may be negative. Prints the value as this peer now sees it. Additions on several peers at once all count.
    """
    receipt = write(invocation, "incr", terms, bucket=bucket, key=key, amount=amount)
    if output == "table":
        click.echo(receipt["value"])
    print_receipt(receipt, output)


@click.command(cls=PeerCommand, epilog="Example: gossipsync sadd online room-1 ann ben")
@click.argument("bucket")
@click.argument("key")
@click.argument("elements", nargs=-1, required=True)
@write_options
@output_option
@click.pass_obj
def sadd(
    invocation: Invocation,
    bucket: str,
    key: str,
    elements: tuple[str, ...],
    terms: Terms,
    output: str,
) -> None:
    """Add ELEMENTS to a set."""
    _change_set(invocation, "sadd", bucket, key, elements, terms, output)


@click.command(cls=PeerCommand, epilog="Example: gossipsync srem online room-1 ann")
@click.argument("bucket")
@click.argument("key")
@click.argument("elements", nargs=-1, required=True)
@write_options
@output_option
@click.pass_obj
def srem(
    invocation: Invocation,
    bucket: str,
    key: str,
    elements: tuple[str, ...],
    terms: Terms,
    output: str,
) -> None:
    """Remove ELEMENTS from a set."""
    _change_set(invocation, "srem", bucket, key, elements, terms, output)


def _change_set(
    invocation: Invocation,
    operation: str,
    bucket: str,
    key: str,
    elements: tuple[str, ...],
    terms: Terms,
    output: str,
) -> None:
    receipt = write(invocation, operation, terms, bucket=bucket, key=key, elements=list(elements))
    print_receipt(receipt, output)
