"""Ack levels: by whom a write must have been stored before whoever wrote it goes on.

A number is that many members besides the writer. `self` is the writer's own store alone; `majority` half of the others, rounded
up; `all` the others; `zones` one other member in each zone that has one, the writer's own included. Members that are suspect,
down or away count, those that left do not; members without a zone make up one.
"""

from __future__ import annotations

from typing import Final

Ack = int | str
"""A number of other members, or one of ACK_WORDS."""

ACK_WORDS: Final = ("self", "majority", "all", "zones")
ACKS_TOLD: Final = 'a number of members from 0 up, "self", "majority", "all" or "zones"'
"""What an ack is, for whoever gave something else."""
_MOST: Final = 1 << 31


def is_ack(ack: object) -> bool:
    """Is it an ack level at all?"""
    if type(ack) is int:
        return 0 <= ack < _MOST
    return type(ack) is str and ack in ACK_WORDS
