"""What happens, told to three audiences by one table: the log, the counters, and `mesh.events()`.

The core emits events and never logs. Here each event gets a name, a logger and a level; those that an
operator counts, a counter. Whatever a remote chose (names, details) is escaped before it is shown, and quoted in a log line
unless it is a plain word, so that no name can add a field of its own (logfmt).

Invariant: neither values nor key material reach a log line or an event. A log line is one line, and splits into the event's own
fields.
"""

import logging
import re
from collections import Counter, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Final
from weakref import ref

import attrs
from attrs import field, frozen

from gossipsync.core.model import events
from gossipsync.core.model.ids import peer_text
from gossipsync.runtime.strangers import Incompatible

__all__ = [
    "EVENT_KINDS",
    "LOST_ADVICE",
    "BucketDiffers",
    "ControlUnavailable",
    "DialFailed",
    "MeshEvent",
    "Observer",
    "SeedUnresolved",
    "Subscription",
    "WritesKept",
    "WritesLost",
    "escape",
    "quoted",
]

LOST_ADVICE: Final = (
    "no other member confirmed them before this peer ended: check that a seed answers, wait with ack=1, "
    "or give this peer a data_dir"
)
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
class BucketDiffers:
    """A bucket of the settings is announced otherwise in the mesh, which holds."""

    bucket: str
    detail: str


@frozen
class WritesLost:
    """This peer ended with writes that no other member has confirmed and no store keeps."""

    count: int
    detail: str


@frozen
class WritesKept:
    """This peer ended with writes that no other member has confirmed; its store keeps them for the next start."""

    count: int


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
    events.Cloned: ("cloned", "peer", logging.ERROR),
    events.Restored: ("restored", "peer", logging.WARNING),
    events.BucketMismatched: ("bucket-mismatched", "bucket", logging.WARNING),
    events.StoreFailed: ("store-failed", "store", logging.ERROR),
    events.StoreRecovered: ("store-recovered", "store", logging.WARNING),
    events.StartWaitExpired: ("start-wait-expired", "peer", logging.WARNING),
    events.Yielded: ("yielded", "peer", logging.WARNING),
    SeedUnresolved: ("seed-unresolved", "discovery", logging.WARNING),
    DialFailed: ("dial-failed", "discovery", logging.DEBUG),
    Incompatible: ("incompatible", "link", logging.WARNING),
    BucketDiffers: ("bucket-differs", "bucket", logging.WARNING),
    ControlUnavailable: ("control-unavailable", "control", logging.WARNING),
    WritesLost: ("writes-lost", "peer", logging.ERROR),
    WritesKept: ("writes-kept", "peer", logging.INFO),
}
EVENT_KINDS: Final = tuple(kind for kind, _, _ in _TABLE.values())
_WORD: Final = re.compile(r"[A-Za-z0-9_.:/@%+\[\]-]+", re.ASCII)
_UNKNOWN: Final = ("event", "peer", logging.INFO)


class Subscription:
    """One reader's queue of events: bounded, the oldest go first, and what went is counted.

    One thread adds and one takes, each with single deque operations, so there is no lock to hold.
    """

    def __init__(self) -> None:
        self._queue: deque[MeshEvent] = deque(maxlen=_SUBSCRIPTION_EVENTS)
        self._dropped = 0  # ever, by the one who adds
        self._reported = 0  # of these, by the one who takes

    @property
    def is_empty(self) -> bool:
        """Whether nothing is waiting to be taken."""
        return not self._queue

    def add(self, event: MeshEvent) -> None:
        """Queue one event."""
        if len(self._queue) == _SUBSCRIPTION_EVENTS:
            self._dropped += 1
        self._queue.append(event)

    def take(self) -> MeshEvent | None:
        """The next event; first of all how many were dropped, if any."""
        if not self._queue:
            return None
        dropped = self._dropped - self._reported
        if dropped:
            self._reported += dropped
            return MeshEvent("events-dropped", datetime.now(UTC), {"count": dropped})
        return self._queue.popleft()


# A library says nothing unless its program asks for it (Python's own advice for libraries).
logging.getLogger("gossipsync").addHandler(logging.NullHandler())


class Observer:
    """Takes in events. `tally` counts events by their name, and what was refused at the door by reason."""

    def __init__(self) -> None:
        self.tally: Counter[str] = Counter()
        # Weak: a reader that is dropped in the middle of its loop has nobody to say so.
        self._subscriptions: list[ref[Subscription]] = []

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
            told = " ".join(f"{name}={_logged(part)}" for name, part in _parts(event).items())
            log.log(level, "%s %s", kind, told)
        self._hand_on(MeshEvent(kind, datetime.now(UTC), fields))

    def subscribe(self) -> Subscription:
        """A new reader, from now on and as long as somebody holds it."""
        subscription = Subscription()
        self._subscriptions.append(ref(subscription))
        return subscription

    def _hand_on(self, event: MeshEvent) -> None:
        for each in tuple(self._subscriptions):
            subscription = each()
            if subscription is None:
                self._subscriptions.remove(each)
            else:
                subscription.add(event)


def escape(text: str) -> str:
    """Text that a remote chose, safe for a terminal and a log line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quoted(text: str) -> str:
    """Text as the value of a field in a log line: as it is where it is a plain word, else in quotes, with escapes."""
    if _WORD.fullmatch(text):
        return text
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escape(inner)}"'


def _parts(event: object) -> dict[str, object]:
    kind = type(event)
    if not attrs.has(kind):
        return {}
    return {each.name: _plain(getattr(event, each.name)) for each in attrs.fields(kind)}


def _fields(event: object) -> dict[str, object]:
    return {name: escape(p) if isinstance(p, str) else p for name, p in _parts(event).items()}


def _plain(part: object) -> object:
    if isinstance(part, Enum):
        return str(part.value)
    if isinstance(part, bytes):
        return peer_text(part)  # type: ignore[arg-type] # events hold no other bytes than peer ids
    return part


def _logged(part: object) -> object:
    return quoted(part) if isinstance(part, str) else part
