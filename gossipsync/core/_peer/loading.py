"""Loading: a peer's state, rebuilt at its start from what its store kept. Every byte passes the same gate as a remote's."""

from __future__ import annotations

from gossipsync.core._peer.context import Context
from gossipsync.core._peer.forks import PROOF_HEAD
from gossipsync.core._peer.parts import Parts
from gossipsync.core._peer.rewriting import PARTIAL
from gossipsync.core._peer.setback import WITHDRAWN_HEAD
from gossipsync.core._peer.upkeep import TOUCHED_HEAD
from gossipsync.core.model.bundle import parse_header
from gossipsync.core.model.former import current_piece
from gossipsync.core.model.ids import Epoch, epoch_of, new_epoch, origin_of, peer_of, peer_text
from gossipsync.core.ports import StoredLog
from gossipsync.core.replication.admission import Refusal
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.pieces import HEADER
from gossipsync.errors import StoreCorruptError


class Loading:
    """Puts a store's contents back."""

    def __init__(self, ctx: Context, parts: Parts) -> None:
        self._ctx = ctx
        self._parts = parts

    def run(self) -> None:
        """Load heads, then logs. Raises StoreCorruptError."""
        ctx = self._ctx
        heads = ctx.store.load_heads()
        is_doubted = ctx.store.doubt is not None
        for name, value in heads.items():
            self._parts.commits.rewriting.note_head(name, value)
        for name, value in sorted(heads.items()):
            if name.startswith(PROOF_HEAD):
                continue
            if name.startswith("dismissal/"):
                self._parts.verdicts.load(name, value)
            else:
                self._parts.introductions.load_head(name, value)
        if ctx.credential and (own := ctx.verifier.read_credential(ctx.credential)) is not None:
            ctx.credentials[ctx.peer_id] = (ctx.credential, own[1])
        for name, value in sorted(heads.items()):
            if name.startswith(PROOF_HEAD) and not self._parts.forks.load(value):
                raise StoreCorruptError(unsound(ctx.store.place, repr(name), "no proof of a fork"))
        logs = ctx.store.load_logs()
        for bucket, origin, index, data in ctx.store.load_pieces():
            current = current_piece(data)
            if current is not data:
                # The first commit has them all: until then the store keeps the former ones.
                ctx.store.put_piece(bucket, origin, index, current)
                ctx.counters["upgraded-pieces"] += 1
                self._parts.keeper.has_changes = True
            self._load_piece(logs, (bucket, origin), index, current)
        for key, stored in logs.items():
            self._load_line(key, stored)
            self._parts.commits.loaded(key)
        self._parts.standing.was_loaded = bool(logs)
        self._parts.forks.loaded()
        self._parts.cursors.load({} if is_doubted else heads)
        touched = heads.get(TOUCHED_HEAD)
        if touched is not None:
            # It is written by peers that are ready, and only by these. A store that lacks something makes a joiner of its peer,
            # which is not ready before it has fetched that.
            self._parts.standing.is_established = not is_doubted
            self._parts.disputes.lost_touch(
                (ctx.now.wall_ms - int.from_bytes(touched[:8], "big")) / 1000
            )
            self._parts.lives.loaded(Epoch(int.from_bytes(touched[8:], "big")))
        packed = heads.get(WITHDRAWN_HEAD, b"")
        ctx.withdrawn.update(
            Epoch(int.from_bytes(packed[at : at + 8], "big")) for at in range(0, len(packed), 8)
        )
        if is_doubted:
            self._parts.commits.put_head(TOUCHED_HEAD, None)
            self._parts.lives.lost()
            self._parts.commits.rewrite()
        ctx.changed_buckets.clear()

    def _load_piece(
        self, logs: dict[LineKey, StoredLog], key: LineKey, index: int, data: bytes
    ) -> None:
        ctx = self._ctx
        stored = logs.get(key)
        # Once a log is frozen, its line and each piece stand for themselves.
        is_next = stored is not None and ctx.logs.index(key) + 1 == index <= stored.last
        if is_next and data[:1] == b"\x83":
            outcome = self._parts.admission.admit(data, None)
            if not isinstance(outcome, Refusal):
                self._parts.ingest.apply(outcome, ctx.peer_id, is_stored=True)
                return
        else:
            part = self._parts.admission.admit_piece(data, None, ctx.peer_id, index)
            if not isinstance(part, Refusal):
                self._parts.ingest.join(part, lambda _key, _cell: True)
                ctx.logs.open(key).put(index, part.piece)
                return
            outcome = part
        why = f"{outcome.reason}: {outcome.detail}"
        raise StoreCorruptError(unsound(ctx.store.place, _name(key, index), why))

    def _load_line(self, key: LineKey, stored: StoredLog) -> None:
        ctx = self._ctx
        log = ctx.logs.open(key)
        ctx.name_line(key)
        if log.fork is not None:
            return
        if stored.note == PARTIAL:
            pass  # a rewrite did not end: only the bundles that are there without a gap count
        elif stored.note is not None:
            self._parts.keeper.load_covered(log, stored.last, stored.note)
        elif log.index < stored.last:
            piece = log.pieces.get(stored.last)
            if piece is None and ctx.store.doubt is None:
                raise StoreCorruptError(unsound(ctx.store.place, _name(key, stored.last), "lost"))
            if piece is not None:
                ctx.logs.raise_to(parse_header(piece[HEADER]))
        ctx.logs.settle(log)


def _name(key: LineKey, index: int) -> str:
    return f"bundle {index} of {key[0]!r} by {peer_text(peer_of(key[1]))}"


def unsound(place: str, what: str, why: str) -> str:
    """What to say of a bundle in our own store that the gate refuses, or that is not there."""
    return (
        f"{place}: {what} is not valid ({why}). Nothing was changed. Keep a copy of it first: it may hold writes that no other peer "
        "has. Then restore a backup, or move it aside and start again; the mesh gives back all that any peer still holds"
    )


def open_epoch(ctx: Context) -> None:
    """A fresh epoch, above those that our store has of us even where the clock was set back since."""
    ours = [epoch_of(log.origin) for log in ctx.logs.logs() if peer_of(log.origin) == ctx.peer_id]
    fresh = new_epoch(ctx.now.wall_ms, ctx.rng.getrandbits(15))
    epoch = max([fresh, *(Epoch(epoch + 1) for epoch in ours)])
    ctx.origin = origin_of(ctx.peer_id, epoch)
    ctx.epochs.add(epoch)
