"""What can be asked over the control socket: each operation, from arguments to a result of plain data.

The operations speak to the peer as an application in this process would, under its lock; what waits,
waits in the caller's own task.

Invariant: results hold what CBOR carries without tags; application values are encoded bytes.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

import attrs
import trio

from gossipsync.core.model.hlc import hlc_ms
from gossipsync.core.model.ids import peer_text
from gossipsync.core.model.member_name import member_called
from gossipsync.core.model.values import encode_value
from gossipsync.core.wire.versions import OWN_PROTOCOLS
from gossipsync.errors import LocalError, WaitTimeoutError
from gossipsync.runtime.control_arguments import Arguments
from gossipsync.runtime.control_dumps import load_pieces, load_rows, pieces, rows, settle, sums
from gossipsync.runtime.control_looks import fetch, lines, outlines
from gossipsync.runtime.control_ready import admit
from gossipsync.runtime.control_waits import SendPart, ServedEngine, until
from gossipsync.runtime.control_watch import watch
from gossipsync.runtime.control_writes import delete, incr, put, sadd, srem

__all__ = ["OPERATIONS", "Operation"]

_ROWS_A_PART: Final = 500
"""Rows in one part of a list: far below a frame's limit, large enough to be few."""

Operation = Callable[[ServedEngine, Arguments, SendPart], Awaitable[object]]


async def _status(engine: ServedEngine, _: Arguments, __: SendPart) -> object:
    return {"schema": 1, **_fields(attrs.asdict(engine.status()))}


async def _members(engine: ServedEngine, _: Arguments, send_part: SendPart) -> object:
    with engine.lock:
        members = engine.peer.members(engine.now())
    await _send_rows([_fields(attrs.asdict(member)) for member in members], send_part)
    return len(members)


async def _gossipinfo(engine: ServedEngine, arguments: Arguments, _: SendPart) -> object:
    wanted = arguments.text_or_none("peer")
    with engine.lock:
        now = engine.now()
        if wanted is None:
            return {
                **_fields(engine.peer.gossip_info(now)),
                "protocols": [OWN_PROTOCOLS.lowest, OWN_PROTOCOLS.highest],
                "incompatible": [_fields(attrs.asdict(row)) for row in engine.incompatible()],
            }
        members = engine.peer.members(now)
        info = _fields(engine.peer.gossip_info(now))
    row = member_called(wanted, ((one.name, one.peer_id, one) for one in members))
    return {"members": [_fields(attrs.asdict(row))], **_about(info, {row.peer_id})}


async def _get(engine: ServedEngine, arguments: Arguments, _: SendPart) -> object:
    bucket, key = arguments.text("bucket"), arguments.text("key")
    field = arguments.text_or_none("field")
    absent = {"found": False, "value": None}
    await admit(engine, bucket)
    replica = engine.peer.replicas.get(bucket)
    if replica is None:
        return absent
    try:
        value = replica.read(key, engine.now().wall_ms)
        if field is not None:
            if not isinstance(value, dict):
                raise LocalError(f"the value of {key!r} has no fields; leave --field out")
            value = value[field]
    except KeyError:
        return absent
    if isinstance(value, frozenset):
        value = sorted(value)
    return {"found": True, "value": encode_value(value)}


async def _history(engine: ServedEngine, arguments: Arguments, send_part: SendPart) -> object:
    bucket, key = arguments.text("bucket"), arguments.text("key")
    await admit(engine, bucket)
    with engine.lock:
        if bucket not in engine.peer.replicas:
            return 0
        look = engine.peer.history(bucket, key, engine.now())
        engine.wake()
    found = await trio.to_thread.run_sync(look)
    rows: list[object] = [
        {
            "kind": version.kind,
            "field": version.field,
            "value": encode_value(version.value),
            "origin": peer_text(version.origin),
            "sender": peer_text(version.sender),
            "hlc": str(int(version.hlc)),
            "at_ms": hlc_ms(version.hlc),
            "expires_ms": version.expires_ms,
        }
        for version in found
    ]
    await _send_rows(rows, send_part)
    return len(rows)


async def _keys(engine: ServedEngine, arguments: Arguments, send_part: SendPart) -> object:
    bucket, prefix = arguments.text("bucket"), arguments.text("prefix")
    await admit(engine, bucket)
    with engine.lock:
        replica = engine.peer.replicas.get(bucket)
        keys = [] if replica is None else replica.keys(engine.now().wall_ms, prefix)
    await _send_rows(keys, send_part)
    return len(keys)


async def _wait(engine: ServedEngine, arguments: Arguments, _: SendPart) -> object:
    count = arguments.whole_or_none("members")
    synced = arguments.flag("synced")
    text = arguments.text_or_none("token")
    peer = engine.peer
    with engine.lock:
        token = None if text is None else peer.parse_token(text, engine.now())

    def missing() -> str | None:
        if count is not None and (alive := engine.count_alive()) < count:
            return f"{alive} of {count} members are alive"
        if synced and not peer.is_synced():
            return "this peer still lacks what others have"
        if token is not None and not engine.seek_token(token):
            return "this peer has not seen all that the token stands for"
        return None

    if synced or count is not None:
        with engine.lock:
            peer.request_exchange(engine.now())
            engine.wake()
    if not await until(engine, lambda: missing() is None, arguments.seconds_or_none("timeout_s")):
        with engine.lock:
            what = missing()
        raise WaitTimeoutError(what or "it came true a moment too late")
    return None


async def _token(engine: ServedEngine, _: Arguments, __: SendPart) -> object:
    with engine.lock:
        return {"token": engine.peer.token(engine.now())}


async def _invite(engine: ServedEngine, arguments: Arguments, _: SendPart) -> object:
    from gossipsync.runtime.trust import create_invite

    return create_invite(
        engine.transport.credentials,
        engine.addresses,
        name=arguments.text_or_none("name"),
        globs=arguments.texts("buckets"),
        uses=arguments.whole("uses"),
        ttl=timedelta(seconds=arguments.seconds_or_none("ttl_s") or 0),
    )


async def _forget(engine: ServedEngine, arguments: Arguments, _: SendPart) -> object:
    with engine.lock:
        peer = engine.peer.forget(arguments.text("peer"), engine.now())
        engine.wake()
    return {"peer_id": peer_text(peer)}


async def _leave(engine: ServedEngine, _: Arguments, __: SendPart) -> object:
    engine.request_close(leave=True)
    # The end of the connection is the answer: then the peer has said goodbye.
    await trio.sleep_forever()


async def _close(engine: ServedEngine, _: Arguments, __: SendPart) -> object:
    engine.request_close()
    await trio.sleep_forever()


OPERATIONS: Final[Mapping[str, Operation]] = {
    "status": _status,
    "members": _members,
    "gossipinfo": _gossipinfo,
    "get": _get,
    "put": put,
    "del": delete,
    "incr": incr,
    "sadd": sadd,
    "srem": srem,
    "history": _history,
    "keys": _keys,
    "watch": watch,
    "rows": rows,
    "pieces": pieces,
    "load_rows": load_rows,
    "load_pieces": load_pieces,
    "settle": settle,
    "sums": sums,
    "fetch": fetch,
    "outlines": outlines,
    "lines": lines,
    "wait": _wait,
    "token": _token,
    "invite": _invite,
    "forget": _forget,
    "leave": _leave,
    "close": _close,
}


async def _send_rows(rows: Sequence[object], send_part: SendPart) -> None:
    for start in range(0, len(rows), _ROWS_A_PART):
        await send_part(list(rows[start : start + _ROWS_A_PART]))


def _about(info: Mapping[str, object], ids: set[str]) -> dict[str, object]:
    """The parts of `gossip_info` whose rows name one of these peers."""
    return {
        name: [row for row in rows if isinstance(row, dict) and row.get("peer_id") in ids]
        for name, rows in info.items()
        if isinstance(rows, list)
    }


def _fields(data: Mapping[str, object]) -> dict[str, object]:
    """attrs' and the core's data as what CBOR carries: tuples as lists, keys as text."""
    return {str(name): _plain(part) for name, part in data.items()}


def _plain(data: object) -> object:
    if isinstance(data, Mapping):
        return _fields(data)
    if isinstance(data, list | tuple | set | frozenset):
        return [_plain(part) for part in data]
    if isinstance(data, bytes):
        return data.hex()
    return data
