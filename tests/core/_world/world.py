"""N peers in virtual time: latency, cuts, partitions, broken links, crashes, disks, clocks that are off.

Everything is decided by one seed. A link is a stream: what is on its way when it is cut waits, as TCP would have it, and is lost
when the link ends. Commits take time, and a crash in the middle of one may or may not have made it durable.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count

from gossipsync.core import LinkPeer, Now, Peer, PeerConfig, Written
from gossipsync.core.model.effects import Commit, Dial, Effect, Emit, HangUp, Send
from gossipsync.core.model.events import Event
from gossipsync.core.model.ids import LinkId
from tests.core._world.authority import EVERYTHING, NETWORK, TOKEN_KEY, Authority, identity
from tests.core._world.disk import Disk

START_MS = 1_790_000_000_000


class Node:
    """One machine: a name, an address, a disk and a clock; and the peer that runs on it, if one does."""

    def __init__(self, world: World, number: int, settings: dict[str, object]) -> None:
        self.world = world
        self.number = number
        self.name = f"p{number}"
        self.address = f"p{number}:1"
        self.settings = settings
        self.skew_ms = 0
        self.is_paused = False
        self.stood_still_s = 0.0
        """What its monotonic clock has missed."""
        self.disk = Disk()
        self.peer: Peer | None = None
        self.events: list[Event] = []
        self.life = 0
        """Counts starts, so that what was meant for a former one is dropped."""
        self.woken_s: float | None = None

    @property
    def now(self) -> Now:
        time_s = self.world.time_s
        return Now(time_s - self.stood_still_s, START_MS + int(time_s * 1000) + self.skew_ms)

    @property
    def is_answering(self) -> bool:
        return self.peer is not None and not self.is_paused

    @property
    def up(self) -> Peer:
        assert self.peer is not None, f"{self.name} is down"
        return self.peer

    def write(self, bucket: str, *operations: Callable[..., object]) -> Written:
        """One batch: each operation is called with the draft."""
        if bucket not in self.up.replicas:
            self.up.open_bucket(bucket, self.now)
        draft = self.up.draft(bucket, self.now)
        for operation in operations:
            operation(draft)
        written = self.up.commit_draft(draft, self.now)
        self.world.touched(self)
        return written

    def put(self, key: str, value: object, bucket: str = "b") -> Written:
        return self.write(bucket, lambda draft: draft.put(key, value))

    def pairs(self, bucket: str = "b") -> dict[str, object]:
        replica = self.up.replicas.get(bucket)
        return {} if replica is None else dict(replica.pairs(self.now.wall_ms))


class _End:
    """One end of a link."""

    def __init__(self, node: Node, link: LinkId) -> None:
        self.node = node
        self.link = link
        self.life = node.life
        self.other: _End
        self.is_open = True
        self.arrival_s = 0.0
        """When the last thing sent to this end arrives: what comes later does not overtake it."""
        self.waiting: list[bytes | None] = []
        """What cannot arrive while the way is cut; None is the end of the stream."""


class World:
    """The machines and the ways between them."""

    def __init__(
        self, peers: int = 0, *, seed: int = 1, latency_s: float = 0.001, **settings: object
    ) -> None:
        self.time_s = 0.0
        self.rng = random.Random(seed)
        self.latency_s = latency_s
        self.break_chance = 0.0
        """Chance that a link breaks when something is sent over it."""
        self.authority = Authority()
        self.nodes: list[Node] = []
        self.side: dict[int, int] = {}
        """Which side of a partition a node is on; nodes on different sides do not hear each other."""
        self.sent_bytes = 0
        self._settings = settings
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._link_numbers = count(1)
        self._ends: dict[tuple[int, LinkId], _End] = {}
        for _ in range(peers):
            self.start(self.add())

    # -- machines --------------------------------------------------------------------------------------------

    def add(self, **settings: object) -> Node:
        """A machine with nothing running on it."""
        node = Node(self, len(self.nodes), self._settings | settings)
        self.nodes.append(node)
        return node

    def start(self, node: Node, *, has_seeds: bool = True) -> Peer:
        """Run a peer on what is on the disk. Without `has_seeds` its seeds do not resolve yet."""
        assert node.peer is None
        me = identity(node.name)
        seeds = tuple(other.address for other in self.nodes[:2])
        usual: dict[str, object] = {
            "network": NETWORK,
            "name": node.name,
            "addresses": (node.address,),
            "seeds": seeds,
            "token_key": TOKEN_KEY,
        }
        node.life += 1
        node.disk = node.disk.after_crash()
        node.peer = Peer(
            PeerConfig(**(usual | node.settings)),  # type: ignore[arg-type]
            peer_id=me.peer,
            sign=me.sign,
            credential=self.authority.issue(me.peer, EVERYTHING),
            verifier=self.authority,
            store=node.disk,
            rng=random.Random(self.rng.random()),
            now=node.now,
        )
        if has_seeds:
            node.peer.handle_seeds(seeds, node.now)
        self.touched(node)
        return node.peer

    def crash(self, node: Node) -> None:
        """SIGKILL: links end, what was not committed is gone; a commit under way may have been made or not."""
        assert node.peer is not None
        if node.disk.is_committing and self.rng.random() < 0.5:
            node.disk.finish()
        node.peer = None
        node.life += 1
        for end in [end for (number, _), end in self._ends.items() if number == node.number]:
            self._close(end)

    def pause(self, node: Node) -> None:
        """The machine stands still: its links stay, nobody answers over them."""
        node.is_paused = True

    def resume(self, node: Node, *, stood_still_s: float = 0.0, timer_first: bool = False) -> None:
        """It goes on with what has come meanwhile; its monotonic clock may have missed some of the time.

        `timer_first`: its overdue deadline is handled before the bytes that wait, as an event loop may do.
        """
        node.is_paused = False
        node.stood_still_s += stood_still_s
        if timer_first and node.peer is not None:
            node.peer.handle_deadline(node.now)
            self.touched(node)
        for end in list(self._ends.values()):
            if end.node is node:
                self._flow(end)
        node.woken_s = None
        self.touched(node)

    @property
    def running(self) -> list[Node]:
        return [node for node in self.nodes if node.peer is not None]

    # -- ways ------------------------------------------------------------------------------------------------

    def split(self, *sides: list[Node]) -> None:
        """Nodes on different sides stop hearing each other; those not named are on the side of nobody."""
        self.side = {node.number: side for side, nodes in enumerate(sides) for node in nodes}

    def heal(self) -> None:
        """All ways are open again, and what waited arrives."""
        self.side = {}
        for end in list(self._ends.values()):
            self._flow(end)

    def can_hear(self, a: Node, b: Node) -> bool:
        return self.side.get(a.number, -1) == self.side.get(b.number, -1)

    def break_link(self, a: Node, b: Node) -> None:
        """All links between two nodes end, without a word on their way."""
        for end in list(self._ends.values()):
            if end.node is a and end.other.node is b:
                self._lose(end)

    def _lose(self, end: _End) -> None:
        for one in (end, end.other):
            self._drop(one)
            self._tell_down(one, "reset")

    # -- time ------------------------------------------------------------------------------------------------

    def at(self, delay_s: float, call: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._queue, (self.time_s + delay_s, next(self._order), call))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.run_until(lambda: False, seconds)

    def run_until(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until something holds; False where it did not within `seconds`."""
        end = self.time_s + seconds
        while not is_done():
            if not self._queue or self._queue[0][0] > end:
                self.time_s = end
                return is_done()
            self.time_s, _, call = heapq.heappop(self._queue)
            call()
        return True

    # -- driving ---------------------------------------------------------------------------------------------

    def touched(self, node: Node) -> None:
        """Carry out a peer's effects, and arm its timer."""
        if node.peer is None or node.is_paused:
            return
        peer = node.peer
        while effects := list(peer.drain()):
            for effect in effects:
                self._do(node, peer, effect)
        due = self._due_s(node)
        if due is not None and (node.woken_s is None or due < node.woken_s):
            life = node.life
            node.woken_s = max(due, self.time_s)
            self.at(node.woken_s - self.time_s, lambda: self._wake(node, life))

    def _due_s(self, node: Node) -> float | None:
        """The peer's next deadline, on the world's clock."""
        due = node.up.next_deadline()
        # The smallest step more, lest rounding wake it a moment too early, again and again.
        return None if due is None else due + node.stood_still_s + 1e-6 * bool(node.stood_still_s)

    def _wake(self, node: Node, life: int) -> None:
        if node.life != life or node.peer is None:
            node.woken_s = None
            self.touched(node)
            return
        node.woken_s = None
        if node.is_paused:
            return
        due = self._due_s(node)
        if due is not None and due <= self.time_s:
            node.peer.handle_deadline(node.now)
        self.touched(node)

    def _do(self, node: Node, peer: Peer, effect: Effect) -> None:
        match effect:
            case Commit(ticket):
                node.disk.begin()
                life = node.life
                self.at(self.rng.random() * 0.005, lambda: self._commit(node, life, ticket))
            case Send(link, data):
                self.sent_bytes += len(data)
                peer.handle_sent(link, len(data), node.now)
                end = self._ends.get((node.number, link))
                if end is not None:
                    self._send(end, data)
            case HangUp(link, reason):
                end = self._ends.get((node.number, link))
                if end is not None:
                    self._close(end)
                peer.handle_link_down(link, reason, node.now)
            case Dial(address, _):
                life = node.life
                self.at(2 * self._delay(), lambda: self._dial(node, life, address))
            case Emit(event):
                node.events.append(event)

    def _commit(self, node: Node, life: int, ticket: int) -> None:
        if node.life != life or node.peer is None:
            return
        if node.is_paused:
            self.at(1.0, lambda: self._commit(node, life, ticket))
            return
        if node.disk.is_behind:
            node.disk.give_back()
            node.peer.handle_commit_failed(ticket, "it is older", node.now, is_behind=True)
        elif node.disk.is_failing:
            node.disk.give_back()
            node.peer.handle_commit_failed(ticket, "no space left", node.now)
        else:
            node.disk.finish()
            node.peer.handle_committed(ticket, node.now)
        self.touched(node)

    # -- links -----------------------------------------------------------------------------------------------

    def _delay(self) -> float:
        return self.latency_s * (0.5 + self.rng.random())

    def _dial(self, node: Node, life: int, address: str) -> None:
        if node.life != life or node.peer is None:
            return
        target = next((other for other in self.nodes if other.address == address), None)
        if target is node:
            node.peer.handle_dial_failed(address, "self", node.now)
        elif target is None or not target.is_answering or not self.can_hear(node, target):
            node.peer.handle_dial_failed(address, "refused", node.now)
        else:
            self._connect(node, target, address)
            return
        self.touched(node)

    def _connect(self, dialer: Node, listener: Node, address: str) -> None:
        near, far = (_End(node, LinkId(next(self._link_numbers))) for node in (dialer, listener))
        near.other, far.other = far, near
        for end in (near, far):
            self._ends[end.node.number, end.link] = end
        dialer.up.handle_link_up(near.link, self._seen(listener, address), dialer.now)
        listener.up.handle_link_up(far.link, self._seen(dialer, None), listener.now)
        self.touched(dialer)
        self.touched(listener)

    def _seen(self, node: Node, dialled: str | None) -> LinkPeer:
        me = identity(node.name)
        credential = self.authority.issue(me.peer, EVERYTHING)
        return LinkPeer(
            *(me.peer, node.name, node.up.epoch, node.address, "0", credential),
            is_dialer=dialled is not None,
            dialled=dialled,
        )

    def _send(self, end: _End, data: bytes) -> None:
        if self.break_chance and self.rng.random() < self.break_chance:
            self.at(0.0, lambda: self._lose(end))
            return
        # A stream does not keep the borders of what was sent.
        cut = self.rng.randrange(len(data)) if self.rng.random() < 0.1 else 0
        for part in (data[:cut], data[cut:]):
            if part:
                end.other.waiting.append(part)
        self._flow(end.other)

    def _flow(self, to: _End) -> None:
        """What waits sets out, if the way is open."""
        if to.node.is_paused or not self.can_hear(to.node, to.other.node):
            return
        waiting, to.waiting = to.waiting, []
        for data in waiting:
            to.arrival_s = max(to.arrival_s, self.time_s + self._delay())
            self.at(to.arrival_s - self.time_s, lambda data=data: self._arrive(to, data))

    def _arrive(self, to: _End, data: bytes | None) -> None:
        if not to.is_open or to.node.life != to.life or to.node.peer is None:
            return
        if to.node.is_paused:
            to.waiting.append(data)
            return
        if data is None:
            self._drop(to)
            self._tell_down(to, "eof")
        else:
            to.node.peer.receive_data(to.link, data, to.node.now)
            self.touched(to.node)

    def _close(self, end: _End) -> None:
        """One end closes: the other hears of it when what was sent before has arrived."""
        self._drop(end)
        end.other.waiting.append(None)
        self._flow(end.other)

    def _drop(self, end: _End) -> None:
        end.is_open = False
        self._ends.pop((end.node.number, end.link), None)

    def _tell_down(self, end: _End, reason: str) -> None:
        if end.node.life == end.life and end.node.peer is not None:
            end.node.peer.handle_link_down(end.link, reason, end.node.now)
            self.touched(end.node)
