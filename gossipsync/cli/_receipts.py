"""What every write has in common: it is asked for, waited for, and answered with a receipt.

Invariant: a write that the command line reports as done is in this peer's own store.
"""

import click

from gossipsync.cli._options import Invocation, Terms
from gossipsync.cli._text import json_text

__all__ = ["print_receipt", "write"]


def write(
    invocation: Invocation,
    operation: str,
    terms: Terms,
    **arguments: object,
) -> dict[str, object]:
    """The receipt of a write, once `ack` holds. Raises AckTimeoutError when it does not in time."""
    with invocation.call() as caller:
        # Without a timeout the peer's ack_timeout bounds the wait, and only the peer knows it.
        return caller.ask_fields(
            operation,
            waits_s=terms.timeout_s,
            ack=terms.ack,
            timeout_s=terms.timeout_s,
            after=terms.after,
            **arguments,
        )


def print_receipt(receipt: dict[str, object], output: str) -> None:
    """Print a receipt (hlc, token, acked_by) for programs; to people a write that worked is silent."""
    if output != "table":
        click.echo(json_text({"schema": 1, **receipt}))
