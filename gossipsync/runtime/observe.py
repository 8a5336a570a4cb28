"""What happens, told to three audiences by one table: the log, the counters, and `mesh.events()`.

The core emits events and never logs. Here each event gets a name, a logger and a level; those that an
operator counts, a counter. Whatever a remote chose (names, details) is escaped before it is shown.

Invariant: neither values nor key material reach a log line or an event.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from threading import Lock
from typing import Final

import attrs
from attrs import field, frozen

from gossipsync.core.model import events
from gossipsync.core.model.ids import peer_text

__all__ = [
    "ControlUnavailable",
    "DialFailed",
    "MeshEvent",
    "Observer",
    "SeedUnresolved",
    "Subscription",
    "escape",
]

_SUBSCRIPTION_EVENTS: Final = 1024  # some seconds of a busy mesh; who lags further is told how much


@frozen
class SeedUnresolved:
    """A seed's name could not be looked up; it is tried again."""

    seed: str
    detail: str


@frozen
class DialFailed:
    """Nobody could be reached at an address."""

    address: str
    reason: str


@frozen
class ControlUnavailable:
    """The control socket could not be opened; the command line does not reach this peer."""

    detail: str


@frozen
class MeshEvent:
    """One thing that happened. `kind` is its stable name, `at` an aware datetime, `fields` plain values.

    kind "events-dropped" has one field, `count`: how many events this reader was too slow for.
    """

    kind: str
    at: datetime
    fields: Mapping[str, object] = field(factory=dict)


# A refusal is loud in the counters and quiet in the log: a rogue must not be able to fill a disk.
_TABLE: Final[Mapping[type, tuple[str, str, int]]] = {
    events.LinkOpened: ("link-opened", "link", logging.INFO),
    events.LinkClosed: ("link-closed", "link", logging.INFO),
    events.MemberChanged: ("member-changed", "member", logging.INFO),
    events.Refused: ("refused", "refused", logging.DEBUG),
    events.Forked: ("forked", "trust", logging.ERROR),
    events.StateChanged: ("state-changed", "peer", logging.INFO),
    events.EpochOpened: ("epoch-opened", "peer", logging.WARNING),
    events.BucketMismatched: ("bucket-mismatched", "bucket", logging.WARNING),
    events.StoreFailed: ("store-failed", "store", logging.ERROR),
    events.StoreRecovered: ("store-recovered", "store", logging.WARNING),
    SeedUnresolved: ("seed-unresolved", "discovery", logging.WARNING),
    DialFailed: ("dial-failed", "discovery", logging.DEBUG),
    ControlUnavailable: ("control-unavailable", "control", logging.WARNING),
}
_UNKNOWN: Final = ("event", "peer", logging.INFO)


class Subscription:
    """One reader's queue of events: bounded, the oldest go first, and what went is counted."""

    def __init__(self) -> None:
        self._queue: deque[MeshEvent] = deque(maxlen=_SUBSCRIPTION_EVENTS)
        self._dropped = 0
        self._lock = Lock()
        self.wake: Callable[[], None] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is waiting to be taken."""
        return not self._queue

    def add(self, event: MeshEvent) -> None:
        """Queue one event."""
        with self._lock:
            if len(self._queue) == _SUBSCRIPTION_EVENTS:
                self._dropped += 1
            self._queue.append(event)

    def take(self) -> MeshEvent | None:
        """The next event; first of all how many were dropped, if any."""
        with self._lock:
            if not self._queue:
                return None
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                return MeshEvent("events-dropped", self._queue[0].at, {"count": dropped})
            return self._queue.popleft()


class Observer:
    """Takes in events. `tally` counts events by their name, and refusals by their reason."""

    def __init__(self) -> None:
        self.tally: Counter[str] = Counter()
        self._subscriptions: list[Subscription] = []

    def observe(self, event: object) -> None:
        """Log, count and hand on one event."""
        kind, logger, level = _TABLE.get(type(event), _UNKNOWN)
        self.tally[kind] += 1
        log = logging.getLogger(f"gossipsync.{logger}")
        is_logged = log.isEnabledFor(level)
        if not is_logged and not self._subscriptions:
            return
        fields = _fields(event)
        if is_logged:
            log.log(
                level, "%s %s", kind, " ".join(f"{name}={part}" for name, part in fields.items())
            )
        shown = MeshEvent(kind, datetime.now(UTC), fields)
        for subscription in tuple(self._subscriptions):
            subscription.add(shown)

    def subscribe(self) -> Subscription:
        """A new reader, from now on."""
        subscription = Subscription()
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop feeding a reader. Idempotent."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)


def escape(text: str) -> str:
    """Text that a remote chose, safe for a terminal and a log line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _fields(event: object) -> dict[str, object]:
    kind = type(event)
    if not attrs.has(kind):
        return {}
    return {each.name: _shown(getattr(event, each.name)) for each in attrs.fields(kind)}


def _shown(part: object) -> object:
    if isinstance(part, Enum):
        return str(part.value)
    if isinstance(part, bytes):
        return peer_text(part)  # type: ignore[arg-type] # events hold no other bytes than peer ids
    return escape(part) if isinstance(part, str) else part
