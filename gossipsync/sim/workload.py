"""What applications write: one update or many at once, a Poisson stream, sessions, hot keys, counters.

Every write goes through the same calls as an application's and into the ledger. A write that the peer refuses (its queue is full,
the session has ended) is counted and forgotten. Invariant: what is written when and by whom depends on the options alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from gossipsync.core import Deletes, Draft, Kind, Now, Peer, Token
from gossipsync.core.model.ids import peer_of
from gossipsync.errors import LocalError, TokenError
from gossipsync.sim.applications import Applications
from gossipsync.sim.driver import Driver
from gossipsync.sim.ledger import Entry, Ledger
from gossipsync.sim.options import Options
from gossipsync.sim.randomness import Randomness
from gossipsync.sim.world import World

_HOT_KEYS: Final = 4
_SPREAD_KEYS: Final = 500
_ELEMENTS: Final = 6
"""Elements of each set."""
_SESSION_TTL_MS: Final = 30_000
_TOKEN_SHARE: Final = 0.25
"""Share of writes that come after a token of an earlier one, whether their writer has seen that or not."""


@frozen
class _Bucket:
    name: str
    kind: Kind = Kind.VALUE
    deletes: Deletes = Deletes.TOMBSTONE
    ttl_ms: int | None = None


@frozen
class _Intent:
    """One write that an application is about to make."""

    key: str
    op: str
    value: object = None


_BUCKETS: Final = {
    "burst": _Bucket("data"),
    "poisson": _Bucket("data"),
    "hot": _Bucket("data"),
    "counters": _Bucket("counts", Kind.COUNTER),
    "sets": _Bucket("sets", Kind.SET),
    "sessions": _Bucket("sessions", Kind.VALUE, Deletes.FINAL, _SESSION_TTL_MS),
}


class Workload:
    """Applications that write until all updates are made."""

    def __init__(
        self,
        world: World,
        options: Options,
        writers: Callable[[], list[Driver]],
        readers: Callable[[], list[Driver]],
        ledger: Ledger,
    ) -> None:
        self.refused = 0
        self.left = options.updates
        """Updates still to be made."""
        self.bucket = _BUCKETS[options.workload]
        self.applications = Applications(world, options, readers)
        self._world = world
        self._options = options
        self._writers = writers
        self._ledger = ledger
        self._randomness = world.randomness.stream("workload")
        self._sessions: list[str] = []

    def start(self) -> None:
        """Make the first write now and plan the others."""
        if self._options.workload == "burst":
            while self.left:
                self._write()
        elif self.left:
            self._write_and_go_on()

    def stop(self) -> None:
        """Write no more."""
        self.left = 0

    def _write_and_go_on(self) -> None:
        if self.left:
            self._write()
        if self.left:
            delay_s = self._randomness.exponential() / self._options.rate
            self._world.after(delay_s, self._write_and_go_on)

    def _write(self) -> None:
        self.left -= 1
        number = self._options.updates - self.left - 1
        writers = self._writers()
        if not writers:
            self.refused += 1
            return
        driver = writers[number % len(writers)]
        peer = driver.peer
        assert peer is not None, "whoever writes runs"
        intent = self._intent(number)
        try:
            self._commit(driver, peer, intent)
        except (LocalError, KeyError):
            self.refused += 1
        driver.pump()

    def _commit(self, driver: Driver, peer: Peer, intent: _Intent) -> None:
        bucket, now = self.bucket, driver.now()
        peer.open_bucket(
            bucket.name, now, kind=bucket.kind, deletes=bucket.deletes, ttl_ms=bucket.ttl_ms
        )
        earlier, after = self._cookie(peer, now)
        draft = peer.draft(bucket.name, now, after)
        _apply(draft, intent)
        if draft.is_empty:
            return
        written = peer.commit_draft(draft, now)
        expires = None if bucket.ttl_ms is None else now.wall_ms + bucket.ttl_ms
        self._world.trace.note(self._world.now_s, driver.number, "write", written.index)
        entry = Entry(
            len(self._ledger.entries),
            self._world.now_s,
            driver.number,
            bucket.name,
            intent.key,
            intent.op,
            intent.value,
            written,
            expires,
            earlier,
            peer.token_of(written),
            driver.run,
            {key: n for key, n in peer.vector().items() if peer_of(key[1]) == peer.peer_id},
        )
        self._ledger.add(entry)
        self.applications.wrote(driver, entry)

    def _cookie(self, peer: Peer, now: Now) -> tuple[int | None, Token | None]:
        """An earlier entry and its token, as a browser would bring it from wherever that was written."""
        entries = self._ledger.entries
        if not entries or not self._randomness.chance(_TOKEN_SHARE):
            return None, None
        entry = entries[max(0, len(entries) - 1 - self._randomness.below(8))]
        try:
            return entry.number, peer.parse_token(entry.token, now)
        except TokenError:
            return None, None  # that clock is further ahead than this peer follows

    def _intent(self, number: int) -> _Intent:
        randomness, workload = self._randomness, self._options.workload
        if workload == "sessions":
            return self._session(number)
        if workload == "sets":
            op = "remove" if randomness.chance(0.4) else "insert"
            return _Intent(
                f"set-{randomness.below(2)}", op, f"element-{randomness.below(_ELEMENTS)}"
            )
        if workload == "counters":
            return _Intent(f"count-{randomness.below(_HOT_KEYS)}", "add", 1 + randomness.below(9))
        value = _value(randomness, self._options.value_bytes, number)
        if workload == "burst":
            return _Intent(f"key-{number}", "put", value)
        keys = _HOT_KEYS if workload == "hot" else _SPREAD_KEYS
        key = f"key-{randomness.below(keys)}"
        return _Intent(key, "delete") if randomness.chance(0.1) else _Intent(key, "put", value)

    def _session(self, number: int) -> _Intent:
        """A third log in, half come back, the rest log out: for good."""
        share = self._randomness.random()
        if share < 0.35 or not self._sessions:
            key = f"session-{number}"
            self._sessions.append(key)
            value = _value(self._randomness, self._options.value_bytes, number)
            return _Intent(key, "put", value)
        position = self._randomness.below(len(self._sessions))
        if share < 0.8:
            return _Intent(self._sessions[position], "touch")
        return _Intent(self._sessions.pop(position), "delete")


def _apply(draft: Draft, intent: _Intent) -> None:
    match intent.op:
        case "put":
            draft.put(intent.key, intent.value)
        case "delete":
            draft.delete(intent.key)
        case "touch":
            draft.touch(intent.key)
        case "add":
            assert isinstance(intent.value, int), "counters add whole numbers"
            draft.add(intent.key, intent.value)
        case "insert":
            draft.add_element(intent.key, str(intent.value))
        case "remove":
            draft.discard_element(intent.key, str(intent.value))
        case _:
            raise AssertionError(f"no application does {intent.op!r}")


def _value(randomness: Randomness, size: int, number: int) -> str:
    """Text that says which write it is of, then noise up to the size asked for."""
    head = f"{number}:"
    noise = max(0, size - len(head))
    return (
        head + randomness.getrandbits(4 * noise + 4).to_bytes(noise // 2 + 1, "big").hex()[:noise]
    )
