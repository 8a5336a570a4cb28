"""Stores as machines lose them: what was not committed is gone after a crash, a disk may fail for a while, and an old copy may
be put back.

Invariant: `load_*` gives what was committed when the copy was taken, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

from gossipsync.core.model.ids import Origin
from gossipsync.errors import StoreError

_Bundle = tuple[str, Origin, int, bytes]


class SimulatedStore:
    """One machine's disk; satisfies `core.ports.Store`."""

    def __init__(self) -> None:
        self.is_failing = False
        self._bundles: list[_Bundle] = []
        self._heads: dict[str, bytes] = {}
        self._new_bundles: list[_Bundle] = []
        self._new_heads: dict[str, bytes | None] = {}
        self._copy: tuple[int, dict[str, bytes]] | None = None
        self._counted = 0
        self._stored: dict[tuple[str, Origin], int] = {}

    @property
    def place(self) -> str:
        """No file."""
        return "the simulated disk"

    def load_bundles(self) -> Iterator[_Bundle]:
        """Committed bundles, in the order of their commits."""
        return iter(list(self._bundles))

    def load_heads(self) -> dict[str, bytes]:
        """Committed heads."""
        return dict(self._heads)

    def append(self, bucket: str, origin: Origin, index: int, bundle: bytes) -> None:
        """Buffer a bundle."""
        self._new_bundles.append((bucket, origin, index, bundle))

    def put_head(self, name: str, value: bytes | None) -> None:
        """Buffer a head."""
        self._new_heads[name] = value

    def commit(self) -> None:
        """Keep what was buffered. Raises StoreError while the disk fails."""
        if self.is_failing:
            raise StoreError("the simulated disk fails")
        self._bundles += self._new_bundles
        self._new_bundles.clear()
        for name, value in self._new_heads.items():
            if value is None:
                self._heads.pop(name, None)
            else:
                self._heads[name] = value
        self._new_heads.clear()

    def close(self) -> None:
        """Nothing to release."""

    def crash(self) -> None:
        """The machine stops: the buffer is lost."""
        self._new_bundles.clear()
        self._new_heads.clear()

    def keep_copy(self) -> None:
        """Take a copy of what is committed, as a backup does."""
        self._copy = (len(self._bundles), dict(self._heads))

    def restore_copy(self) -> bool:
        """Put the copy back, as an operator does; False where there is none."""
        if self._copy is None:
            return False
        size, heads = self._copy
        del self._bundles[size:]
        self._counted, self._stored = 0, {}
        self._heads = dict(heads)
        return True

    def wipe(self) -> None:
        """The disk is lost."""
        self.crash()
        self._bundles.clear()
        self._heads.clear()
        self._counted, self._stored = 0, {}

    def stored(self, bucket: str, origin: Origin) -> int:
        """The last committed bundle of a log; 0 for none."""
        while self._counted < len(self._bundles):
            name, of, index, _ = self._bundles[self._counted]
            self._stored[name, of] = index
            self._counted += 1
        return self._stored.get((bucket, origin), 0)
