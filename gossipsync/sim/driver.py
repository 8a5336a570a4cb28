"""The driver of one simulated peer: feeds it what the network and the clock bring, and carries out what it asks for.

The same calls as the real engine makes, in the same order: commit, send, tell, re-arm. A crash throws the peer away with all that
its store had not committed; a start makes a new one from the store. Events meant for an earlier run of a peer are dropped.
Invariant: after every input all effects are carried out before the next event of the world.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from attrs import define, field

from gossipsync.core import LinkPeer, Now, Peer, PeerConfig
from gossipsync.core.model.effects import Commit, Dial, Emit, HangUp, Send, Tell
from gossipsync.core.model.events import Event
from gossipsync.core.model.ids import LinkId
from gossipsync.core.ports import Directory
from gossipsync.errors import StoreBehindError, StoreError
from gossipsync.sim.clocks import Clock
from gossipsync.sim.identities import Authority, Identity
from gossipsync.sim.network import End, Network
from gossipsync.sim.randomness import Randomness
from gossipsync.sim.rogues import Rogue
from gossipsync.sim.stores import SimulatedStore
from gossipsync.sim.world import World

Wait = Callable[[Peer], bool]
"""Asked whenever something at a peer may have changed, until it says that it waits no more."""


class Watcher(Protocol):
    """Whoever wants to know what drivers do."""

    def changed(self, driver: Driver) -> None:
        """What a peer holds may have changed."""
        ...

    def happened(self, driver: Driver, event: Event) -> None:
        """A peer emitted an event."""
        ...

    def linked(self, driver: Driver) -> None:
        """A peer has one more link."""
        ...


@define(eq=False)
class Driver:
    """One peer with its machine."""

    number: int
    identity: Identity
    config: PeerConfig
    world: World
    network: Network
    authority: Authority
    directory: Directory | None
    watcher: Watcher
    clock: Clock = field(factory=Clock)
    store: SimulatedStore = field(factory=SimulatedStore)
    commit_s: float = 0.0005
    """How long a commit takes."""
    peer: Peer | None = None
    run: int = 0
    """How often it was started."""
    rogue: Rogue | None = None
    was_restored: bool = False
    """Was its store ever put back to an old copy?"""
    stalled_s: float = 0.0
    """Until when its loop stands still: what happens meanwhile it hears afterwards."""
    newest_ms: int = 0
    """The latest that its wall clock ever showed: what expired then stays expired, though the clock be set back."""
    former_traffic: Counter[str] = field(factory=Counter)
    """Counters of its earlier runs."""
    waits: list[Wait] = field(factory=list)
    """What applications at this peer wait for; they end with their process."""
    _ends: dict[LinkId, End] = field(factory=dict)
    _armed_s: float = float("inf")
    _incoming: LinkPeer | None = None
    _digest: bytes = b""
    _covered: bytes = b""

    @property
    def address(self) -> str:
        """Where it listens."""
        return self.config.addresses[0]

    @property
    def is_up(self) -> bool:
        """Does it run?"""
        return self.peer is not None

    @property
    def key(self) -> bytes:
        """Whose certificate it shows."""
        return self.identity.peer

    @property
    def is_rogue(self) -> bool:
        """Does it alter what it sends?"""
        return self.rogue is not None

    @property
    def links(self) -> int:
        """Links that are up."""
        return len(self._ends)

    @property
    def neighbours(self) -> dict[LinkId, int]:
        """The number of the peer at the other end of each link that is open at both ends."""
        return {
            link: end.other.host.number for link, end in self._ends.items() if end.other.is_open
        }

    def now(self) -> Now:
        """What its machine's clocks show."""
        now = self.clock.read(self.world.now_s)
        if now.wall_ms > self.newest_ms:
            self.newest_ms = now.wall_ms
        return now

    # -- life ------------------------------------------------------------------------------------------------

    def load(self) -> Peer:
        """Make a peer on this machine's store; it neither talks nor answers before `start`."""
        self.run += 1
        self.world.trace.note(self.world.now_s, self.number, "start", self.run)
        now = self.now()
        randomness: Randomness = self.world.randomness.stream("peer", self.number, self.run)
        self.peer = Peer(
            self.config,
            peer_id=self.identity.peer,
            sign=self.identity.sign,
            credential=self.identity.credential,
            verifier=self.authority,
            store=self.store,
            rng=randomness,
            now=now,
            directory=self.directory,
        )
        self._incoming = None
        return self.peer

    def start(self) -> None:
        """Run the machine's peer."""
        peer = self.load() if self.peer is None else self.peer
        self.network.listen(self.address, self)
        if self.config.seeds:
            peer.handle_seeds(self.config.seeds, self.now())
        self.pump()

    def crash(self) -> None:
        """The process is killed: others see their links end."""
        self.world.trace.note(self.world.now_s, self.number, "crash", self.run)
        self._stop()
        self.store.crash()

    def close(self) -> None:
        """Say that the peer is away. It ends by `crash()`, once its writes are stored."""
        assert self.peer is not None, "only a running peer closes"
        self.world.trace.note(self.world.now_s, self.number, "close", self.run)
        self.peer.close(self.now())
        self.pump()

    def learn_seeds(self, seeds: tuple[str, ...]) -> None:
        """Discovery has found the seeds."""
        assert self.peer is not None, "only a running peer learns of seeds"
        self.world.trace.note(self.world.now_s, self.number, "seeds", self.run)
        self.peer.handle_seeds(seeds, self.now())
        self.pump()

    def leave(self) -> None:
        """Say goodbye for good, and end."""
        assert self.peer is not None, "only a running peer leaves"
        self.world.trace.note(self.world.now_s, self.number, "leave", self.run)
        self.peer.leave(self.now())
        self.pump()
        self._stop()

    def _stop(self) -> None:
        self.network.silence(self.address)
        for end in self._ends.values():
            self.network.close(end)
        self._ends.clear()
        if self.peer is not None:
            self.former_traffic.update(self.peer.traffic)
        self.peer = None
        self.waits.clear()
        self._armed_s = float("inf")

    def stall(self, span_s: float) -> None:
        """Let its loop stand still for a while: a paused process, a long collection, a blocked disk."""
        self.world.trace.note(self.world.now_s, self.number, "stall", self.run)
        self.stalled_s = self.world.now_s + span_s

    def _later(self, call: Callable[..., None], *arguments: object) -> bool:
        """Does its loop stand still? Then this comes when it goes on."""
        if self.world.now_s >= self.stalled_s:
            return False
        self.world.at(self.stalled_s, call, *arguments)
        return True

    # -- the world speaks ------------------------------------------------------------------------------------

    def linked(self, end: End, dialled: str | None) -> None:
        """A link is up."""
        if self._later(self.linked, end, dialled):
            return
        if self.peer is None or not end.is_open:
            end.is_open = False
            self.network.close(end)
            return
        self.world.trace.note(self.world.now_s, self.number, "link", end.other.host.number)
        self._ends[end.link] = end
        remote = end.other.host.seen_as(is_dialer=dialled is not None, dialled=dialled)
        self.peer.handle_link_up(end.link, remote, self.now())
        self.pump()
        self.watcher.linked(self)

    def seen_as(self, *, is_dialer: bool, dialled: str | None) -> LinkPeer:
        """How the other end sees this peer."""
        assert self.peer is not None, "whoever is seen runs"
        if not is_dialer and self._incoming is not None:
            return self._incoming
        seen = LinkPeer(
            self.identity.peer,
            self.config.name,
            self.peer.epoch,
            self.address,
            self.config.version,
            self.identity.credential,
            is_dialer,
            dialled,
        )
        if not is_dialer:
            self._incoming = seen
        return seen

    def received(self, end: End, data: bytes) -> None:
        """Frames have come."""
        if self._later(self._received_late, end, data, self.run):
            return
        assert self.peer is not None, "a stopped peer has no open ends"
        self.world.trace.note(self.world.now_s, self.number, "data", end.other.host.number, data)
        now = self.now()
        self.peer.receive_data(end.link, data, now)
        self.pump(now)

    def _received_late(self, end: End, data: bytes, run: int) -> None:
        if self.run == run and end.link in self._ends:
            self.received(end, data)

    def unlinked(self, end: End, reason: str) -> None:
        """The other end closed."""
        if self._later(self._unlinked_late, end, reason, self.run):
            return
        assert self.peer is not None, "a stopped peer has no open ends"
        self.world.trace.note(self.world.now_s, self.number, "unlink", end.other.host.number)
        del self._ends[end.link]
        self.peer.handle_link_down(end.link, reason, self.now())
        self.pump()

    def _unlinked_late(self, end: End, reason: str, run: int) -> None:
        if self.run == run and end.link in self._ends:
            self.unlinked(end, reason)

    def dial_failed(self, address: str, reason: str, run: int) -> None:
        """Nobody answered; a dial of an earlier run is not ours to know."""
        if self._later(self.dial_failed, address, reason, run):
            return
        if self.peer is not None and run == self.run:
            self.world.trace.note(self.world.now_s, self.number, "no-link", 0, address.encode())
            self.peer.handle_dial_failed(address, reason, self.now())
            self.pump()

    def altered(self, data: bytes, target: int) -> list[bytes]:
        """What a rogue sends to a host in place of a frame."""
        return [data] if self.rogue is None else self.rogue.alter(data, self, target)

    def _woken(self, run: int, armed_s: float) -> None:
        """The deadline, unless an earlier one has taken its place since this was scheduled."""
        if self._later(self._woken, run, armed_s):
            return
        if self.peer is None or run != self.run or armed_s != self._armed_s:
            return
        self._armed_s = float("inf")
        due = self.peer.next_deadline()
        if due is not None and due <= self.world.now_s:
            self.world.trace.note(self.world.now_s, self.number, "deadline", run)
            self.peer.handle_deadline(self.now())
            self.pump()
        else:
            self._arm()

    def _commit(self, ticket: int, run: int) -> None:
        if self._later(self._commit, ticket, run):
            return
        if self.peer is None or run != self.run:
            return
        self.world.trace.note(self.world.now_s, self.number, "commit", ticket)
        try:
            self.store.commit()
        except StoreError as error:
            is_behind = isinstance(error, StoreBehindError)
            self.peer.handle_commit_failed(ticket, str(error), self.now(), is_behind=is_behind)
        else:
            self.peer.handle_committed(ticket, self.now())
        self.pump()

    # -- effects ---------------------------------------------------------------------------------------------

    def pump(self, now: Now | None = None) -> None:
        """Carry out all that the peer asks for, until it asks for nothing. `now` is what the clocks show, where that was read."""
        peer = self.peer
        assert peer is not None, "only a running peer is pumped"
        now = now or self.now()
        has_changed = is_settled = False
        while not is_settled:
            is_settled = True
            outgoing: dict[LinkId, list[bytes]] = {}
            for effect in peer.drain():
                match effect:
                    case Send(link, data):
                        outgoing.setdefault(link, []).append(data)
                    case Tell(buckets):
                        has_changed |= bool(buckets)
                        is_settled &= not self.waits
                    case Commit(ticket):
                        self.world.after(self.commit_s, self._commit, ticket, self.run)
                    case Dial(address, _):
                        self.network.dial(self, address)
                    case HangUp(link, reason):
                        self._send(peer, link, outgoing.pop(link, []), now)
                        self._hang_up(peer, link, reason, now)
                        is_settled = False
                    case Emit(event):
                        self.watcher.happened(self, event)
            for link, frames in outgoing.items():
                self._send(peer, link, frames, now)
            if not is_settled and self.waits:
                self.waits = [wait for wait in self.waits if not wait(peer)]
        self._arm()
        # A vector also moves when own writes are sealed, and when lines of ended epochs are taken over: nobody is told of either.
        digest, covered = peer.digest, peer.covered
        if has_changed or digest != self._digest or covered != self._covered:
            self._digest, self._covered = digest, covered
            self.watcher.changed(self)

    def _send(self, peer: Peer, link: LinkId, frames: list[bytes], now: Now) -> None:
        end = self._ends.get(link)
        if end is None or not frames:
            return
        for together in [[one] for one in frames] if self.network.is_slow else [frames]:
            self.network.send(end, together)
            size_bytes = sum(map(len, together))
            if end.free_s <= self.world.now_s:
                peer.handle_sent(link, size_bytes, now)
            else:
                self.world.at(end.free_s, self._sent, link, size_bytes, self.run)

    def _sent(self, link: LinkId, size_bytes: int, run: int) -> None:
        if self.peer is not None and run == self.run:
            self.peer.handle_sent(link, size_bytes, self.now())
            self.pump()

    def _hang_up(self, peer: Peer, link: LinkId, reason: str, now: Now) -> None:
        end = self._ends.pop(link, None)
        if end is not None:
            self.network.close(end)
        peer.handle_link_down(link, reason, now)

    def _arm(self) -> None:
        assert self.peer is not None, "only a running peer has a deadline"
        due = self.peer.next_deadline()
        if due is not None and due < self._armed_s:
            self._armed_s = max(due, self.world.now_s)
            self.world.at(self._armed_s, self._woken, self.run, self._armed_s)
