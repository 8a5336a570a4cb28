"""Space that was deleted goes back to the file system, a bounded piece of work at a time.

Several ways, since pages that are half empty are not free pages. Within a commit: where more than a quarter of the pages is free,
up to `_PAGES_A_COMMIT` of them are filled from the end of the file, until none is left. After a commit: once as many pieces have
gone as are left, or more pages are free than are not, a file whose content is small is written anew, whole (VACUUM), which packs
its pages. What is left of free pages after these goes in a quiet moment, which the peer sees: a commit of nothing.
"""

from __future__ import annotations

import sqlite3
from typing import Final

_PAGES_A_COMMIT: Final = 256
"""1 MiB, each page moved once: about 3 ms. Ten times as fast as commits of 256 pieces of 300 B can free."""
_FREE_AT_LEAST: Final = 64
"""Free pages that are not worth the work."""
_REWRITTEN_PAGES: Final = 4096
"""A content of at most 16 MiB is written anew, which takes 20–60 ms."""
_GONE_AT_LEAST: Final = 256
"""Pieces that have gone before it is."""
_WORTH: Final = 20
"""In a quiet moment one free page, or one piece gone, in so many is worth the work."""
_PAGES_AT_REST: Final = 16_384
"""64 MiB, some 0.2 s: given back in one quiet moment where the content is large."""


class Space:
    """What one journal's file has to give back."""

    def __init__(self) -> None:
        self._is_shrinking = False
        self._gone = 0
        self._gone_since_rest = 0

    def commit(self, connection: sqlite3.Connection, gone: int) -> None:
        """Within a transaction that removed `gone` pieces. Raises sqlite3.Error."""
        if not gone and not self._is_shrinking:
            return
        self._gone += gone
        self._gone_since_rest += gone
        free, pages = _pages(connection)
        self._is_shrinking = free > _FREE_AT_LEAST and (self._is_shrinking or free * 4 > pages)
        if self._is_shrinking:
            _give_back(connection, min(free, _PAGES_A_COMMIT))

    def committed(self, connection: sqlite3.Connection, left: int) -> None:
        """Between transactions, with `left` pieces in the file. Raises sqlite3.Error, having changed nothing."""
        has_many_gone = self._gone >= max(_GONE_AT_LEAST, left)
        if not has_many_gone and not self._is_shrinking:
            return
        free, pages = _pages(connection)
        is_mostly_free = free > max(_PAGES_A_COMMIT, pages - free)
        if pages - free > _REWRITTEN_PAGES or not (has_many_gone or is_mostly_free):
            return
        self._rewrite(connection)

    def rest(self, connection: sqlite3.Connection, left: int) -> None:
        """Nothing is to be written just now. Raises sqlite3.Error, having changed nothing."""
        if not self._gone_since_rest:
            return
        free, pages = _pages(connection)
        if pages - free <= _REWRITTEN_PAGES:
            if free * _WORTH > pages or self._gone * _WORTH > left:
                self._rewrite(connection)
        elif free * _WORTH > pages:
            connection.execute("BEGIN IMMEDIATE")
            try:
                _give_back(connection, min(free, _PAGES_AT_REST))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        self._gone_since_rest = 0
        # The WAL may be as long as the content, and the file shrinks only when it is copied back.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _rewrite(self, connection: sqlite3.Connection) -> None:
        self._gone = 0
        connection.execute("VACUUM")
        # The WAL holds the content once more, and the file shrinks only when it is copied back.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _give_back(connection: sqlite3.Connection, pages: int) -> None:
    """Within a transaction. One by one: each step of the statement frees one page, and Python up to 3.11 takes only the first."""
    for _ in range(pages):
        connection.execute("PRAGMA incremental_vacuum(1)").fetchall()


def _pages(connection: sqlite3.Connection) -> tuple[int, int]:
    """Free ones, and all."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    return free, pages
