"""Store formats: the numbers that this build reads, and the words for one that it does not.

The number covers all kinds of stores: rows and pieces mean the same in a file, in Redis and in PostgreSQL.
"""

from __future__ import annotations

from gossipsync.errors import StoreError


def newer(place: str, number: int, read: tuple[int, ...]) -> StoreError:
    """The error for a store of a format above those that this build reads. Nothing is changed there."""
    known = " and ".join(map(str, read))
    return StoreError(
        f"{place} was written by a newer gossipsync (store format {number}); this build reads {known}: upgrade "
        "gossipsync here to the version that wrote it, or give this peer another data_dir or store; nothing was changed"
    )
