"""What reads and iterations give: plain frozen values, with peers as text and times as aware datetimes.

Invariant: none of them refers back to the mesh; they may be kept, compared and sent anywhere.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import frozen

from gossipsync.core import MemberStatus as Member
from gossipsync.core import PeerStatus as Status
from gossipsync.core.model.hlc import hlc_ms
from gossipsync.core.model.ids import peer_text
from gossipsync.runtime.observe import MeshEvent as Event

if TYPE_CHECKING:
    from gossipsync.core import Provenance
    from gossipsync.core import Version as CoreVersion

__all__ = ["Change", "Entry", "Event", "Member", "Status", "Version", "entry_of", "versions_of"]

_MS_PER_S = 1000
_LAST_MS = 253_402_300_799_000  # the year 9999: a peer may sign an expiry beyond it


@frozen
class Entry:
    """A value and where it comes from.

    `origin` is the peer that wrote it, `sender` the one that handed it to us, both as peer ids; `hlc` the
    stamp of the write; `expires` an aware datetime, or None for a value that does not.
    """

    value: object
    origin: str
    sender: str
    hlc: int
    expires: datetime | None


@frozen
class Version:
    """One write to a key, as `history` has it.

    `kind` is "put", "delete" or "touch"; `field` the map field or set element it wrote, None for the whole key; `value` what was
    put (of a counter, the origin's running total), None where nothing was, or where only its hash is kept. `origin` and
    `sender` are peer ids, `hlc` the stamp, `at` its time as an aware datetime, `expires` the end it set, or None.
    """

    kind: str
    field: str | None
    value: object
    origin: str
    sender: str
    hlc: int
    at: datetime
    expires: datetime | None


@frozen
class Change:
    """One step of `watch`. `kind` is "present", "put", "delete" or "expire".

    `value` and `origin` (a peer id) are those of the newest write; None where the key is gone. `cursor` is
    where to go on after this change: hand it to `watch(since=…)`.
    """

    key: str
    kind: str
    value: object
    origin: str | None
    cursor: str


def entry_of(found: "Provenance") -> Entry:
    """The core's provenance as users see it."""
    return Entry(
        value=found.value,
        origin=peer_text(found.origin),
        sender=peer_text(found.sender),
        hlc=found.hlc,
        expires=_time(found.expires_ms),
    )


def versions_of(found: "list[CoreVersion]") -> list[Version]:
    """The core's versions as users see them."""
    return [
        Version(
            kind=version.kind,
            field=version.field,
            value=version.value,
            origin=peer_text(version.origin),
            sender=peer_text(version.sender),
            hlc=version.hlc,
            at=datetime.fromtimestamp(hlc_ms(version.hlc) / _MS_PER_S, UTC),
            expires=_time(version.expires_ms),
        )
        for version in found
    ]


def _time(wall_ms: int | None) -> datetime | None:
    """An aware datetime; the last there is, for all later moments."""
    if wall_ms is None:
        return None
    return datetime.fromtimestamp(min(wall_ms, _LAST_MS) / _MS_PER_S, UTC)
