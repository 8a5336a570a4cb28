"""A link too full for pushes still gets answers: whoever was not pushed something asks for it just then."""

from random import Random

from gossipsync.core import LinkPeer, Now, Peer, PeerConfig
from gossipsync.core.model.effects import Commit, Send
from gossipsync.core.model.ids import LinkId
from gossipsync.core.model.limits import Limits
from gossipsync.core.wire.framing import FrameReader, frame
from gossipsync.core.wire.messages import Delta, Digest, Push, Want, decode_message, encode_message
from gossipsync.runtime.trust import Identity, X509Verifier, credentials_from_cluster_key, keygen
from gossipsync.stores import MemoryStore

LINK = LinkId(1)
NOW = Now(0.0, 1_790_000_000_000)
LIMITS = Limits(link_queue_bytes=20_000, delta_bytes=4_000, seal_entries=1)


def said(peer: Peer) -> list[object]:
    """Drain; nothing of it ever leaves, for the remote does not read."""
    sent = b""
    for _ in range(3):
        for effect in list(peer.drain()):
            match effect:
                case Commit(ticket):
                    peer.handle_committed(ticket, NOW)
                case Send(_, data):
                    sent += data
    reader = FrameReader(LIMITS.frame_bytes)
    reader.feed(sent)
    return [decode_message(payload) for payload in reader]


def deltas(peer: Peer, number: int) -> list[Delta]:
    want = Want(number, 4_000, (("b", peer.origin, 1, 2),))
    peer.receive_data(LINK, frame(encode_message(want)), NOW)
    return [message for message in said(peer) if isinstance(message, Delta)]


def linked_writer() -> Peer:
    key = keygen()
    own, other = (credentials_from_cluster_key(key, Identity.generate()) for _ in range(2))
    peer = Peer(
        PeerConfig(network=own.network_id, name="writer", limits=LIMITS),
        peer_id=own.identity.peer_id,
        sign=own.identity.sign,
        credential=own.certificate,
        verifier=X509Verifier(own.ca_certificate),
        store=MemoryStore(),
        rng=Random(1),
        now=NOW,
    )
    remote = LinkPeer(
        other.identity.peer_id, "reader", peer.epoch, None, "", other.certificate, True, None
    )
    peer.open_bucket("b", NOW)
    peer.handle_link_up(LINK, remote, NOW)
    digest = Digest(2, peer.digest, b"", NOW.wall_ms)  # nothing is pushed before a first comparison
    peer.receive_data(LINK, frame(encode_message(digest)), NOW)
    return peer


def write(peer: Peer, number: int) -> None:
    draft = peer.draft("b", NOW)
    draft.put(f"k{number}", bytes(3_000))
    peer.commit_draft(draft, NOW)


def test_a_full_link_answers_a_few_requests_and_then_no_more() -> None:
    peer = linked_writer()
    for number in range(12):
        write(peer, number)
        said(peer)
    answers = [deltas(peer, number) for number in range(1, 9)]
    assert [len(answer) for answer in answers[:2]] == [1, 1]
    assert answers[-1] == []


def test_what_one_drain_seals_does_not_overfill_the_link() -> None:
    peer = linked_writer()
    for number in range(40):
        write(peer, number)
    pushed = [
        data for message in said(peer) if isinstance(message, Push) for data in message.bundles
    ]
    assert LIMITS.link_queue_bytes <= sum(map(len, pushed)) < LIMITS.link_queue_bytes + 4_000
    assert [len(answer) for answer in (deltas(peer, 1), deltas(peer, 2))] == [1, 1]
