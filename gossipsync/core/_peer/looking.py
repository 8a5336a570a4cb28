"""Looking: what one named member has of a bucket, asked for page by page and verified. Nothing of it is merged.

Every entry passes the gate that all entries pass, whatever is held of its log here. What came by other ways, or will, is no
concern of a look: it moves no line, no clock and no state, so that also what is refused here as covered can be seen.

Where no keys are named, a list of them is asked for first, and then their cells in the order in which these share proofs. Not
proven is that nothing was left out: a member can keep silent about a key, and about a newer write to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.rounds import Rounds
from gossipsync.core.membership.members import Member
from gossipsync.core.model.bucket import Announcement, Kind
from gossipsync.core.model.ids import LinkId, NetworkId, Origin, PeerId, peer_text
from gossipsync.core.model.member_name import member_called
from gossipsync.core.model.reasons import Reason
from gossipsync.core.ports import Verifier
from gossipsync.core.replication import views
from gossipsync.core.replication.admission import Admission, AdmittedPiece, Refusal, Rights
from gossipsync.core.replication.cells import (
    EXPIRES,
    NO_VALUE,
    SIZE,
    SLOT,
    TOMBSTONE,
    Group,
    cell_hash,
    cells_in,
    merge,
)
from gossipsync.core.replication.celltree import CellTree
from gossipsync.core.replication.draft import check_text
from gossipsync.core.replication.logs import LogBook
from gossipsync.core.wire.looking import Aspect, Look, Outcome, Shown, WireKey
from gossipsync.errors import (
    GossipsyncError,
    LocalError,
    OverloadedError,
    RemoteError,
    TransportError,
    WaitTimeoutError,
)

_PATIENCE_S: Final = 10.0
"""How long a member may say nothing, or not be reached."""
_LONGEST_S: Final = 600.0
"""Longest look, however its member goes on answering."""
_AGAIN_S: Final = 0.25
"""After so long it is dialled again, or asked again where it was busy."""
_OUTLINE_BYTES: Final = 16
_ROW_BYTES: Final = 100
"""What a message, or a key in a list, counts towards `look_bytes`."""

WireLine = tuple[int, bytes]
"""(index, hash of the head)."""


@define(eq=False)
class Sight:
    """What a look has shown so far. To be read once `is_over`; `error` says why it came to nothing."""

    number: int
    peer: PeerId
    name: str
    bucket: str
    aspect: Aspect
    prefix: str
    keys: list[str] | None
    """Those whose cells are still to be asked for; None while it is not known which there are."""
    kind: Kind | None
    """None where we do not know the bucket: then as its announcements say."""
    active_s: float
    """When its member was last heard of in this matter."""
    begun_s: float = field(init=False)
    is_unknown: bool = False
    """Has its member no such bucket?"""
    link: LinkId | None = None
    """Where an answer is due; None while it waits for its turn, or for a link."""
    after: bytes = b""
    asked: dict[str, int] = field(factory=dict)
    """The keys of the question under way, each with its place in it, from 1."""
    listed: list[WireKey] = field(factory=list)
    pages: int = 0
    size_bytes: int = 0
    groups: dict[str, Group] = field(factory=dict)
    announcement: Announcement | None = None
    lines: dict[Origin, WireLine] = field(factory=dict)
    """How far its lines go."""
    is_over: bool = False
    error: GossipsyncError | None = None

    def __attrs_post_init__(self) -> None:
        self.begun_s = self.active_s

    @property
    def ends_s(self) -> float:
        """When it is given up if nothing comes."""
        return min(self.active_s + _PATIENCE_S, self.begun_s + _LONGEST_S)

    @property
    def amount(self) -> int:
        """How much has been seen, in keys and lines."""
        return len(self.listed) + len(self.groups) + len(self.lines)

    def values(self, wall_ms: int) -> dict[str, object]:
        """The live keys with fresh plain values, in the order of keys. Raises RemoteError for bytes that are no value."""
        kind = self._kind()
        return {
            key: views.show(group, kind)
            for key, group in sorted(self.groups.items())
            if views.has_content(group, kind) and not views.is_expired(group, wall_ms)
        }

    def outlines(self, wall_ms: int) -> dict[str, bytes]:
        """The live keys with what stands for the entries that make them so."""
        return {
            key: outline_of(group)
            for key, group in self.groups.items()
            if not views.is_expired(group, wall_ms)
        }

    def _kind(self) -> Kind:
        if self.kind is not None:
            return self.kind
        return Kind.VALUE if self.announcement is None else self.announcement.rules.kind


def outline_of(group: Group) -> bytes:
    """What stands for the entries of a key; the same whether values are at hand or only their hashes, and whatever was forgotten."""
    names = [
        cell_hash(cell)
        for cell in cells_in(group)
        if cell[SLOT] != TOMBSTONE and not (type(cell[SLOT]) is str and cell[SIZE] == NO_VALUE)
    ]
    last = views.newest(group)
    end = None if last is None else last[EXPIRES]
    return sha256(b"".join(sorted(names)) + str(end).encode()).digest()[:_OUTLINE_BYTES]


class Looks:
    """The asking side: all looks of one peer that are under way. A member is asked one question at a time."""

    def __init__(
        self,
        ctx: Context,
        rounds: Rounds,
        network: NetworkId,
        verifier: Verifier,
        rights: Rights,
    ) -> None:
        config = ctx.config
        self._ctx = ctx
        self._rounds = rounds
        # A gate with no logs behind it: what is held here decides nothing about what another holds.
        self._gate = Admission(
            network, config.limits, verifier, LogBook(network), rights, config.max_skew_ms
        )
        self._open: dict[int, Sight] = {}
        self._number = 0
        self._again_s = 0.0

    def begin(
        self, called: str, bucket: str, aspect: Aspect, prefix: str, keys: Sequence[str] | None
    ) -> Sight:
        """Look at what a member has. Raises LocalError, OverloadedError, and TransportError for one that is not there."""
        ctx, limits = self._ctx, self._ctx.config.limits
        if len(self._open) >= limits.looks:
            raise OverloadedError(f"{limits.looks} looks at members are under way; wait for one")
        check_text(prefix, "prefix", 0)
        for key in keys or ():
            check_text(key, "key")
        if keys is not None and len(keys) > limits.look_keys:
            raise LocalError(f"{len(keys):,} keys at once; {limits.look_keys:,} are allowed")
        member = self._member(called)
        if member.state in ("down", "away") and not member.is_linked:
            raise TransportError(f"{member.name!r} is {member.state}; see `gossipsync members`")
        replica = ctx.replicas.get(bucket)
        self._number += 1
        sight = self._open[self._number] = Sight(
            self._number,
            member.peer,
            member.name,
            bucket,
            aspect,
            prefix,
            None if keys is None else list(dict.fromkeys(keys)),
            None if replica is None else replica.rules.kind,
            ctx.now.mono_s,
        )
        ctx.counters["looks"] += 1
        self._again_s = ctx.now.mono_s + _AGAIN_S
        if sight.keys == []:
            self._end(sight, None)
        else:
            self._next(member.peer)
        return sight

    def here(self, bucket: str, aspect: Aspect) -> Sight:
        """The same of ourselves, to compare with: over at once."""
        ctx, replica = self._ctx, self._ctx.replicas.get(bucket)
        kind = None if replica is None else replica.rules.kind
        sight = Sight(0, ctx.peer_id, ctx.config.name, bucket, aspect, "", [], kind, 0.0)
        sight.is_over, sight.is_unknown = True, replica is None
        if aspect is Aspect.LINES:
            sight.lines = {
                log.origin: (log.index, log.head)
                for log in ctx.logs.logs()
                if log.bucket == bucket and log.index
            }
        elif replica is not None:
            keys = replica.keys(ctx.now.wall_ms)
            sight.groups = {key: group for key in keys if (group := replica.group(key)) is not None}
        return sight

    def _member(self, called: str) -> Member:
        """The member that a word stands for. Raises LocalError for none, several, or this peer itself."""
        ctx = self._ctx
        known: list[tuple[str, str, Member | None]] = [
            (member.name, peer_text(member.peer), member)
            for member in ctx.members
            if member.state != "left"
        ]
        known.append((ctx.config.name, peer_text(ctx.peer_id), None))
        member = member_called(called, known)
        if member is None:
            raise LocalError(f"{called!r} is this peer itself; read the bucket")
        return member

    def cancel(self, sight: Sight) -> None:
        """Nobody waits for it any more."""
        if self._open.pop(sight.number, None) is not None:
            sight.is_over = True
            self._next(sight.peer)

    def linked(self) -> None:
        """A link has opened: it may be one that is waited for."""
        waiting = [sight.peer for sight in self._open.values() if sight.link is None]
        for peer in dict.fromkeys(waiting):
            self._next(peer)

    def drop_link(self, link: LinkId) -> None:
        """A link has ended: what was asked over it is asked again over the next."""
        for sight in self._open.values():
            if sight.link == link:
                sight.link = None
        self.linked()

    def next_deadline(self) -> float | None:
        """When somebody is to be dialled or asked again, or a look given up."""
        if not self._open:
            return None
        is_waiting = any(sight.link is None for sight in self._open.values())
        late_s = min(sight.ends_s for sight in self._open.values()) + 0.001
        return min(late_s, self._again_s) if is_waiting else late_s

    def expire(self) -> None:
        """Give up what is late, and try again what waits."""
        ctx = self._ctx
        self._again_s = ctx.now.mono_s + _AGAIN_S
        for sight in list(self._open.values()):
            if ctx.now.mono_s > sight.ends_s:
                what = "does not answer" if sight.peer in ctx.by_peer else "cannot be reached"
                text = f"{sight.name!r} {what}; nothing came of it for {_PATIENCE_S:g} s"
                if ctx.now.mono_s < sight.active_s + _PATIENCE_S:
                    text = f"{sight.name!r} has not come to an end in {_LONGEST_S:g} s; name a longer prefix, or keys"
                self._end(sight, WaitTimeoutError(text))
        self.linked()

    # -- questions -------------------------------------------------------------------------------------------

    def _next(self, peer: PeerId) -> None:
        """Ask a member the next question, or have a link to it opened."""
        ctx = self._ctx
        sights = [sight for sight in self._open.values() if sight.peer == peer]
        if not sights or any(sight.link is not None for sight in sights):
            return
        link = ctx.by_peer.get(peer)
        if link is None:
            self._rounds.call(peer)
        elif not link.is_closing:
            self._ask(link, sights[0])

    def _ask(self, link: Link, sight: Sight) -> None:
        limits = self._ctx.config.limits
        room, asked = limits.delta_bytes, list[str]()
        for key in (sight.keys or ())[: limits.look_rows]:
            room -= len(key.encode()) + 3
            if asked and room < 0:
                break
            asked.append(key)
        sight.asked = {key: place for place, key in enumerate(asked, 1)}
        sight.link = link.id
        link.reconciled_s = self._ctx.now.mono_s
        aspect = sight.aspect
        if aspect is not Aspect.LINES and sight.keys is None:
            aspect = Aspect.KEYS
        question = Look(sight.number, sight.bucket, aspect, sight.prefix, tuple(asked), sight.after)
        self._ctx.send(link, question)

    # -- answers ---------------------------------------------------------------------------------------------

    def on_shown(self, link: Link, message: Shown) -> None:
        """An answer, or a part of one."""
        ctx = self._ctx
        sight = self._open.get(message.run)
        if sight is None or sight.link != link.id:
            # A late answer to a look that was given up is nobody's fault.
            ctx.counters["look-stale"] += 1
            return
        if message.outcome is Outcome.BUSY:
            sight.link = None
            self._again_s = ctx.now.mono_s + _AGAIN_S
            return
        before = sight.amount
        refused = self._outcome(sight, message) or self._take_all(link, sight, message)
        if message.is_last or sight.amount > before:
            # Looks at one member wait for each other; a part that shows nothing new is no sign that it gets on.
            for other in self._open.values():
                if other.peer == link.peer:
                    other.active_s = ctx.now.mono_s
        if refused is None and message.is_last:
            refused = self._turn(link, sight, message.reached)
        if refused is not None:
            self._end(sight, refused)

    def _outcome(self, sight: Sight, message: Shown) -> RemoteError | None:
        match message.outcome:
            case Outcome.UNKNOWN:
                sight.is_unknown = True
                return RemoteError(f"{sight.name!r} has no bucket {sight.bucket!r}")
            case Outcome.JOINING:
                return RemoteError(f"{sight.name!r} has not joined yet; ask it again later")
            case Outcome.TOO_LARGE:
                return RemoteError(f"{sight.name!r} does not show a key that is as large as this")
            case _:
                return None

    def _take_all(self, link: Link, sight: Sight, message: Shown) -> RemoteError | None:
        limits = self._ctx.config.limits
        sight.pages += message.is_last
        sight.size_bytes += sum(map(len, message.pieces)) + _ROW_BYTES * (len(message.keys) + 1)
        if sight.aspect is not Aspect.LINES and sight.keys is None:
            if not all(key.startswith(sight.prefix) for key, _ in message.keys):
                return self._refuse(link, sight, Reason.UNSOLICITED, "names what was not asked for")
            sight.listed += message.keys
        for data in message.pieces:
            if (refused := self._take(link, sight, data)) is not None:
                return refused
        counts = (len(sight.listed), len(sight.groups), len(sight.lines))
        is_much = max(counts) > limits.look_keys
        if is_much or sight.size_bytes > limits.look_bytes or sight.pages > limits.look_pages:
            self._ctx.counters["look-limit"] += 1
            return RemoteError(
                f"{sight.name!r} has more of {sight.bucket!r} than one look takes in ({limits.look_keys:,} keys, "
                f"{limits.look_bytes >> 20} MiB, {limits.look_pages:,} answers); name a longer prefix, or keys"
            )
        return None

    def _take(self, link: Link, sight: Sight, data: bytes) -> RemoteError | None:
        """Verify a piece, and see what it shows."""
        ctx = self._ctx
        part = self._gate.admit_piece(data, ctx.now.wall_ms, link.peer)
        if isinstance(part, Refusal):
            return self._refuse(link, sight, part.reason, part.detail)
        header = part.header
        if header.bucket != sight.bucket or not self._is_asked(sight, part):
            return self._refuse(link, sight, Reason.UNSOLICITED, "shows what was not asked for")
        if sight.announcement is None or header.announcement.precedes(sight.announcement):
            sight.announcement = header.announcement
        if sight.aspect is Aspect.LINES:
            index, _ = sight.lines.get(header.origin, (0, b""))
            if header.index > index:
                sight.lines[header.origin] = (header.index, header.hash)
            return None
        for key, cell in part.cells:
            sight.groups[key] = merge(sight.groups.get(key), cell)
        return None

    def _is_asked(self, sight: Sight, part: AdmittedPiece) -> bool:
        if sight.aspect is Aspect.LINES:
            return not part.cells
        return all(key in sight.asked for key, _ in part.cells)

    def _refuse(self, link: Link, sight: Sight, reason: Reason, detail: str) -> RemoteError:
        self._ctx.refuse(link, reason, detail)
        return RemoteError(
            f"what {sight.name!r} shows of {sight.bucket!r} does not verify ({reason}: {detail})"
        )

    def _turn(self, link: Link, sight: Sight, reached: bytes) -> RemoteError | None:
        """The next page, or the end."""
        if sight.aspect is Aspect.LINES or sight.keys is None:
            if reached and not self._is_behind(sight, reached):
                return self._refuse(link, sight, Reason.UNSOLICITED, "goes round in circles")
            is_done = self._listed(sight, reached)
        else:
            done = len(sight.asked)
            if reached:
                places = {key.encode(): place for key, place in sight.asked.items()}
                if reached not in places:
                    return self._refuse(link, sight, Reason.UNSOLICITED, "stopped at no key of it")
                done = places[reached]
            del sight.keys[:done]
            is_done = not sight.keys
        if is_done:
            self._end(sight, None)
            return None
        # Others that look at the same member have their turns.
        sight.link = None
        self._open[sight.number] = self._open.pop(sight.number)
        self._next(sight.peer)
        return None

    def _listed(self, sight: Sight, reached: bytes) -> bool:
        """A part of a list has come: is the look over with it?"""
        sight.after = reached
        if reached or sight.aspect is Aspect.LINES:
            return not reached
        # Keys that were written together are proven together.
        sight.listed.sort(key=lambda row: row[1])
        sight.keys = list(dict.fromkeys(key for key, _ in sight.listed))
        sight.listed.clear()
        return not sight.keys

    def _is_behind(self, sight: Sight, reached: bytes) -> bool:
        """Does the answer get on?"""
        if sight.aspect is Aspect.LINES:
            return reached > sight.after
        tree = CellTree(sight.bucket, 0)
        try:
            place = tree.place_of(reached.decode())
        except UnicodeDecodeError:
            return False
        return not sight.after or place > tree.place_of(sight.after.decode())

    def _end(self, sight: Sight, error: GossipsyncError | None) -> None:
        self._open.pop(sight.number, None)
        sight.is_over, sight.error = True, error
        if error is not None:
            sight.groups.clear()
            sight.lines.clear()
            sight.listed.clear()
            self._ctx.counters["looks-failed"] += 1
        self._ctx.has_moved = True
        self._next(sight.peer)
