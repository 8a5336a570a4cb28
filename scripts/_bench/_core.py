"""What the core does in one thread: sealing, verified ingest, and the idle exchange."""

from collections.abc import Iterator
from time import perf_counter

from _bench._figures import Figure, Scale
from _bench._pair import Wire, core_peer, link_peer, make_peer, member, now, payloads, settle
from gossipsync.core import Peer
from gossipsync.core.model.ids import LinkId
from gossipsync.core.wire.framing import frame
from gossipsync.core.wire.messages import Credentials, Push, decode_message, encode_message
from gossipsync.runtime.trust import Credentials as Membership
from gossipsync.runtime.trust import keygen

__all__ = ["bundles", "idle_exchange"]

_BUCKET = "updates"
_LINK = LinkId(1)
_EPOCHS_A_KEY = 100  # one certificate for so many origins: making it costs more than the rest
_AT_ONCE = 8192  # entries sealed in one drain: less than a link's queue takes
_GATHERED_S = 0.010  # after which a bundle is sealed even if it is not full
_PAUSE_S = 0.002  # so that no two epochs begin at the same moment


def bundles(scale: Scale) -> Iterator[Figure]:
    """256-entry bundles of 100 B values: signed by one core peer, verified and merged by another."""
    count = scale.entries // 2
    cluster_key = keygen()
    wire = Wire(core_peer(cluster_key, "writer"), core_peer(cluster_key, "reader"))
    writer, _ = wire.peers
    writer.open_bucket(_BUCKET, now())
    pushed: list[bytes] = []
    applied_s = sealed_s = 0.0
    for first in range(0, count, _AT_ONCE):
        began_s = perf_counter()
        _write(writer, range(first, min(first + _AT_ONCE, count)), wire.mono_s)
        written_s = perf_counter()
        wire.mono_s += _GATHERED_S
        writer.handle_deadline(now(wire.mono_s))
        wire.collect(0)
        applied_s += written_s - began_s
        sealed_s += perf_counter() - written_s
        pushed += wire.take(0)
    received_s = perf_counter()
    wire.deliver(1, pushed)
    merged_s = perf_counter() - received_s
    if len(wire.peers[1].replicas[_BUCKET]) != count:
        raise RuntimeError("the receiving peer did not take everything")
    yield Figure("draft and apply", count / applied_s, "entries/s")
    yield Figure("seal, sign and encode", count / sealed_s, "entries/s")
    ingested = count / merged_s
    yield Figure("decode, verify and merge", ingested, "entries/s", 150_000, is_floor=True)


def _write(writer: Peer, numbers: range, mono_s: float) -> None:
    moment = now(mono_s)
    for number in numbers:
        draft = writer.draft(_BUCKET, moment)
        draft.put(f"key{number:06d}", bytes(100))
        writer.commit_draft(draft, moment)


def idle_exchange(scale: Scale) -> Iterator[Figure]:
    """Bytes both ways when two peers are equal; presence, which travels beside, is not part of it."""
    cluster_key = keygen()
    wire = Wire(core_peer(cluster_key, "first"), core_peer(cluster_key, "second"))
    made = 0
    for origins in scale.origins:
        _fill(wire, cluster_key, origins - made)
        made = origins
        wire.exchange()  # settles what was left to say
        sent = wire.exchange()
        if sent.keys() & {"Compare", "Want", "Delta"}:
            raise RuntimeError("the peers were not equal")
        what = f"idle exchange, {origins:,} origins"
        yield Figure(what, sent["Digest"] + sent["Equal"], "B", 200)


def _fill(wire: Wire, cluster_key: str, count: int) -> None:
    """Give both ends of the wire so many more origins, each with one entry."""
    while count > 0:
        batch = min(count, _EPOCHS_A_KEY)
        count -= batch
        credentials = member(cluster_key)
        shown = frame(encode_message(Credentials((credentials.certificate,))))
        pushed = frame(encode_message(Push(tuple(_lone_bundles(wire, credentials, batch)))))
        for receiver in (0, 1):
            wire.deliver(receiver, [shown, pushed])
        wire.carry()


def _lone_bundles(wire: Wire, credentials: Membership, count: int) -> Iterator[bytes]:
    """The only bundle of so many epochs of one peer, as it pushes it to somebody new."""
    somebody = link_peer(wire.peers[0], credentials, is_dialer=True)
    for _ in range(count):
        wire.mono_s += _PAUSE_S
        moment = now(wire.mono_s)
        origin = make_peer(credentials, "origin", moment)
        origin.open_bucket(_BUCKET, moment)
        origin.handle_link_up(_LINK, somebody, moment)
        draft = origin.draft(_BUCKET, moment)
        draft.put("key", 1)
        origin.commit_draft(draft, moment)
        for payload in payloads(settle(origin, moment)):
            message = decode_message(payload)
            if isinstance(message, Push):
                yield from message.bundles
