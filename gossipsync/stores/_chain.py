"""Commit chain: the identity of the newest commit, stored with it and compared by the next.

A store that comes back older (a restored snapshot, a fail-over to a lagging replica, a file that was replaced) no longer has
the commit on which the next one builds. Each commit therefore replaces the former identity in the same transaction, and fails
if another one is there. The identity has random bits of this opening, so that an older copy never matches, however many
commits it received meanwhile.
"""

from __future__ import annotations

from os import urandom  # noqa: TID251 - a run must not be predictable from another copy of the store
from typing import Final, NamedTuple

RUN_BYTES: Final = 16


class Commit(NamedTuple):
    """Identity of one commit."""

    run: bytes
    """Random, drawn by the opening that made it."""
    number: int
    """1 more than that of the commit before it, whatever opening made that."""


def new_run() -> bytes:
    """A run that no store has seen."""
    return urandom(RUN_BYTES)
