"""One peer on a stage, and remotes that a test speaks for: messages in, messages and effects out.

    stage = Stage()
    rogue = stage.link("rogue")
    rogue.says(Push((bundle,)))
    assert rogue.hung_up == "signature"

Nothing happens between two lines of such a dialogue but what the peer does at once; `stage.wait()` lets time pass.
"""

from __future__ import annotations

import random
from collections import Counter

from gossipsync.core import LinkPeer, Now, Peer, PeerConfig
from gossipsync.core.model.capability import Capability
from gossipsync.core.model.effects import Commit, Dial, Emit, HangUp, Send, Tell
from gossipsync.core.model.events import Event
from gossipsync.core.model.ids import Epoch, LinkId, PeerId, new_epoch
from gossipsync.core.model.reasons import Reason
from gossipsync.core.wire.framing import FrameReader, frame
from gossipsync.core.wire.messages import Digest, Message, decode_message, encode_message
from tests.core._world.authority import EVERYTHING, NETWORK, TOKEN_KEY, Authority, identity
from tests.core._world.disk import Disk
from tests.core._world.world import START_MS

# A round answers on its own; dialogues are easier to read when it happens only where a test waits for it.
_SELDOM_S = 1000.0


class Remote:
    """The other end of one link."""

    def __init__(self, stage: Stage, link: LinkId, peer: PeerId, *, is_dialer: bool) -> None:
        self._stage = stage
        self._reader = FrameReader(1 << 24)
        self.link = link
        self.peer = peer
        self.is_dialer = is_dialer
        """Did this end dial?"""
        self.heard: list[Message] = []
        """What the peer sent, not yet taken by `hears()`."""
        self.hung_up: str | None = None
        """Why the peer closed the link; None while it is open."""

    def says(self, *messages: Message) -> Remote:
        """Whole messages."""
        return self.says_bytes(b"".join(frame(encode_message(message)) for message in messages))

    def says_payload(self, payload: bytes) -> Remote:
        """One frame with any payload."""
        return self.says_bytes(frame(payload))

    def says_bytes(self, data: bytes) -> Remote:
        """Raw bytes of the stream."""
        self._stage.peer.receive_data(self.link, data, self._stage.now)
        self._stage.settle()
        return self

    def hears(self, kind: type[Message] | None = None) -> list[Message]:
        """What has come since the last call, of one kind."""
        heard, self.heard = self.heard, []
        return [message for message in heard if kind is None or isinstance(message, kind)]

    def compares(self) -> Remote:
        """It opens an exchange with the same lines as the peer's: until a first comparison the peer pushes nothing."""
        return self.says(Digest(1 << 20, self._stage.peer.digest, b"", self._stage.wall_ms))

    def leaves(self) -> None:
        """This end closes the link."""
        self._stage.peer.handle_link_down(self.link, "eof", self._stage.now)
        self._stage.settle()

    def _take(self, data: bytes) -> None:
        self._reader.feed(data)
        self.heard += [decode_message(payload) for payload in self._reader]


class Stage:
    """One peer in virtual time; its driver carries out every effect at once."""

    def __init__(
        self,
        name: str = "self",
        *,
        authority: Authority | None = None,
        disk: Disk | None = None,
        seed: int = 1,
        capability: Capability = EVERYTHING,
        mono_s: float = 0.0,
        skew_ms: int = 0,
        **settings: object,
    ) -> None:
        self.authority = authority or Authority()
        self.disk = disk or Disk()
        self.mono_s = mono_s
        self.skew_ms = skew_ms
        self.events: list[Event] = []
        self.dials: list[str] = []
        self.told: set[str] = set()
        self.remotes: dict[LinkId, Remote] = {}
        self.holds_commits = False
        """Leave commits under way until `finish_commit()`."""
        self._tickets: list[int] = []
        me = identity(name)
        usual: dict[str, object] = {
            "network": NETWORK,
            "name": name,
            "gossip_interval_s": _SELDOM_S,
            "probe_interval_s": _SELDOM_S,
            "token_key": TOKEN_KEY,
        }
        self.peer = Peer(
            PeerConfig(**(usual | settings)),  # type: ignore[arg-type]
            peer_id=me.peer,
            sign=me.sign,
            credential=self.authority.issue(me.peer, capability),
            verifier=self.authority,
            store=self.disk,
            rng=random.Random(seed),
            now=self.now,
        )
        self.settle()
        self.peer.handle_deadline(self.now)  # the first round is due at once
        self.settle()

    # -- time ------------------------------------------------------------------------------------------------

    @property
    def wall_ms(self) -> int:
        return START_MS + round(self.mono_s * 1000) + self.skew_ms

    @property
    def now(self) -> Now:
        return Now(self.mono_s, self.wall_ms)

    def wait(self, seconds: float) -> None:
        """Let time pass, with every deadline on its way."""
        end = self.mono_s + seconds
        for _ in range(100_000):
            due = self.peer.next_deadline()
            if due is None or due > end:
                break
            self.mono_s = max(self.mono_s, due)
            self.peer.handle_deadline(self.now)
            self.settle()
        else:
            raise AssertionError("the peer's deadline does not move on")
        self.mono_s = end

    # -- links -----------------------------------------------------------------------------------------------

    def link(
        self,
        name: str,
        *,
        capability: Capability = EVERYTHING,
        is_dialer: bool = True,
        epoch: Epoch | None = None,
        credential: bytes | None = None,
    ) -> Remote:
        """A remote whose hello the transport has checked; what the peer greets it with is left out."""
        remote = Remote(
            self, LinkId(len(self.remotes) + 1), identity(name).peer, is_dialer=is_dialer
        )
        self.remotes[remote.link] = remote
        known = LinkPeer(
            peer=remote.peer,
            name=name,
            epoch=new_epoch(START_MS, 7) if epoch is None else epoch,
            address=None,
            version="0",
            credential=self.authority.issue(remote.peer, capability)
            if credential is None
            else credential,
            is_dialer=not is_dialer,
            dialled=None if is_dialer else f"{name}:1",
        )
        self.peer.handle_link_up(remote.link, known, self.now)
        self.settle()
        remote.heard.clear()
        return remote

    # -- effects ---------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Carry out effects until there are none."""
        while effects := list(self.peer.drain()):
            for effect in effects:
                self._do(effect)

    def _do(self, effect: object) -> None:
        match effect:
            case Commit(ticket):
                self.disk.begin()
                self._tickets.append(ticket)
                if not self.holds_commits:
                    self._finish(self._tickets.pop())
            case Send(link, data):
                self.remotes[link]._take(data)
                self.peer.handle_sent(link, len(data), self.now)
            case HangUp(link, reason):
                self.remotes[link].hung_up = reason
                self.peer.handle_link_down(link, reason, self.now)
            case Dial(address, _):
                self.dials.append(address)
                self.peer.handle_dial_failed(address, "nobody", self.now)
            case Tell(buckets):
                self.told |= buckets
            case Emit(event):
                self.events.append(event)

    def finish_commit(self) -> None:
        """End the commit that is under way."""
        self._finish(self._tickets.pop())
        self.settle()

    def _finish(self, ticket: int) -> None:
        if self.disk.is_behind:
            self.disk.give_back()
            self.peer.handle_commit_failed(ticket, "it is older", self.now, is_behind=True)
        elif self.disk.is_failing:
            self.disk.give_back()
            self.peer.handle_commit_failed(ticket, "no space left", self.now)
        else:
            self.disk.finish()
            self.peer.handle_committed(ticket, self.now)

    # -- looking ---------------------------------------------------------------------------------------------

    @property
    def refused(self) -> Counter[str]:
        """Refusals by reason."""
        counters = self.peer._ctx.counters
        return Counter({reason: counters[reason] for reason in Reason if counters[reason]})

    def pairs(self, bucket: str = "b") -> dict[str, object]:
        """What the application sees."""
        replica = self.peer.replicas.get(bucket)
        return {} if replica is None else dict(replica.pairs(self.wall_ms))

    def put(self, key: str, value: object, bucket: str = "b") -> None:
        """A write of this peer's own."""
        self.peer.open_bucket(bucket, self.now)
        draft = self.peer.draft(bucket, self.now)
        draft.put(key, value)
        self.peer.commit_draft(draft, self.now)
        self.settle()
