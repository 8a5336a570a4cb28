"""`dump` and `load` over the control socket: a bucket as readable rows, or as the signed pieces that it is made of.

`sums` lets `diff` compare two peers without either sending its values. Rows are written as this peer's own; pieces keep their origins and pass the core's gate. Each request stands for itself, so that
nothing is kept here for a caller that may go away; whoever loads checks everything first, with `is_trial`, then sends it again.

Invariant: one request is merged or written as a whole, or not at all.
"""

from typing import Final

import trio

from gossipsync.core import NO_EXPIRY, Cargo, Draft, Kind, Now, Place, Replica
from gossipsync.core.model.ids import peer_text
from gossipsync.core.model.values import encode_value
from gossipsync.errors import LocalError, ValueTypeError
from gossipsync.runtime.control_arguments import Arguments
from gossipsync.runtime.control_ready import admit
from gossipsync.runtime.control_waits import SendPart, ServedEngine, until
from gossipsync.runtime.control_writes import open_bucket, room

__all__ = ["load_pieces", "load_rows", "pieces", "rows", "settle", "sums"]

_PART_ROWS: Final = 200
_PART_SUMS: Final = 2000
_PART_BYTES: Final = 1 << 20
_STORED_S: Final = 5.0
"""How long to wait for our own store: under constant writes it is never quite idle."""


async def rows(engine: ServedEngine, arguments: Arguments, send_part: SendPart) -> object:
    """Send what a bucket shows, several rows a part; each as it is when it is read."""
    bucket = arguments.text("bucket")
    await admit(engine, bucket)
    with engine.lock:
        replica = engine.peer.replicas.get(bucket)
        if replica is None:
            raise LocalError(f"there is no bucket {bucket!r} here: see the buckets in status")
        keys = replica.keys(engine.now().wall_ms)
    part: list[dict[str, object]] = []
    size_bytes = count = 0
    for key in keys:
        row = _row(engine, replica, key)
        if row is None:
            continue
        part.append(row)
        count += 1
        size_bytes += len(value) if isinstance(value := row["value"], bytes) else 0
        if len(part) >= _PART_ROWS or size_bytes >= _PART_BYTES:
            await send_part(part)
            part, size_bytes = [], 0
    await send_part(part)
    return count


def _row(engine: ServedEngine, replica: Replica, key: str) -> dict[str, object] | None:
    """One key as it is now; None where it has gone."""
    with engine.lock:
        try:
            seen = replica.provenance(key, engine.now().wall_ms)
        except KeyError:
            return None
    shown = sorted(seen.value) if isinstance(seen.value, frozenset) else seen.value
    return {
        "bucket": replica.name,
        "key": key,
        "kind": replica.rules.kind.name.lower(),
        "value": encode_value(shown),
        "expires_ms": seen.expires_ms,
        "origin": peer_text(seen.origin),
        "hlc": str(int(seen.hlc)),
    }


async def sums(engine: ServedEngine, arguments: Arguments, send_part: SendPart) -> object:
    """Send what stands for each key of a bucket; nothing for one that is not here."""
    bucket = arguments.text("bucket")
    with engine.lock:
        replica = engine.peer.replicas.get(bucket)
        found = [] if replica is None else replica.key_sums(engine.now().wall_ms)
    for start in range(0, len(found), _PART_SUMS):
        part = found[start : start + _PART_SUMS]
        await send_part([[key, total.to_bytes(8, "big")] for key, total in part])
    return len(found)


async def pieces(engine: ServedEngine, arguments: Arguments, send_part: SendPart) -> object:
    """Send all that is kept of a bucket's logs: parts of one peer's certificate and its pieces."""
    bucket = arguments.text("bucket")
    await admit(engine, bucket)
    await settle(engine, arguments, send_part)  # what is ours may leave once it is stored
    place: Place | None = None
    count = 0
    while (cargo := _cargo(engine, bucket, place)) is not None:
        await send_part([cargo.certificate, list(cargo.pieces)])
        place, count = cargo.last, count + len(cargo.pieces)
    return count


def _cargo(engine: ServedEngine, bucket: str, after: Place | None) -> Cargo | None:
    with engine.lock:
        return engine.peer.cargo(bucket, after, engine.now())


async def load_pieces(engine: ServedEngine, arguments: Arguments, _: SendPart) -> object:
    """Verify one peer's pieces and, but for a trial, merge them."""
    certificate, given = arguments.raw("certificate"), arguments.raws("pieces")
    await trio.lowlevel.checkpoint()
    changed = 0
    with engine.lock:
        now = engine.now()
        if arguments.flag("is_trial"):
            engine.peer.check_cargo(certificate, given, now)
        else:
            changed = engine.peer.take_cargo(certificate, given, now)
            engine.wake()
    return {"changed": changed}


async def load_rows(engine: ServedEngine, arguments: Arguments, _: SendPart) -> object:
    """Write rows of one bucket as one batch of this peer's; what has expired meanwhile is left out."""
    bucket, given = arguments.text("bucket"), arguments.rows("rows")
    kind = _kind(arguments.text_or_none("kind"))
    await admit(engine, bucket)
    await room(engine)
    with engine.lock:
        now = engine.now()
        open_bucket(engine, bucket, kind)
        draft = engine.peer.draft(bucket, now)
        written = [_write(draft, row, now) for row in given]
        if not draft.is_empty:
            engine.peer.commit_draft(draft, now)
            engine.wake()
    return {"written": sum(written), "expired": len(written) - sum(written)}


async def settle(engine: ServedEngine, _: Arguments, __: SendPart) -> object:
    """Wait until what came in is in our own store, for a moment at most."""
    return {"is_stored": await until(engine, lambda: engine.peer.is_idle, _STORED_S)}


def _write(draft: Draft, row: Arguments, now: Now) -> bool:
    """Make a key what the row says; False where the row has expired."""
    key, value, expires_ms = row.text("key"), row.value(), row.whole_or_none("expires_ms")
    if expires_ms is not None and expires_ms <= now.wall_ms:
        return False
    match draft.replica.rules.kind, value:
        case Kind.COUNTER, int() if not isinstance(value, bool):
            former = draft.read(key) if draft.has(key) else 0
            assert isinstance(former, int)
            if value != former:
                draft.add(key, value - former)
        case Kind.SET, list():
            former = draft.read(key) if draft.has(key) else frozenset()
            assert isinstance(former, frozenset)
            wanted = {element for element in value if isinstance(element, str)}
            if len(wanted) < len(value):
                raise ValueTypeError(f"{key!r}: a set holds different texts, and nothing else")
            for element in sorted(wanted - former):
                draft.add_element(key, element)
            for element in sorted(former - wanted):
                draft.discard_element(key, element)
        case (Kind.COUNTER | Kind.SET) as other, _:
            raise ValueTypeError(f"{key!r}: a {other.name.lower()} cannot have this value")
        case _:
            draft.put(key, value, NO_EXPIRY if expires_ms is None else expires_ms - now.wall_ms)
    return True


def _kind(name: str | None) -> Kind | None:
    if name is None:
        return None
    known = {kind.name.lower(): kind for kind in Kind}
    if name not in known:
        raise LocalError(f"{name!r} is no kind of bucket: {', '.join(known)}")
    return known[name]
