"""What every write has in common: it is asked for, waited for, and answered with a receipt.

Invariant: a write that the command line reports as done is in this peer's own store.
"""

from typing import Final

import click

from gossipsync.cli._options import Invocation
from gossipsync.cli._text import json_text

__all__ = ["RECEIPT_OUTPUT", "print_receipt", "write"]

RECEIPT_OUTPUT: Final = click.option(
    "-o",
    "--output",
    type=click.Choice(["json", "ndjson"]),
    help="Print the receipt: key, hlc, token, acked_by.",
)


def write(
    invocation: Invocation,
    operation: str,
    ack: int | str,
    timeout_s: float | None,
    **arguments: object,
) -> dict[str, object]:
    """The receipt of a write, once `ack` holds. Raises AckTimeoutError when it does not in time."""
    with invocation.call() as caller:
        # Without a timeout the peer's ack_timeout bounds the wait, and only the peer knows it.
        result = caller.ask(operation, waits_s=timeout_s, ack=ack, timeout_s=timeout_s, **arguments)
    assert isinstance(result, dict)
    return result


def print_receipt(receipt: dict[str, object], output: str | None) -> None:
    """Print a receipt where it was asked for; a write that worked is otherwise silent."""
    if output is not None:
        click.echo(json_text({"schema": 1, **receipt}))
