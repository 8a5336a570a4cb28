"""`Peer`: one participant of the mesh as a deterministic state machine.

It composes replication, membership and wire, and has no algorithm of its own. Every input carries the moment at which it
happened; everything that must be done outside comes out of `drain()`. The same inputs give the same outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from gossipsync.core._peer.context import Context
from gossipsync.core._peer.links import LinkPeer
from gossipsync.core._peer.loading import Loading, open_epoch
from gossipsync.core._peer.looking import Sight
from gossipsync.core._peer.parts import Parts
from gossipsync.core._peer.queries import Queries
from gossipsync.core._peer.receiving import Receiving
from gossipsync.core._peer.versions import Version, versions
from gossipsync.core._peer.writing import Written
from gossipsync.core.membership.dialling import Dialler
from gossipsync.core.membership.members import Members
from gossipsync.core.membership.presence import Stance
from gossipsync.core.model.acks import Ack
from gossipsync.core.model.bucket import Deletes, Kind
from gossipsync.core.model.config import PeerConfig
from gossipsync.core.model.effects import Effect, HangUp, Tell
from gossipsync.core.model.events import StartWaitExpired
from gossipsync.core.model.hlc import HybridClock
from gossipsync.core.model.ids import Epoch, LinkId, PeerId, origin_of
from gossipsync.core.model.now import Now
from gossipsync.core.ports import Directory, Rng, Sign, Store, Verifier
from gossipsync.core.replication.draft import NOTHING, Draft
from gossipsync.core.replication.fetching import Fetcher
from gossipsync.core.replication.logs import LogBook
from gossipsync.core.replication.replica import Replica
from gossipsync.core.replication.tokens import Token
from gossipsync.core.wire.looking import Aspect
from gossipsync.errors import ClosedError

_UNREADY: Final = (
    "no seed gave this peer the mesh's data in time, so keys that others have may look absent here: check that the seeds answer "
    "(gossipsync status), or raise start_wait"
)


class Peer(Queries):
    """One peer. Four kinds of method, all to be called one at a time:

    - **queries** touch nothing but caches (see `queries`);
    - **the world speaks** (`handle_…`, `receive_data`): never raise for what a remote did;
    - **the application speaks** (`put`-like, `connect`, `leave`): raise a LocalError, and then nothing has changed;
    - `drain()` gives the effects that all this asked for, to be carried out in order: commit the store, then send, then tell
      the application; after that the driver re-arms its timer with `next_deadline()`.
    """

    def __init__(
        self,
        config: PeerConfig,
        *,
        peer_id: PeerId,
        sign: Sign,
        credential: bytes,
        verifier: Verifier,
        store: Store,
        rng: Rng,
        now: Now,
        directory: Directory | None = None,
    ) -> None:
        logs = LogBook(config.network)
        limits = config.limits
        ctx = Context(
            config=config,
            peer_id=peer_id,
            origin=origin_of(peer_id, Epoch(0)),
            sign=sign,
            credential=credential,
            verifier=verifier,
            store=store,
            rng=rng,
            now=now,
            clock=HybridClock(),
            logs=logs,
            fetcher=Fetcher(logs, limits),
            members=Members(limits.members),
            dialler=Dialler(rng),
            started_s=now.mono_s,
            directory=directory,
        )
        parts = Parts(ctx)
        super().__init__(ctx, parts)
        self._carrying = parts.carrying
        self._commits = parts.commits
        self._concern = parts.concern
        self._exchanges = parts.exchanges
        self._introductions = parts.introductions
        self._keeper = parts.keeper
        self._links = parts.links
        self._looks = parts.looks
        self._probing = parts.probing
        self._reconciler = parts.reconciler
        self._report = parts.report
        self._rounds = parts.rounds
        self._standing = parts.standing
        self._upkeep = parts.upkeep
        self._verdicts = parts.verdicts
        self._writing = parts.writing
        self._receiving = Receiving(ctx, parts)
        Loading(ctx, parts).run()
        parts.lives.start()
        open_epoch(ctx)
        parts.cursors.start()
        parts.setback.start()
        self._introductions.start(credential)
        self._rounds.next_s = now.mono_s
        self._probing.start()

    # -- the world speaks ------------------------------------------------------------------------------------

    def handle_link_up(self, link: LinkId, remote: LinkPeer, now: Now) -> None:
        """A connection passed TLS and the hello."""
        self._ctx.now = now
        self._links.up(link, remote)
        self._looks.linked()

    def handle_link_down(self, link: LinkId, reason: str, now: Now) -> None:
        """A connection has ended, by us or by the other."""
        self._ctx.now = now
        self._parts.pauses.notice()
        self._links.down(link, reason)
        self._parts.showing.drop_link(link)
        self._looks.drop_link(link)

    def handle_sent(self, link: LinkId, size_bytes: int, now: Now) -> None:
        """Bytes of a Send have left."""
        self._ctx.now = now
        if (known := self._ctx.links.get(link)) is not None:
            known.left(size_bytes, now.mono_s)

    def handle_dial_failed(self, address: str, reason: str, now: Now) -> None:
        """A Dial led to no link. Reason "self": we answered ourselves there; "clone": another process with our key did."""
        self._ctx.now = now
        expected = self._ctx.dialler.expected(address)
        self._ctx.dialler.failed(address, now.mono_s, is_self=reason == "self")
        self._probing.dial_failed(expected, reason)
        self._standing.update()
        if reason == "clone":
            self._parts.lives.met()

    def handle_seeds(self, addresses: tuple[str, ...], now: Now) -> None:
        """What the configured seeds resolve to at present."""
        self._ctx.now = now
        self._rounds.set_seeds(addresses)

    def handle_bound(self, addresses: tuple[str, ...], now: Now) -> None:
        """What others may dial has become known."""
        self._ctx.now = now
        self._introductions.set_addresses(addresses)

    def handle_committed(self, ticket: int, now: Now) -> None:
        """The store has carried out a Commit."""
        self._ctx.now = now
        self._commits.committed(ticket)
        self._parts.showing.release()
        self._ctx.has_moved = True

    def handle_commit_failed(
        self, ticket: int, detail: str, now: Now, *, is_behind: bool = False
    ) -> None:
        """The store could not carry out a Commit, and keeps what was buffered. `is_behind`: StoreBehindError said so."""
        self._ctx.now = now
        if self._commits.failed(ticket, detail, is_behind=is_behind) and is_behind:
            self._parts.lives.lost()
        self._ctx.has_moved = True

    def handle_deadline(self, now: Now) -> None:
        """The moment of `next_deadline()` has come."""
        ctx = self._ctx
        ctx.now = now
        self._parts.pauses.notice()
        for name, replica in ctx.replicas.items():
            due_ms = replica.next_sweep_ms()
            if due_ms is not None and due_ms <= now.wall_ms and replica.sweep(now.wall_ms):
                ctx.moved(name)
        self._exchanges.expire()
        self._commits.backlog.forgive()
        self._reconciler.expire()
        self._looks.expire()
        self._parts.handover.go_on()
        self._standing.expire()
        self._upkeep.go_on()
        if now.mono_s >= self._rounds.next_s:
            self._rounds.round()
            self._upkeep.round()
            self._parts.setback.round()
            self._parts.early.round()
            self._parts.lag.round()
        self._parts.joining.go_on()
        if now.mono_s >= self._probing.deadline_s:
            self._probing.wake()

    def receive_data(self, link: LinkId, data: bytes, now: Now) -> None:
        """Bytes of a link's stream, in any pieces."""
        self._ctx.now = now
        self._parts.pauses.notice()
        self._receiving.receive_data(link, data)

    # -- the application speaks ------------------------------------------------------------------------------

    def open_bucket(
        self,
        name: str,
        now: Now,
        *,
        kind: Kind | None = None,
        deletes: Deletes | None = None,
        ttl_ms: int | None = None,
        history_ms: int | None = None,
    ) -> Replica:
        """A bucket under the rules given, or announced, or by default. Raises ConfigError, BucketKindError."""
        self._ctx.now = now
        return self._writing.open_bucket(
            name, kind=kind, deletes=deletes, ttl_ms=ttl_ms, history_ms=history_ms
        )

    def draft(self, bucket: str, now: Now, after: Token | None = None) -> Draft:
        """An empty draft on an open bucket, stamped above all that `after` names when it is committed."""
        self._ctx.now = now
        return self._writing.draft(bucket, NOTHING if after is None else self._concern.after(after))

    def commit_draft(self, draft: Draft, now: Now) -> Written:
        """Apply a draft here at once, and have it sealed, stored and sent. Raises LocalError; then nothing is written."""
        self._ctx.now = now
        if not self._standing.is_up:
            raise ClosedError("this peer is closing: open it again to write")
        return self._writing.commit(draft)

    def connect(self, address: str, now: Now) -> None:
        """Dial an address now."""
        self._ctx.now = now
        self._rounds.dial(address, None, is_wanted=True)

    def seek_acks(self, written: Written, ack: Ack, now: Now) -> bool:
        """Is a write stored as widely as `ack` asks for? If not, reach for members that we are not linked with."""
        self._ctx.now = now
        return self._concern.seek_acks(written, ack)

    def seek_token(self, token: Token, now: Now) -> bool:
        """Have we seen all that a token names? If not, ask its maker or others at once. Bounded: ask as often as you like."""
        self._ctx.now = now
        return self._concern.seek_token(token)

    def note_start_wait_expired(self, waited_s: float, now: Now) -> None:
        """The driver serves reads from now on, though this peer has not been ready: warn until it is."""
        ctx = self._ctx
        ctx.now = now
        ctx.is_served_unready = True
        ctx.counters["start-waits-expired"] += 1
        ctx.emit(StartWaitExpired(waited_s, _UNREADY))

    def request_exchange(self, now: Now) -> None:
        """Compare with every linked member now."""
        self._ctx.now = now
        for link in list(self._ctx.by_peer.values()):
            self._rounds.exchange(link)

    def hand_over(self, now: Now, *, is_durable: bool) -> None:
        """Seal all writes and reach for members that can take them; `close` or `leave` once `is_handed_over`, or in time.

        A peer that is not `is_durable` dials addresses again that fail. Reads, writes and links go on meanwhile.
        """
        self._ctx.now = now
        self._parts.handover.begin(is_durable=is_durable)

    def close(self, now: Now) -> None:
        """Say that we are away; `drain()` until `is_idle`, then the driver may end the links."""
        self._ctx.now = now
        self._parts.handover.end()
        self._commits.seal(everything=True)
        self._introductions.say_goodbye(Stance.AWAY)

    def leave(self, now: Now) -> None:
        """Give up membership: like `close`, and others forget us."""
        self._ctx.now = now
        self._parts.handover.end()
        self._commits.seal(everything=True)
        self._introductions.say_goodbye(Stance.LEFT)

    def leave_cursors(self, now: Now) -> None:
        """The last word, once `is_idle` and with all links down: buffer in the store what keeps cursors valid in the next run."""
        self._ctx.now = now
        self._parts.cursors.leave()

    def forget(self, called: str, now: Now) -> PeerId:
        """Give up the dead member of that name, or peer id's beginning. Raises LocalError, NotPermittedError if it lives."""
        self._ctx.now = now
        return self._verdicts.dismiss(called)

    def check_cargo(self, certificate: bytes, pieces: Sequence[bytes], now: Now) -> None:
        """Verify one peer's pieces that came by another way than a link, and change nothing. Raises RemoteError."""
        self._ctx.now = now
        self._carrying.check(certificate, pieces)

    def take_cargo(self, certificate: bytes, pieces: Sequence[bytes], now: Now) -> int:
        """Verify and merge one peer's pieces; how many entries made a difference. Raises RemoteError; then nothing is merged."""
        self._ctx.now = now
        return self._carrying.take(certificate, pieces)

    def history(self, bucket: str, key: str, now: Now) -> Callable[[], list[Version]]:
        """What was written to a key of an open bucket, oldest first: what still holds, and the past that the bucket keeps.

        The answer is as of now, and is looked for by calling what is returned: in any thread, beside any other call.
        """
        self._ctx.now = now
        self._commits.seal(everything=True)  # what was written just now is in no log yet
        return versions(self._ctx, bucket, key)

    def look(
        self,
        called: str | None,
        bucket: str,
        now: Now,
        *,
        aspect: Aspect = Aspect.VALUES,
        prefix: str = "",
        keys: Sequence[str] | None = None,
    ) -> Sight:
        """Ask a member (an exact name, or at least 8 characters of a peer id) what it has of a bucket: of these keys, or of all that begin so.

        What comes is verified and not merged, and all there once `is_over`, if there is no `error`. None as the member: ourselves,
        at once. Raises LocalError, and TransportError for one that is down or away.
        """
        self._ctx.now = now
        if called is None:
            return self._looks.here(bucket, aspect)
        return self._looks.begin(called, bucket, aspect, prefix, keys)

    def end_look(self, sight: Sight, now: Now) -> None:
        """Nobody waits for a look any more."""
        self._ctx.now = now
        self._looks.cancel(sight)

    # -- effects ---------------------------------------------------------------------------------------------

    def drain(self) -> Iterator[Effect]:
        """What is to be done, in order: commit, then what is to be sent and told, then whom to wake."""
        ctx = self._ctx
        self._commits.seal()
        self._exchanges.pump()
        self._commits.flush()
        if (commit := self._commits.commit()) is not None:
            yield commit
        hang_ups = []
        while ctx.effects:
            effect = ctx.effects.popleft()
            if isinstance(effect, HangUp):
                hang_ups.append(effect)
            else:
                yield effect
        yield from hang_ups
        if ctx.changed_buckets or ctx.has_moved:
            buckets = frozenset(ctx.changed_buckets)
            ctx.changed_buckets.clear()
            ctx.has_moved = False
            yield Tell(buckets)
