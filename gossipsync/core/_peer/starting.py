"""Starting: what the store has is replayed through the same gate as a remote's bytes, and a fresh epoch opened above it."""

from __future__ import annotations

from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.context import Context
from gossipsync.core._peer.ingest import Ingest, unsound
from gossipsync.core._peer.introductions import Introductions
from gossipsync.core._peer.verdicts import Verdicts
from gossipsync.core.model.ids import (
    Epoch,
    epoch_of,
    new_epoch,
    origin_of,
    peer_of,
    peer_text,
)
from gossipsync.core.replication.admission import Admission, Refusal
from gossipsync.errors import StoreCorruptError


def load(
    ctx: Context,
    admission: Admission,
    ingest: Ingest,
    commits: Commits,
    introductions: Introductions,
    verdicts: Verdicts,
) -> None:
    """Replay the store; every byte passes the same gate as a remote's. Raises StoreCorruptError."""
    for name, value in sorted(ctx.store.load_heads().items()):
        if name.startswith("dismissal/"):
            verdicts.load(value)
        else:
            introductions.load_head(name, value)
    if ctx.credential and (own := ctx.verifier.read_credential(ctx.credential)) is not None:
        ctx.credentials[ctx.peer_id] = (ctx.credential, own[1])
    for bucket, origin, index, data in ctx.store.load_pieces():
        outcome = admission.admit(data, None)
        if isinstance(outcome, Refusal):
            what = f"bundle {index} of {bucket!r} by {peer_text(peer_of(origin))}"
            raise StoreCorruptError(unsound(ctx.store.place, what, outcome))
        commits.loaded(ingest.apply(outcome, ctx.peer_id, is_stored=True))
    ctx.changed_buckets.clear()


def open_epoch(ctx: Context) -> None:
    """A fresh epoch, above those that our store has of us even where the clock was set back since."""
    ours = [epoch_of(log.origin) for log in ctx.logs.logs() if peer_of(log.origin) == ctx.peer_id]
    fresh = new_epoch(ctx.now.wall_ms, ctx.rng.getrandbits(15))
    ctx.origin = origin_of(ctx.peer_id, max([fresh, *(Epoch(epoch + 1) for epoch in ours)]))
