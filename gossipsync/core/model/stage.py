"""Stage: how much a peer's state is worth as evidence to a peer that joins. Later stages come first in a founding.

Each peer tells its stage over each of its links; see `core._peer.standing` for the rules.
"""

from __future__ import annotations

from enum import IntEnum


class Stage(IntEnum):
    """What a peer says about its own state. It only rises while a link lasts."""

    EMPTY = 0
    """Holds nothing that is older than its start."""
    HOLDING = 1
    """Holds data, but was never a ready member with it: its own writes, or parts of a join that was cut."""
    ESTABLISHED = 2
    """Was a ready member with this state, in this run or an earlier one, and may lag since."""
    READY = 3
    """Is a ready member now: its state is evidence."""
