"""The backlog: a writer waits for its fastest neighbour, for nobody when alone, and not for one that confirms nothing."""

from random import Random

import pytest

from gossipsync.core import LinkPeer, Now, Peer, PeerConfig
from gossipsync.core.model.effects import Commit
from gossipsync.core.model.ids import LinkId
from gossipsync.core.model.limits import Limits
from gossipsync.core.wire.framing import frame
from gossipsync.core.wire.messages import Message, Stored, encode_message
from gossipsync.errors import OverloadedError
from gossipsync.runtime.trust import Identity, X509Verifier, credentials_from_cluster_key, keygen
from gossipsync.stores import MemoryStore

LIMITS = Limits(unconfirmed_bytes=20_000, seal_entries=1)
WALL_MS = 1_790_000_000_000
SLOW, FAST = LinkId(1), LinkId(2)


class Writer:
    """A peer with links to members that say what a test has them say."""

    def __init__(self) -> None:
        self.key = keygen()
        own = credentials_from_cluster_key(self.key, Identity.generate())
        self.now = Now(0.0, WALL_MS)
        self.peer = Peer(
            PeerConfig(network=own.network_id, name="writer", limits=LIMITS),
            peer_id=own.identity.peer_id,
            sign=own.identity.sign,
            credential=own.certificate,
            verifier=X509Verifier(own.ca_certificate),
            store=MemoryStore(),
            rng=Random(1),
            now=self.now,
        )
        self.peer.open_bucket("b", self.now)
        self.written = 0

    def link(self, link: LinkId) -> None:
        other = credentials_from_cluster_key(self.key, Identity.generate())
        remote = LinkPeer(
            other.identity.peer_id, "", self.peer.epoch, None, "", other.certificate, True, None
        )
        self.peer.handle_link_up(link, remote, self.now)

    def pass_time(self, seconds: float) -> None:
        self.now = Now(self.now.mono_s + seconds, self.now.wall_ms + round(seconds * 1000))
        self.peer.handle_deadline(self.now)

    def write(self) -> None:
        self.write_only()
        self.drain()

    def write_only(self) -> None:
        draft = self.peer.draft("b", self.now)
        draft.put(f"k{self.written}", bytes(3_000))
        self.peer.commit_draft(draft, self.now)
        self.written += 1

    def write_many_only(self) -> None:
        for _ in range(50):
            self.write_only()

    def drain(self) -> None:
        for effect in list(self.peer.drain()):
            if isinstance(effect, Commit):
                self.peer.handle_committed(effect.ticket, self.now)
                list(self.peer.drain())

    def write_many(self) -> None:
        for _ in range(50):
            self.write()

    def write_until_refused(self) -> int:
        before = self.written
        with pytest.raises(OverloadedError, match="any member to store"):
            self.write_many()
        assert not self.peer.is_writable()
        assert "overloaded" in self.peer.status(self.now).warnings
        return self.written - before

    def confirm(self, link: LinkId, index: int) -> None:
        message: Message = Stored((("b", self.peer.origin, index),))
        self.peer.receive_data(link, frame(encode_message(message)), self.now)


@pytest.fixture
def writer() -> Writer:
    return Writer()


def test_writes_that_nobody_had_time_to_seal_count_too() -> None:
    writer = Writer()
    writer.link(SLOW)
    with pytest.raises(OverloadedError, match="any member to store"):
        writer.write_many_only()
    writer.drain()
    assert 0 < writer.peer.queues()["unconfirmed_bytes"] < LIMITS.unconfirmed_bytes + 4_000
    writer.confirm(SLOW, writer.written)
    assert writer.peer.is_writable()


def test_alone_nobody_is_waited_for(writer: Writer) -> None:
    writer.write_many()
    assert writer.peer.queues()["unconfirmed_bytes"] == 0


def test_what_was_written_alone_is_not_waited_for_later(writer: Writer) -> None:
    writer.write_many()
    writer.link(SLOW)
    assert writer.peer.is_writable()


def test_the_fastest_neighbour_sets_the_pace(writer: Writer) -> None:
    writer.link(SLOW)
    writer.link(FAST)
    assert 6 <= writer.write_until_refused() <= 7
    writer.confirm(SLOW, 1)
    assert writer.write_until_refused() == 1
    writer.confirm(FAST, writer.written)
    assert writer.peer.queues()["unconfirmed_bytes"] == 0
    assert 6 <= writer.write_until_refused() <= 7


def test_nothing_is_written_when_refused(writer: Writer) -> None:
    writer.link(SLOW)
    writer.write_until_refused()
    writer.confirm(SLOW, writer.written + 5)  # more than there is: no word to be trusted
    with pytest.raises(OverloadedError):
        writer.write()
    assert len(writer.peer.replicas["b"]) == writer.written


def test_a_neighbour_that_is_gone_is_not_waited_for(writer: Writer) -> None:
    writer.link(SLOW)
    writer.write_until_refused()
    writer.peer.handle_link_down(SLOW, "broken", writer.now)
    assert writer.peer.is_writable()
    writer.pass_time(1.0)
    writer.link(FAST)
    assert 6 <= writer.write_until_refused() <= 7


def test_a_neighbour_that_confirms_nothing_is_not_waited_for_long(writer: Writer) -> None:
    writer.link(SLOW)
    writer.write_until_refused()
    writer.pass_time(LIMITS.wanted_span_s - 1)
    assert not writer.peer.is_writable()
    writer.confirm(SLOW, 1)
    writer.write_until_refused()
    writer.pass_time(LIMITS.wanted_span_s)
    assert not writer.peer.is_writable()
    writer.pass_time(1.0)
    assert writer.peer.is_writable()
    assert writer.peer.gossip_info(writer.now)["drops"]["backlogs_forgiven"] == 1  # type: ignore[index]
