"""What the parts of a peer share: its settings, its state, and the effects they ask for."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Final, get_args

from attrs import define, field

from gossipsync.core.membership.dialling import Dialler
from gossipsync.core.membership.members import Member, Members, refresh_s
from gossipsync.core.model.bucket import Announcement
from gossipsync.core.model.capability import Capability
from gossipsync.core.model.config import PeerConfig
from gossipsync.core.model.effects import Effect, Emit, HangUp, Send
from gossipsync.core.model.events import BucketMismatched, Event, MemberChanged, Refused
from gossipsync.core.model.hlc import Hlc, HybridClock, hlc_at
from gossipsync.core.model.ids import Epoch, LinkId, Origin, PeerId, epoch_of, peer_of
from gossipsync.core.model.now import Now
from gossipsync.core.model.reasons import SENDERS_FAULT, Reason
from gossipsync.core.model.stage import Stage
from gossipsync.core.ports import Directory, Rng, Sign, Store, Verifier
from gossipsync.core.replication.budgets import Budget
from gossipsync.core.replication.cells import Cell
from gossipsync.core.replication.fetching import Fetcher
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.logs import LogBook
from gossipsync.core.replication.pieces import SENDER, cells_in_piece
from gossipsync.core.replication.replica import Replica
from gossipsync.core.replication.sources import Sources
from gossipsync.core.replication.tokens import NAME_BITS, LineName, line_name, shortened
from gossipsync.core.wire.framing import FrameReader, frame
from gossipsync.core.wire.liveness import Parting, Statements
from gossipsync.core.wire.messages import Credentials, Delta, Message, Push, encode_message
from gossipsync.core.wire.reconciling import Parts
from gossipsync.core.wire.versions import PROTOCOL_VERSION

_SENT: Final = {kind: f"sent_{kind.__name__.lower()}_bytes" for kind in get_args(Message)}
"""The counter of each kind of message."""

_CARRIERS: Final = (Push, Delta, Parts)
"""Messages that carry entries."""

_IN_GOOD_ORDER: Final = frozenset({"surplus", "duplicate", "closing", Reason.LIMIT})
"""Why we close links that we could keep: whoever is at the other end need not wonder whether we live."""


@define(eq=False)
class Exchange:
    """One conversation about what both have."""

    number: int
    started_s: float
    is_mine: bool
    sent_wall_ms: int = 0
    sum: bytes = b""
    """What stood for our lines when we opened it."""
    seq: int = 0
    is_cut: bool = False
    """Did a step of it hold less than there was to compare?"""
    is_late: bool = False
    """Has it taken so long that another may begin?"""
    is_stale: bool = False
    """Whether the other's stage has risen since it began: then it shows nothing about the new stage."""


@define(eq=False)
class Link:
    """One live connection to a peer that has proven its key."""

    id: LinkId
    peer: PeerId
    name: str
    epoch: Epoch
    address: str | None
    is_dialer: bool
    dialled: str | None
    reader: FrameReader
    giving: Budget
    """What a delta that we send over it may have; pushes may queue there in proportion."""
    opened_s: float
    heard_s: float
    protocol: int = PROTOCOL_VERSION
    """The protocol that both hellos agreed on."""
    is_transient: bool = False
    """Opened for one exchange, not to stay."""
    is_closing: bool = False
    is_spare: bool = False
    """Opened by an older life of a peer whose newer one is linked: it may only show its presence."""
    is_parting: bool = False
    """Has the other end said that it closes this link?"""
    told_statements: int = 0
    """Fresh statements told so far, by their sequence number."""
    queued_bytes: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    allowance: float = 0.0
    """Messages it may still send at once."""
    allowance_s: float = 0.0
    base: bytes = b""
    """What stood for all lines when both were last equal."""
    base_seq: int = 0
    told_presence_seq: int = 0
    told_credentials: set[PeerId] = field(factory=set)
    eager: set[Origin] = field(factory=set)
    """Others' origins whose fresh bundles it asked us for."""
    lazy: set[Origin] = field(factory=set)
    """Others' origins whose bundles it gets elsewhere."""
    pruned: set[Origin] = field(factory=set)
    """Others' origins that we asked it to leave to digests: asked once, until we want them from it again."""
    exchanges: dict[int, Exchange] = field(factory=dict)
    next_exchange: int = 0
    goals: dict[LineKey, int] = field(factory=dict)
    """How far its lines were when last compared, where ours were behind."""
    was_compared: bool = False
    stage: Stage | None = None
    """The stage of the other's state, by its own word; None before its first word."""
    target: dict[LineKey, int] | None = None
    """Of its lines when it was first compared at its present stage, those that we had not reached; None before that."""
    gave_s: float = field(init=False)
    """When it last brought us some of that, or told a new stage."""
    whole: int | None = None
    """What stood for all its lines, remembered ones too, when it was last found to have what we had."""
    covered: bytes = b""
    """What stands for the lines that it remembers of ended epochs."""
    probed: bytes | None = None
    """What stood for these when we last asked for them."""
    offset_ms: int | None = None
    """Its clock minus ours."""
    clock_ms: float | None = None
    """Its wall clock minus our monotonic one."""
    reconciled_s: float = float("-inf")
    """When it was last asked for its state, or asked for ours, or answered: for a while then it stays open, transient or not."""
    token_asked_s: float = float("-inf")
    """When we last compared with it because somebody waited for a token."""
    _watched: tuple[int, float, int] | None = None
    """One message on its way out: `sent_bytes` at its end, when it was queued, its size."""

    def queue(self, size_bytes: int, now_s: float) -> None:
        """Bytes are handed to the link. One message at a time is watched until it has left."""
        self.queued_bytes += size_bytes
        self.sent_bytes += size_bytes
        if self._watched is None:
            self._watched = (self.sent_bytes, now_s, size_bytes)

    def left(self, size_bytes: int, now_s: float) -> None:
        """Bytes have left; how long they waited tells what the link carries."""
        self.queued_bytes = max(0, self.queued_bytes - size_bytes)
        watched = self._watched
        if watched is not None and self.sent_bytes - self.queued_bytes >= watched[0]:
            self._watched = None
            self.giving.settle(watched[1], now_s, watched[2])

    @property
    def waits_since_s(self) -> float | None:
        """When the message that is watched was queued; None where none waits."""
        return None if self._watched is None else self._watched[1]

    def __attrs_post_init__(self) -> None:
        self.gave_s = self.opened_s

    def compared(self, *, is_stale: bool = False) -> None:
        """An exchange has shown all that the other has."""
        self.was_compared = True
        if self.target is None and self.stage is not None and not is_stale:
            self.target = dict(self.goals)

    def waive(self, key: LineKey) -> None:
        """What it has of this line is not to be had: that must not keep us from being in sync."""
        self.goals.pop(key, None)
        if self.target is not None:
            self.target.pop(key, None)

    @property
    def is_synced(self) -> bool:
        """Have we got all that it had when we compared?"""
        return self.was_compared and not self.goals


@define(eq=False)
class Context:
    """The shared state of one peer. Not a mediator: it has no behaviour but counting, sending and refusing."""

    config: PeerConfig
    peer_id: PeerId
    origin: Origin
    sign: Sign
    credential: bytes
    verifier: Verifier
    store: Store
    rng: Rng
    now: Now
    clock: HybridClock
    logs: LogBook
    fetcher: Fetcher
    members: Members
    dialler: Dialler
    started_s: float
    directory: Directory | None = None
    epochs: set[Epoch] = field(factory=set)
    """Those that this run has opened."""
    claims: dict[LineKey, int] | None = None
    """How far members had the lines of our other epochs when data of this run first left it; None until then.

    Writes within these were made without knowledge of any write of this run.
    """
    withdrawn: set[Epoch] = field(factory=set)
    """Epochs of ours of which something was taken back: it comes, if at all, as what another run wrote."""
    _mesh_ms: float | None = None
    """The members' wall clocks, at the median, from our monotonic one, when last linked."""
    holders: Sources = field(init=False)
    """Members as sources of bundles."""
    sources: Sources = field(init=False)
    """Members as sources of states."""
    replicas: dict[str, Replica] = field(factory=dict)
    links: dict[LinkId, Link] = field(factory=dict)
    by_peer: dict[PeerId, Link] = field(factory=dict)
    credentials: dict[PeerId, tuple[bytes, Capability]] = field(factory=dict)
    effects: deque[Effect] = field(factory=deque)
    counters: Counter[str] = field(factory=Counter)
    traffic: Counter[str] = field(factory=Counter)
    changed_buckets: set[str] = field(factory=set)
    mismatched: set[str] = field(factory=set)
    """Buckets for which peers announced different rules."""
    lags_s: deque[float] = field(factory=lambda: deque(maxlen=512))
    """Age of fresh bundles when they were applied, by both clocks."""
    is_served_unready: bool = False
    """Whether the driver serves reads though this peer has not been ready yet."""
    has_moved: bool = False
    """May something that somebody waits for have come true?"""
    line_names: dict[int, tuple[tuple[LineName, LineKey], ...]] = field(factory=dict)
    """Logs and their names by the short names that every token has for them."""
    unsure: dict[PeerId, None] = field(factory=dict)
    """Members that have become suspect by silence alone, to be probed."""

    def __attrs_post_init__(self) -> None:
        self.holders = Sources(self.config.limits.sources)
        self.sources = Sources(self.config.limits.sources)

    @property
    def mesh_size(self) -> int:
        """Members, this peer included."""
        return len(self.members) + 1 if self.directory is None else len(self.directory)

    @property
    def is_sparse(self) -> bool:
        """Is the mesh too large for everybody to be linked with everybody?"""
        return self.mesh_size > self.config.full_mesh

    def is_past(self, origin: Origin) -> bool:
        """Is it an epoch of ours that another run has opened, or that we have taken back?"""
        epoch = epoch_of(origin)
        is_known = epoch in self.epochs and epoch not in self.withdrawn
        return peer_of(origin) == self.peer_id and not is_known

    def claimed(self, key: LineKey) -> int:
        """How far members had a line of another epoch of ours before any write of this run could be known to it."""
        claims = self.fetcher.claims_of(self.peer_id) if self.claims is None else self.claims
        return claims.get(key, 0)

    def heard_s(self, link: LinkId) -> float:
        """When anything last came over a link."""
        return self.links[link].heard_s

    def cut_ms(self) -> int:
        """Cells that end before this moment are left out of sums of states: by now, or by another's clock, they may be forgotten."""
        step_ms = max(1000, self.config.max_skew_ms)
        return -(-(self.now.wall_ms + self.config.max_skew_ms) // step_ms) * step_ms

    def mesh_ms(self, now: Now) -> int | None:
        """The time by the members' clocks, at the median; of two medians the one nearer to ours. None before we were linked.

        Reckoned by the monotonic clock: it holds whatever becomes of our wall clock, and after the links have gone.
        """
        mono_ms = 1000 * now.mono_s
        clocks = sorted(
            link.clock_ms for link in self.by_peer.values() if link.clock_ms is not None
        )
        middle = clocks[(len(clocks) - 1) // 2 : len(clocks) // 2 + 1]
        self._mesh_ms = min(
            middle, key=lambda clock: abs(clock + mono_ms - now.wall_ms), default=self._mesh_ms
        )
        return None if self._mesh_ms is None else round(self._mesh_ms + mono_ms)

    def bound_ms(self, now: Now) -> int:
        """From this moment on stamps are ahead of what members take: by our clock, or theirs where ours is behind."""
        return max(now.wall_ms, self.mesh_ms(now) or 0) + self.config.max_skew_ms

    def is_ahead(self) -> bool:
        """Is our newest stamp beyond that?"""
        clock, now = self.clock, self.now
        return clock.is_ahead(now.wall_ms + self.config.max_skew_ms) and clock.is_ahead(
            self.bound_ms(now)
        )

    def oldest_open(self) -> Hlc:
        """Stamps from here on are so young that whatever beat them is still remembered: a horizon back."""
        return hlc_at(max(0, self.now.wall_ms - self.config.horizon_ms))

    def emit(self, event: Event) -> None:
        """Tell the application and the log."""
        self.effects.append(Emit(event))

    @property
    def refresh_s(self) -> float:
        """How often presence is renewed in a mesh of this size."""
        return refresh_s(self.mesh_size, self.config.gossip_interval_s)

    def judge(self, member: Member) -> None:
        """Bring a member's state up to date, and tell where it changed."""
        state = member.judge(self.now.mono_s, self.refresh_s)
        if state != member.state or not member.was_shown:
            self.members.set_state(member, state)
            member.was_shown = True
            if state == "suspect" and member.suspicion is None:
                self.unsure[member.peer] = None
            self.emit(MemberChanged(member.peer, member.name, state))

    def send(self, link: Link, message: Message) -> None:
        """Hand a message to a link."""
        self.send_payload(link, encode_message(message), type(message))

    def send_payload(self, link: Link, payload: bytes, kind: type[Message]) -> None:
        """Hand an encoded message to a link."""
        if link.is_closing:
            return
        if self.claims is None and kind in _CARRIERS:
            self.claims = self.fetcher.claims_of(self.peer_id)
        data = frame(payload)
        size = len(data)
        link.queue(size, self.now.mono_s)
        self.traffic["sent_bytes"] += size
        self.traffic[_SENT[kind]] += size
        self.effects.append(Send(link.id, data))

    def refuse(self, link: Link | None, reason: Reason, detail: str) -> None:
        """Count a refusal; hang up where the sender alone can be at fault."""
        self.counters[reason] += 1
        if reason is Reason.HELD:
            return
        self.emit(
            Refused(
                None if link is None else link.id,
                None if link is None else link.peer,
                reason,
                detail,
            )
        )
        if link is not None and reason in SENDERS_FAULT:
            self.hang_up(link, reason)

    def tell_credentials(self, link: Link, peers: Iterable[PeerId]) -> None:
        """Show a link the certificates that it will need, once."""
        needed = {
            peer for peer in peers if peer not in link.told_credentials and peer in self.credentials
        }
        link.told_credentials |= needed
        # A certificate and its head take at most `credential_bytes` + 3; the message around them is small.
        limits = self.config.limits
        share = max(1, limits.frame_bytes // 2 // limits.credential_bytes)
        certificates = [self.credentials[peer][0] for peer in sorted(needed)]
        for start in range(0, len(certificates), share):
            self.send(link, Credentials(tuple(certificates[start : start + share])))

    def tell_doubts(self, link: Link, peers: Iterable[PeerId]) -> None:
        """Say who doubts that these members live: a presence alone would show them alive to whoever did not know them."""
        told: list[bytes] = []
        for peer in peers:
            member = self.members.find(peer)
            if member is not None and member.suspicion is not None:
                told += [doubt.data for doubt in member.suspicion.statements]
        share = self.config.limits.statements
        for start in range(0, len(told), share):
            self.send(link, Statements(tuple(told[start : start + share])))

    def hang_up(self, link: Link, reason: str) -> None:
        """Close a link after what was sent before."""
        if not link.is_closing:
            if reason in _IN_GOOD_ORDER:
                self.send(link, Parting())
            link.is_closing = True
            self.effects.append(HangUp(link.id, reason))

    def rights_of(self, peer: PeerId) -> Capability | None:
        """What a peer's certificate lets it do; None where it has shown none."""
        known = self.credentials.get(peer)
        return None if known is None else known[1]

    def recover(self, bucket: str, origin: Origin, index: int) -> list[tuple[str, Cell]]:
        """The keys and cells of what is kept of a bundle."""
        log = self.logs.find((bucket, origin))
        piece = None if log is None else log.pieces.get(index)
        return [] if piece is None else cells_in_piece(piece, origin, index)

    def sender_of(self, bucket: str, origin: Origin, index: int) -> PeerId:
        """Who handed us a bundle; ourselves where it is our own."""
        log = self.logs.find((bucket, origin))
        piece = None if log is None else log.pieces.get(index)
        return self.peer_id if piece is None else piece[SENDER]

    def new_replica(self, bucket: str, announcement: Announcement) -> Replica:
        """An empty replica of a bucket not seen before."""
        replica = self.replicas[bucket] = Replica(
            bucket,
            announcement,
            change_limit=self.config.limits.change_keys,
            grace_ms=self.config.horizon_ms + 2 * self.config.max_skew_ms,
            recover=self.recover,
            sender=self.sender_of,
        )
        return replica

    def announced(self, replica: Replica, announcement: Announcement) -> None:
        """A signed header announces a bucket's rules: the earliest announcement holds."""
        current, bucket = replica.announcement, replica.name
        is_settled = replica.is_announced or replica.is_explicit
        is_other = announcement.rules != current.rules
        if is_other and is_settled and bucket not in self.mismatched:
            self.mismatched.add(bucket)
            self.emit(BucketMismatched(bucket))
        if not replica.is_announced or announcement.precedes(current):
            replica.adopt(announcement)
        replica.is_announced = True

    def moved(self, bucket: str) -> None:
        """Something in a bucket may look different now."""
        self.changed_buckets.add(bucket)

    def name_line(self, key: LineKey) -> None:
        """Let tokens find a log by its short name."""
        named = (line_name(*key), key)
        short = shortened(named[0], NAME_BITS)
        known = self.line_names.get(short, ())
        if named not in known:
            self.line_names[short] = (*known, named)
