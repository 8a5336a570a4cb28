"""What reads and iterations give: plain frozen values, with peers as text and times as aware datetimes.

Invariant: none of them refers back to the mesh; they may be kept, compared and sent anywhere.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import frozen

from gossipsync.core import MemberStatus as Member
from gossipsync.core import PeerStatus as Status
from gossipsync.core.model.ids import peer_text
from gossipsync.runtime.observe import MeshEvent as Event

if TYPE_CHECKING:
    from gossipsync.core import Provenance

__all__ = ["Change", "Entry", "Event", "Member", "Status", "entry_of"]

_MS_PER_S = 1000


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
    expires = found.expires_ms
    return Entry(
        value=found.value,
        origin=peer_text(found.origin),
        sender=peer_text(found.sender),
        hlc=found.hlc,
        expires=None if expires is None else datetime.fromtimestamp(expires / _MS_PER_S, UTC),
    )
