"""Forks: proofs that an origin has signed two histories, as they are found, kept and passed on.

Whoever finds two headers of one number freezes that log, and tells all links at once; who was not there learns of it when vectors
are compared, for the line of a frozen log is its proof, and beyond all others. Of several proofs the lowest counts.

No vector shows what somebody has of the branches. So whoever shows a proof says by that, too: I have something of this log that
you may lack. It is shown when the log is frozen, over new links for a horizon from then on, and again to the others when more has
come; who is shown it, and has it already, takes over what it lacks by a reconciliation.

Invariant: a log is frozen only by what its own origin has signed; no relay is blamed for either branch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from attrs import define, field

from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.context import Context, Link
from gossipsync.core.model import strict
from gossipsync.core.model.bucket import Announcement
from gossipsync.core.model.bundle import FROZEN, Header
from gossipsync.core.model.events import Forked
from gossipsync.core.model.ids import Epoch, LinkId, Origin, PeerId, epoch_of, peer_of
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.admission import Admission, Refusal
from gossipsync.core.replication.forks import ForkProof, parse_fork_proof
from gossipsync.core.replication.keeping import Keeper
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.pieces import encode_piece, header_only
from gossipsync.core.wire.evidence import Contest, Evidence, WirePlace

_COST_SHARE: Final = 8
"""Places asked about that cost as much as one message."""
_PROOF: Final = b"\x84"
"""How a proof begins: an array of four."""
PROOF_HEAD: Final = "fork/"
_GREETED_WITH: Final = 256
"""Proofs that a new link is shown unasked: each costs its other end two verifications, and a part of what it lets us say."""
_NEW_ROUNDS: Final = 30
"""Rounds after a start in which what we, or others, heard meanwhile is shown over every link; and until one peer is shown the same again."""


@define(eq=False)
class Forks:
    """Frozen logs of one peer. `closing()` is called before our own present epoch is frozen; `froze(link)` takes over what it has."""

    _ctx: Context
    _admission: Admission
    _keeper: Keeper
    _commits: Commits
    _closing: Callable[[], None]
    _froze: Callable[[Link], None]
    _contested: dict[LinkId, set[WirePlace]] = field(factory=dict)
    """What each link was asked for, once."""
    _owed: Counter[LinkId] = field(factory=Counter)
    """Pieces of evidence that each link was asked for and has not shown."""
    _count_of: Counter[PeerId] = field(factory=Counter)
    """Proofs about logs of which we held nothing when they came, by origin."""
    _unheld: int = 0
    """These of all origins together."""
    _proofs: dict[LineKey, ForkProof] = field(factory=dict)
    _news: dict[LineKey, None] = field(factory=dict)
    """Frozen logs of which we have more since we last showed their proofs."""
    _came: int = 0
    """Proofs, and pieces of frozen logs, so far."""
    _greeted: dict[PeerId, tuple[tuple[Epoch, int] | None, float]] = field(factory=dict)
    """Who was shown what forked lately: in which epoch of theirs, after how much had come, and when."""

    @property
    def proofs(self) -> list[ForkProof]:
        """Of all logs that are frozen, in the order of their lines."""
        return [self._proofs[key] for key in sorted(self._proofs)]

    @property
    def _share(self) -> int:
        """Proofs in one message, well below the size of a frame."""
        limits = self._ctx.config.limits
        return max(1, limits.frame_bytes // 4 // limits.proof_bytes)

    def receive(self, link: Link, message: Contest | Evidence) -> None:
        """What is asked of us, or shown to us."""
        if isinstance(message, Contest):
            self._on_contest(link, message)
        else:
            self._on_evidence(link, message)

    # -- asking ----------------------------------------------------------------------------------------------

    def is_news(self, key: LineKey, index: int, head: bytes) -> bool:
        """Does a line that a member tells contradict ours: another head at our number, or a proof that is not ours?"""
        log = self._ctx.logs.find(key)
        if index == FROZEN:
            return log is None or log.fork is None or log.line().head != head
        is_open = log is not None and log.fork is None and 0 < index <= log.index
        return is_open and log is not None and log.head_at(index) not in (None, head)

    def contest(self, link: Link, places: Iterable[WirePlace]) -> None:
        """Ask for the headers at these numbers; once, for who cannot show one today has none tomorrow."""
        limits = self._ctx.config.limits
        asked = self._contested.setdefault(link.id, set())
        fresh = []
        for place in places:
            if place[2] != FROZEN:
                if place in asked or len(asked) >= limits.proofs:
                    continue
                asked.add(place)
            elif self._check_room((place[0], Origin(place[1]))) is not None:
                self._ctx.counters["forks-dropped"] += 1
                continue  # to be shown it in every exchange would only cost us
            fresh.append(place)
        self._owed[link.id] = min(limits.proofs, self._owed[link.id] + len(fresh))
        for start in range(0, len(fresh), limits.survey_rows):
            self._ctx.send(link, Contest(tuple(fresh[start : start + limits.survey_rows])))

    def drop_link(self, link: LinkId) -> None:
        """A link has ended."""
        self._contested.pop(link, None)
        self._owed.pop(link, None)

    def _on_contest(self, link: Link, message: Contest) -> None:
        """Show the proof, or the header that we have; nothing where we have none."""
        ctx, limits = self._ctx, self._ctx.config.limits
        if len(message.places) > limits.survey_rows:
            ctx.refuse(link, Reason.LIMIT, "asks for too much at once")
            return
        link.allowance -= len(message.places) / _COST_SHARE
        found: dict[bytes, Origin] = {}
        for bucket, origin, index in message.places:
            data = self._evidence((bucket, Origin(origin)), index)
            if data is not None:
                found[data] = Origin(origin)
        self._show(link, found)

    def _evidence(self, key: LineKey, index: int) -> bytes | None:
        log = self._ctx.logs.find(key)
        if log is None:
            return None
        if log.fork is not None:
            return log.fork.proof.data
        is_ours = peer_of(log.origin) == self._ctx.peer_id
        piece = log.pieces.get(index)
        if piece is None or (is_ours and index > self._commits.stored(key)):
            return None
        return encode_piece(header_only(piece))

    def _show(self, link: Link, found: dict[bytes, Origin]) -> None:
        self._ctx.tell_credentials(link, map(peer_of, found.values()))
        data, share = list(found), self._share
        for start in range(0, len(data), share):
            self._ctx.send(link, Evidence(tuple(data[start : start + share])))

    # -- learning --------------------------------------------------------------------------------------------

    def _on_evidence(self, link: Link, message: Evidence) -> None:
        """Proofs, and headers to compare with ours."""
        if len(message.data) > self._share:
            self._ctx.refuse(link, Reason.OVERSIZE, "more evidence than anybody shows at once")
            return
        for data in message.data:
            if link.is_closing:
                return
            if self._owed[link.id] > 0:
                self._owed[link.id] -= 1
            else:
                link.allowance -= 1  # each is worth a message: two signatures to verify
            self._look_at(link, data)

    def _look_at(self, link: Link, data: bytes) -> None:
        ctx = self._ctx
        if len(data) > ctx.config.limits.proof_bytes:
            ctx.refuse(link, Reason.OVERSIZE, "evidence of a fork")
            return
        if data[:1] == _PROOF:
            try:
                proof = parse_fork_proof(data)
            except strict.MalformedError as error:
                ctx.refuse(link, Reason.MALFORMED, str(error))
                return
            self._compare(link, proof)
            return
        shown = self._admission.admit_piece(data, ctx.now.wall_ms, link.peer)
        if isinstance(shown, Refusal):
            if shown.proof is not None:
                self.take(link, shown.proof)
            ctx.refuse(link, shown.reason, shown.detail)

    def _compare(self, link: Link, proof: ForkProof) -> None:
        log = self._ctx.logs.find(proof.key)
        held = None if log is None or log.fork is None else log.fork.proof
        if held is None or proof.rank < held.rank:
            refused = self._admission.admit_proof(proof) or self._check_room(proof.key)
            if refused is not None:
                self._ctx.refuse(link, refused.reason, refused.detail)
            else:
                self.take(link, proof)
        elif held.rank < proof.rank:
            self._show(link, {held.data: held.key[1]})
        else:
            self._froze(link)

    def _check_room(self, key: LineKey) -> Refusal | None:
        """A log of which we hold something was counted when that came; who invents others fills the room for these alone.

        No proof ever gives way to another: a log that was frozen once stays frozen.
        """
        limits = self._ctx.config.limits
        if key in self._proofs or self._is_held(key):
            return None
        share = self._count_of[peer_of(key[1])]
        if self._unheld < limits.proofs and share < limits.proofs_per_peer:
            return None
        return Refusal(Reason.LIMIT, "too many forked logs")

    def _is_held(self, key: LineKey) -> bool:
        log = self._ctx.logs.find(key)
        return log is not None and bool(log.pieces or (log.index and log.fork is None))

    def take(self, link: Link, proof: ForkProof) -> None:
        """A verified proof, found here or shown by a member, and lower than what we had."""
        ctx = self._ctx
        if self._check_room(proof.key) is not None:
            ctx.counters["forks-dropped"] += 1
            return
        is_first = proof.key not in self._proofs
        if proof.key[1] == ctx.origin:
            self._closing()  # whoever has our key cannot have it stop us: we go on in a new epoch
        self._freeze(proof)
        self._commits.put_head(head_name(proof.key), proof.data)
        ctx.counters["forks" if is_first else "forks-lowered"] += 1
        ctx.fetcher.moved(proof.key)
        ctx.moved(proof.key[0])
        if is_first:
            bucket, origin = proof.key
            ctx.emit(Forked(peer_of(origin), epoch_of(origin), bucket, proof.index))
            self._news[proof.key] = None
            self.pass_on(None)
        self._froze(link)

    def greet(self, link: Link) -> None:
        """Show a new link that is to stay what forked lately, for either end may have more of it; others for a while after our start."""
        ctx = self._ctx
        is_new = ctx.now.mono_s - ctx.started_s < _NEW_ROUNDS * ctx.config.gossip_interval_s
        if link.is_transient and not is_new:
            return
        oldest, max_skew_ms = ctx.oldest_open(), ctx.config.max_skew_ms
        young = {
            proof.data: key[1]
            for key, proof in reversed(self._proofs.items())
            if proof.cut(max_skew_ms) >= oldest
        }
        # Of the others it learns when lines are compared.
        young = dict(islice(young.items(), _GREETED_WITH))
        if young and not self._was_greeted(link):
            self._show(link, young)

    def _was_greeted(self, link: Link) -> bool:
        """Was this life of a peer shown all that we have, and not long ago? Each greeting has it compare its state with ours."""
        ctx = self._ctx
        greeting, now_s = (link.epoch, self._came), ctx.now.mono_s
        former, shown_s = self._greeted.pop(link.peer, (None, now_s))
        was_shown = (
            former == greeting and now_s - shown_s < _NEW_ROUNDS * ctx.config.gossip_interval_s
        )
        self._greeted[link.peer] = (greeting, shown_s if was_shown else now_s)
        if len(self._greeted) > ctx.config.limits.links:
            del self._greeted[next(iter(self._greeted))]
        return was_shown

    def came(self, header: Header) -> None:
        """Something was merged that its log did not have; nothing is done where that is not frozen."""
        key = (header.bucket, header.origin)
        if key in self._proofs:
            self._ctx.counters["fork-cells"] += 1
            self._came += 1
            self._news[key] = None

    def pass_on(self, source: LinkId | None) -> None:
        """Tell of what has come, but not where it came from."""
        if not self._news:
            return
        shown = {self._proofs[key].data: key[1] for key in self._news}
        self._news.clear()
        for link in list(self._ctx.by_peer.values()):
            if link.id != source:
                self._show(link, shown)

    def _freeze(self, proof: ForkProof) -> None:
        ctx, key = self._ctx, proof.key
        if key not in self._proofs and not self._is_held(key):
            self._count_of[peer_of(key[1])] += 1
            self._unheld += 1
        self._proofs[key] = proof
        self._came += 1
        log = ctx.logs.open(key)
        ctx.name_line(key)
        replica = ctx.replicas.get(key[0])
        if replica is not None:
            # Each half of the mesh may have seen one branch: all are to follow the earlier announcement of both.
            for header in proof.headers:
                ctx.announced(replica, header.announcement)
        late = self._keeper.freeze(log, proof, proof.cut(ctx.config.max_skew_ms))
        for name, cell in late:
            held = None if replica is None else replica.holds(name, cell)
            if held is not None and replica is not None:
                replica.drop(name, held)
        self._commits.loaded(key)  # nothing of it waits to be stored before it may be given away
        for link in ctx.links.values():
            link.waive(key)

    def announcements(self, bucket: str) -> list[Announcement]:
        """What the headers in proofs about a bucket's logs announce."""
        proofs = [proof for key, proof in self._proofs.items() if key[0] == bucket]
        return [header.announcement for proof in proofs for header in proof.headers]

    def load(self, data: bytes) -> bool:
        """A proof from our own store; False where it is none."""
        try:
            proof = parse_fork_proof(data)
        except strict.MalformedError:
            return False
        refused = self._admission.admit_proof(proof, is_stored=True)
        if refused is None:
            self._freeze(proof)
        return refused is None

    def loaded(self) -> None:
        """All that our store has is here, and tells of which frozen logs it held anything: proofs were loaded first."""
        unheld = [key for key in self._proofs if not self._is_held(key)]
        self._unheld, self._count_of = len(unheld), Counter(peer_of(key[1]) for key in unheld)


def head_name(key: LineKey) -> str:
    """Where a store keeps the proof about a line."""
    return f"{PROOF_HEAD}{key[0]}/{key[1].hex()}"
