"""What the core does in one thread: sealing, verified ingest, and the idle exchange."""

from collections.abc import Iterator
from time import perf_counter

from _bench._figures import Figure, Scale
from _bench._pair import Wire, core_peer, link_peer, now
from gossipsync.core import Peer
from gossipsync.core.model.effects import Commit, Send
from gossipsync.core.model.ids import LinkId
from gossipsync.runtime.trust import Credentials, keygen

__all__ = ["bundles", "idle_exchange"]

_BUCKET = "updates"
_FIRST_FEED = LinkId(7)
_PAUSE_S = 0.01  # keeps below the rate at which a link may send messages


def bundles(scale: Scale) -> Iterator[Figure]:
    """256-entry bundles of 100 B values: signed by one core peer, verified and merged by another."""
    count = scale.entries // 2
    cluster_key = keygen()
    wire = Wire(core_peer(cluster_key, "writer"), core_peer(cluster_key, "reader"))
    writer, _ = wire.peers
    writer.open_bucket(_BUCKET, now())
    began_s = perf_counter()
    for number in range(count):
        draft = writer.draft(_BUCKET, now())
        draft.put(f"key{number:06d}", bytes(100))
        writer.commit_draft(draft, now())
    applied_s = perf_counter()
    wire.collect(0)
    sealed_s = perf_counter()
    pushed = wire.take(0)
    received_s = perf_counter()
    wire.deliver(1, pushed)
    merged_s = perf_counter()
    if len(wire.peers[1].replicas[_BUCKET]) != count:
        raise RuntimeError("the receiving peer did not take everything")
    yield Figure("draft and apply", count / (applied_s - began_s), "entries/s")
    yield Figure("seal, sign and encode", count / (sealed_s - applied_s), "entries/s")
    ingested = count / (merged_s - received_s)
    yield Figure("decode, verify and merge", ingested, "entries/s", 150_000, is_floor=True)


def idle_exchange(scale: Scale) -> Iterator[Figure]:
    """Bytes both ways when two peers are equal; presence, which travels beside, is not part of it."""
    cluster_key = keygen()
    first, second = core_peer(cluster_key, "first"), core_peer(cluster_key, "second")
    wire = Wire(first, second)
    made = 0
    for origins in scale.origins:
        _fill(wire, first, cluster_key, range(made, origins))
        made = origins
        wire.exchange()  # finds what differs, and settles it
        sent = wire.exchange()
        if sent.keys() & {"Compare", "Want", "Delta"}:
            raise RuntimeError("the peers were not equal")
        what = f"idle exchange, {origins:,} origins"
        yield Figure(what, sent["Digest"] + sent["Equal"], "B", 200)


def _fill(
    wire: Wire, target: tuple[Peer, Credentials], cluster_key: str, numbers: range
) -> None:
    """Have so many peers come, write one entry and go again; the other end of the wire gets it by push."""
    for number in numbers:
        wire.mono_s += _PAUSE_S
        origin, credentials = core_peer(cluster_key, f"origin{number}")
        link = LinkId(_FIRST_FEED + number)
        moment = now(wire.mono_s)
        target[0].handle_link_up(link, link_peer(origin, credentials, is_dialer=False), moment)
        origin.handle_link_up(link, link_peer(*target, is_dialer=True), moment)
        origin.open_bucket(_BUCKET, moment)
        draft = origin.draft(_BUCKET, moment)
        draft.put(f"key{number}", number)
        origin.commit_draft(draft, moment)
        for data in _said(origin, wire.mono_s):
            target[0].receive_data(link, data, moment)
        target[0].handle_link_down(link, "done", moment)
        wire.carry()


def _said(peer: Peer, mono_s: float) -> Iterator[bytes]:
    for effect in list(peer.drain()):
        match effect:
            case Commit(ticket):
                peer.handle_committed(ticket, now(mono_s))
            case Send(_, data):
                yield data
    for effect in peer.drain():
        if isinstance(effect, Send):
            yield effect.data
