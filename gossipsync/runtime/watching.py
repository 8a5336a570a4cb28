"""Watching a bucket: its present entries, then its changes, from any point that is still known; for applications and for callers alike.

A watcher holds a position in the bucket's change log and reads the state of the keys that changed since; so a key that changed
often while nobody looked is shown once, as it is now. One that lags behind the log itself is told so with a CursorError. Present
entries are shown in the order of their keys, so that a cursor within them is a key.

Invariant: going on from a cursor shows each key whose state was not shown before it, once, and nothing else; or it is refused.
Nothing is left out silently.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import Callable
from string import hexdigits
from threading import RLock
from zlib import crc32

from attrs import frozen

from gossipsync.core import Peer, Provenance
from gossipsync.errors import CursorError

__all__ = ["Shown", "Watching", "first_cursor"]

_KINDS = {"deleted": "delete", "expired": "expire", "absent": "delete"}
_NUMBER_DIGITS = 19
_TOO_OLD = "more has changed since than is remembered; watch from the beginning"


@frozen
class Shown:
    """One step. `kind` is "present", "put", "delete" or "expire"; `found` what the key has, None where it is gone."""

    key: str
    kind: str
    found: Provenance | None
    cursor: str


class Watching:
    """One watcher of one bucket. Each method takes the peer's lock for itself; raises CursorError when made, or when it lags too far.

    `since` None: the present entries first; "now": changes only; a cursor: from there on.
    """

    def __init__(
        self,
        peer: Peer,
        lock: RLock,
        wall_ms: Callable[[], int],
        bucket: str,
        prefix: str,
        since: str | None,
    ) -> None:
        self._peer = peer
        self._replica = peer.replicas[bucket]
        self._lock = lock
        self._wall_ms = wall_ms
        self._prefix = prefix
        self._name = _name(peer.run_name, bucket)
        self._present: deque[str] = deque()
        self._changed: deque[tuple[str, int]] = deque()
        self._late: set[str] = set()
        """Keys that changed since the present entries were listed: they come as changes."""
        with lock:
            changes = self._replica.changes
            changes.is_followed = True
            self._position: int = changes.position
            """All changes before it have been shown, or are listed."""
            self._checked: int = changes.position
            if since is None:
                self._list_present("")
            elif since != "now":
                position, after = self._parse(since)
                if changes.changed_since(position) is None:
                    raise CursorError(_TOO_OLD)
                self._position = self._checked = position
                if after is not None:
                    self._list_present(after)

    def has_more(self) -> bool:
        """Is there anything to show? It may turn out to be of other keys."""
        return bool(
            self._present or self._changed or self._replica.changes.position != self._position
        )

    def next(self) -> Shown | None:
        """The next step; None where there is none yet."""
        with self._lock:
            while True:
                while self._present:
                    if (shown := self._next_present(self._present.popleft())) is not None:
                        return shown
                self._late.clear()
                while self._changed:
                    key, position = self._changed.popleft()
                    return self._next_change(key, position)
                if not self._list_changes():
                    return None

    def _list_present(self, after: str) -> None:
        keys = self._replica.keys(self._wall_ms(), self._prefix)
        self._present.extend(sorted(key for key in keys if key > after))

    def _list_changes(self) -> bool:
        changes = self._replica.changes
        if changes.position == self._position:
            return False
        changed = changes.changed_since(self._position)
        if changed is None:
            raise CursorError(_TOO_OLD)
        self._changed.extend(one for one in changed if one[0].startswith(self._prefix))
        self._position = changes.position
        return True

    def _next_present(self, key: str) -> Shown | None:
        """None for a key that has changed since the list was made: its change comes later."""
        changes = self._replica.changes
        if changes.position != self._checked:
            late = changes.since(self._checked)
            if late is None:
                raise CursorError(_TOO_OLD)
            self._late.update(late)
            self._checked = changes.position
        if key in self._late:
            return None
        try:
            found = self._replica.provenance(key, self._wall_ms())
        except KeyError:
            return None  # it has just expired; that is about to become a change
        return Shown(key, "present", found, f"{self._name}.{self._position}.{_text_of(key)}")

    def _next_change(self, key: str, position: int) -> Shown:
        wall_ms = self._wall_ms()
        cursor = f"{self._name}.{position + 1}"
        try:
            return Shown(key, "put", self._replica.provenance(key, wall_ms), cursor)
        except KeyError:
            return Shown(key, _KINDS[self._replica.state_of(key, wall_ms)], None, cursor)

    def _parse(self, since: str) -> tuple[int, str | None]:
        """The position a cursor stands for, and within the present entries the last key that was shown."""
        match since.split("."):
            case [run, bucket, position, *rest] if (
                _is_hex(run)
                and f"{run}.{bucket}" == _name(bytes.fromhex(run), self._replica.name)
                and position.isascii()
                and position.isdecimal()
                and len(position) <= _NUMBER_DIGITS
                and len(rest) <= 1
            ):
                last = self._last_position(bytes.fromhex(run))
                if last is not None and int(position) <= last:
                    return int(position), _key_in(rest[0]) if rest else None
        raise CursorError(
            "this cursor is of another peer or bucket, or from before a restart over which something may have been lost; "
            "watch from the beginning"
        )

    def _last_position(self, run_name: bytes) -> int | None:
        if run_name == self._peer.run_name:
            return self._replica.changes.position
        return self._peer.last_position(self._replica.name, run_name)


def first_cursor(run_name: bytes, bucket: str) -> str:
    """The cursor before a bucket's first change."""
    return f"{_name(run_name, bucket)}.0"


def _name(run_name: bytes, bucket: str) -> str:
    """What a cursor is bound to: the run of this peer that gave it, and the bucket."""
    return f"{run_name.hex()}.{crc32(bucket.encode()):08x}"


def _is_hex(text: str) -> bool:
    return len(text) % 2 == 0 and all(digit in hexdigits for digit in text)


def _key_in(text: str) -> str:
    try:
        key = urlsafe_b64decode(text.encode()).decode()
    except ValueError:
        key = ""
    if not key or _text_of(key) != text:
        raise CursorError("this is no cursor that a watch has given")
    return key


def _text_of(key: str) -> str:
    return urlsafe_b64encode(key.encode()).decode()
