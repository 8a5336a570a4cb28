"""Writing over the control socket: one draft, one bundle, one receipt.

Invariant: a write that is answered with a receipt is in this peer's store, whatever `ack` said; one that
is answered with an error other than AckTimeoutError has changed nothing.
"""

from collections.abc import Callable

from gossipsync.core import Draft, Kind, Written
from gossipsync.core.model.acks import Ack
from gossipsync.core.model.ids import peer_text
from gossipsync.errors import AckTimeoutError, OverloadedError
from gossipsync.runtime.control_arguments import Arguments
from gossipsync.runtime.control_protocol import AbsentKeyError
from gossipsync.runtime.control_ready import admit
from gossipsync.runtime.control_waits import SendPart, ServedEngine, until
from gossipsync.runtime.settings import NO_BUCKET_SETTINGS

__all__ = ["delete", "incr", "open_bucket", "put", "room", "sadd", "srem"]

_ROOM_S = 1.0
"""How long a write waits for room under the peer's limits."""


async def put(engine: ServedEngine, arguments: Arguments, _: SendPart) -> object:
    """Store a value, or one field of a map."""
    key, value = arguments.text("key"), arguments.value()
    field, ttl_ms = arguments.text_or_none("field"), arguments.whole_or_none("ttl_ms")

    def change(draft: Draft) -> None:
        if field is None:
            draft.put(key, value, ttl_ms)
        else:
            draft.set_field(key, field, value)

    kind = None if field is None else Kind.MAP
    return await _write(engine, arguments, kind, change)


async def delete(engine: ServedEngine, arguments: Arguments, _: SendPart) -> object:
    """Delete a key, here or not, or one field of a map."""
    key, field = arguments.text("key"), arguments.text_or_none("field")

    def change(draft: Draft) -> None:
        if field is None:
            draft.delete(key)
        else:
            draft.delete_field(key, field)

    kind = None if field is None else Kind.MAP
    return await _write(engine, arguments, kind, change)


async def incr(engine: ServedEngine, arguments: Arguments, _: SendPart) -> object:
    """Add to a counter; the receipt carries its value here."""
    key, amount = arguments.text("key"), arguments.whole("amount")
    receipt = await _write(engine, arguments, Kind.COUNTER, lambda draft: draft.add(key, amount))
    replica = engine.peer.replicas[arguments.text("bucket")]
    return {**receipt, "value": replica.counter(key, engine.now().wall_ms)}


async def sadd(engine: ServedEngine, arguments: Arguments, _: SendPart) -> object:
    """Add elements to a set."""
    key, elements = arguments.text("key"), arguments.texts("elements")

    def change(draft: Draft) -> None:
        for element in elements:
            draft.add_element(key, element)

    return await _write(engine, arguments, Kind.SET, change)


async def srem(engine: ServedEngine, arguments: Arguments, _: SendPart) -> object:
    """Remove elements from a set."""
    key, elements = arguments.text("key"), arguments.texts("elements")

    def change(draft: Draft) -> None:
        for element in elements:
            draft.discard_element(key, element)

    return await _write(engine, arguments, Kind.SET, change)


async def _write(
    engine: ServedEngine,
    arguments: Arguments,
    kind: Kind | None,
    change: Callable[[Draft], object],
) -> dict[str, object]:
    bucket, key = arguments.text("bucket"), arguments.text("key")
    ack, timeout_s = arguments.ack(), arguments.seconds_or_none("timeout_s")
    after = arguments.text_or_none("after")
    peer = engine.peer
    await admit(engine, bucket)
    await room(engine)
    with engine.lock:
        now = engine.now()
        open_bucket(engine, bucket, kind)
        token = None if after is None else peer.parse_token(after, now)
        draft = peer.draft(bucket, now, token)
        try:
            change(draft)
        except KeyError as error:
            raise AbsentKeyError(f"{key!r} is not in {bucket!r}, or has no such field") from error
        if draft.is_empty:  # all of it is so already
            return _receipt(bucket, key, None, peer.token(now), ())
        written = peer.commit_draft(draft, now)
        engine.wake()
    await _acknowledged(engine, written, ack, timeout_s)
    with engine.lock:
        acked_by = tuple(map(peer_text, peer.acked_by(written)))
        return _receipt(bucket, key, str(int(written.hlc)), peer.token_of(written), acked_by)


async def room(engine: ServedEngine) -> None:
    """Wait a moment for room under the peer's limits. Raises OverloadedError."""
    if not await until(engine, engine.peer.is_writable, _ROOM_S):
        raise OverloadedError("writes come in faster than they can be stored and sent")


def open_bucket(engine: ServedEngine, bucket: str, kind: Kind | None) -> None:
    """The bucket as this peer has it, else as the settings say, else as this operation needs it."""
    rules = engine.settings.buckets.get(bucket, NO_BUCKET_SETTINGS)
    if bucket in engine.peer.replicas:
        engine.peer.open_bucket(bucket, engine.now(), kind=kind)
        return
    engine.peer.open_bucket(
        bucket,
        engine.now(),
        kind=rules.kind if kind is None else kind,
        deletes=rules.deletes,
        ttl_ms=rules.ttl_ms,
        history_ms=rules.history_ms,
    )


async def _acknowledged(
    engine: ServedEngine, written: Written, ack: Ack, timeout_s: float | None
) -> None:
    """Wait until our own store and enough others have it. Raises AckTimeoutError."""
    peer = engine.peer
    limit_s = engine.settings.ack_timeout if timeout_s is None else timeout_s

    if await until(engine, lambda: engine.seek_acks(written, ack), limit_s):
        return
    with engine.lock:
        acked_by = tuple(map(peer_text, peer.acked_by(written)))
        needed = peer.needed_acks(ack)
        message = f"after {limit_s:g} s {peer.shortfall(written, ack)}"
    raise AckTimeoutError(message, acked_by=acked_by, needed=needed)


def _receipt(
    bucket: str, key: str, hlc: str | None, token: str, acked_by: tuple[str, ...]
) -> dict[str, object]:
    return {"bucket": bucket, "key": key, "hlc": hlc, "token": token, "acked_by": list(acked_by)}
