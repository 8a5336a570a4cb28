"""Witness of commits: the identity of the newest commit, in a file of the data folder beside or apart from the store.

A store that was put back as a whole while its peer was down is sound in itself; only a note of a later commit shows its age.
The note is written after each commit and not flushed, so it may be older than the store after a power cut, and is never newer.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from gossipsync.stores._chain import Commit

NAME: Final = "committed"
_NOTE: Final = Struct(">16s16sQ")
_CHECKSUM: Final = Struct(">I")


class Witness:
    """The note about one store. Nothing here raises: a folder that takes no note makes the store no worse."""

    def __init__(self, data_dir: Path, place: str) -> None:
        self._path = data_dir / NAME
        self._place = sha256(place.encode()).digest()[:16]
        self._descriptor: int | None = None

    def doubt(self, found: Commit | None) -> str | None:
        """Why a store whose newest commit is `found` is older than it was; None where it is not known to be."""
        seen = self._read()
        if seen is None or found == seen or (found is not None and found.number > seen.number):
            return None
        if found is None:
            return f"it is empty, and this peer has made {seen.number} commits there"
        return f"its newest commit is number {found.number}, and this peer has made number {seen.number} or another one there"

    def note(self, commit: Commit) -> None:
        """A commit is durable."""
        note = _NOTE.pack(self._place, *commit)
        with suppress(OSError):
            if self._descriptor is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o600)
            os.pwrite(self._descriptor, note + _CHECKSUM.pack(crc32(note)), 0)

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read(self) -> Commit | None:
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        note = content[: _NOTE.size]
        if len(content) != _NOTE.size + _CHECKSUM.size or content[_NOTE.size :] != _CHECKSUM.pack(
            crc32(note)
        ):
            return None
        place, run, number = _NOTE.unpack(note)
        return Commit(run, number) if place == self._place else None
