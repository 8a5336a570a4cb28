"""What the core asks its driver to do. `Peer.drain()` yields them in the order in which they must be carried out."""

from __future__ import annotations

from attrs import frozen

from gossipsync.core.model.events import Event
from gossipsync.core.model.ids import LinkId, PeerId


@frozen
class Commit:
    """Call `store.commit()` in a worker thread, then `handle_committed(ticket)` or `handle_commit_failed(ticket)`."""

    ticket: int


@frozen
class Send:
    """Hand these bytes, whole frames, to a link; call `handle_sent` once they have left."""

    link: LinkId
    data: bytes


@frozen
class HangUp:
    """Close a link after what was sent before; then call `handle_link_down`."""

    link: LinkId
    reason: str


@frozen
class Dial:
    """Open a link to "host:port"; answer with `handle_link_up` or `handle_dial_failed`."""

    address: str
    peer: PeerId | None
    """Who is expected there, where known."""


@frozen
class Tell:
    """Wake whoever waits: something they may wait for has moved."""

    buckets: frozenset[str]
    """Buckets whose visible data may have changed."""


@frozen
class Emit:
    """An event for the application and the log."""

    event: Event


Effect = Commit | Send | HangUp | Dial | Tell | Emit
