"""What happened, in the past tense: for the application's `events()`, the log and the counters."""

from __future__ import annotations

from attrs import frozen

from gossipsync.core.model.ids import Epoch, LinkId, PeerId
from gossipsync.core.model.reasons import Reason


@frozen
class LinkOpened:
    """A peer is linked and has proven its key."""

    link: LinkId
    peer: PeerId
    name: str


@frozen
class LinkClosed:
    """A link has ended."""

    link: LinkId
    peer: PeerId
    reason: str


@frozen
class MemberChanged:
    """A member's state as we see it has changed."""

    peer: PeerId
    name: str
    state: str


@frozen
class Refused:
    """Something a remote sent was refused."""

    link: LinkId | None
    peer: PeerId | None
    reason: Reason
    detail: str


@frozen
class Forked:
    """Two different bundles with one number, both signed by their origin."""

    peer: PeerId
    epoch: Epoch
    bucket: str
    index: int


@frozen
class StateChanged:
    """This peer's own state has changed: alone, joining, ready, leaving."""

    state: str


@frozen
class EpochOpened:
    """This peer goes on in a new epoch, because its clock was set back."""

    epoch: Epoch


@frozen
class Cloned:
    """Another process lives with this peer's key."""

    epoch: Epoch | None
    """Its run; None where only its hello was seen."""


@frozen
class Restored:
    """This peer's store is an older copy or has holes: it said so itself, or others gave back what this peer had written since."""

    epoch: Epoch
    """A run of which it has forgotten something; the present one where the store said so itself."""


@frozen
class BucketMismatched:
    """Two peers announced different rules for one bucket; the earliest announcement holds."""

    bucket: str


@frozen
class StoreFailed:
    """The store could not commit; what was written stays in memory and is tried again."""

    detail: str


@frozen
class StoreRecovered:
    """The store commits again."""


@frozen
class Yielded:
    """After an absence longer than the horizon this peer gave up what the mesh had ended meanwhile."""

    peer: PeerId
    """Whose state it took over."""
    cells: int


@frozen
class StartWaitExpired:
    """The first use after the start waited for the mesh's data in vain; the data that is here is served."""

    waited_s: float
    detail: str


Event = (
    LinkOpened
    | LinkClosed
    | MemberChanged
    | Refused
    | Forked
    | StateChanged
    | EpochOpened
    | Cloned
    | Restored
    | BucketMismatched
    | StoreFailed
    | StoreRecovered
    | Yielded
    | StartWaitExpired
)
