"""A disk: what was committed survives a crash, what was only appended does not."""

from __future__ import annotations

from collections.abc import Iterator

from gossipsync.core.model.ids import Origin

Row = tuple[str, Origin, int, bytes]


class DiskError(Exception):
    """The core handed the disk something out of order."""


class Disk:
    """`ports.Store`. A commit has two moments: `begin()` takes what is buffered, `finish()` makes it durable."""

    def __init__(
        self, rows: list[Row] | None = None, heads: dict[str, bytes] | None = None
    ) -> None:
        self.rows = rows if rows is not None else []
        self.heads = heads if heads is not None else {}
        self.is_failing = False
        self._last: dict[tuple[str, Origin], int] = {}
        for bucket, origin, index, _ in self.rows:
            self._last[bucket, origin] = index
        self._buffer: list[Row] = []
        self._head_buffer: dict[str, bytes | None] = {}
        self._taken: tuple[list[Row], dict[str, bytes | None]] = ([], {})

    @property
    def place(self) -> str:
        return "the disk"

    def load_bundles(self) -> Iterator[Row]:
        return iter(list(self.rows))

    def load_heads(self) -> dict[str, bytes]:
        return dict(self.heads)

    def append(self, bucket: str, origin: Origin, index: int, bundle: bytes) -> None:
        if index != self._last.get((bucket, origin), 0) + 1:
            raise DiskError(f"bundle {index} of {bucket} is not the next of its log")
        self._last[bucket, origin] = index
        self._buffer.append((bucket, origin, index, bundle))

    def put_head(self, name: str, value: bytes | None) -> None:
        self._head_buffer[name] = value

    def begin(self) -> None:
        assert not self._taken[0], "one commit at a time"
        self._taken = (self._buffer, self._head_buffer)
        self._buffer, self._head_buffer = [], {}

    def give_back(self) -> None:
        rows, heads = self._taken
        self._buffer = rows + self._buffer
        self._head_buffer = heads | self._head_buffer
        self._taken = ([], {})

    def finish(self) -> None:
        rows, heads = self._taken
        self.rows += rows
        for name, value in heads.items():
            if value is None:
                self.heads.pop(name, None)
            else:
                self.heads[name] = value
        self._taken = ([], {})

    def commit(self) -> None:
        self.begin()
        self.finish()

    def close(self) -> None:
        pass

    def after_crash(self) -> Disk:
        """What another process finds."""
        return Disk(list(self.rows), dict(self.heads))
