"""Showing: the answering side of looks. Each question is answered by itself; nothing is kept but answers that wait for our own store.

An answer holds keys as a whole, as they were at one moment, with the proof of every cell. What is ours leaves only after its
commit: an answer with such a cell waits for that, so that nobody is shown half a key, and no store that fails is vouched for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from attrs import define, field, frozen

from gossipsync.core._peer.answering import Answers, Place
from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.standing import Standing
from gossipsync.core.model.ids import LinkId, PeerId, peer_of
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.cells import DATA, INDEX, ORIGIN, SLOT, Slot, cells_in, shadow_of
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.pieces import ROWS
from gossipsync.core.replication.replica import Replica
from gossipsync.core.replication.views import newest
from gossipsync.core.wire.looking import Aspect, Look, Outcome, Shown

_WORK_AT_ONCE: Final = 1 << 12
"""Keys looked through, and rows hashed for proofs, for one question: some 20 ms, in which nobody writes here."""
_WORK_SHARE: Final = 128
"""Of these, as many as cost us as much as one message."""
_SPARE_SHARE: Final = 0.25
"""Of a link's allowance of messages, what looks leave to everything else: honest askers are slowed down, not hung up on."""
_PLACE_BYTES: Final = 400
_ROW_BYTES: Final = 48
"""What a bundle's header, and a row's place in a proof, add to an answer, roughly."""
_NUMBER_BYTES: Final = 16
"""What a key's number adds to a list of keys."""


@frozen
class _Held:
    """An answer that waits until lines of our own are stored so far."""

    link: LinkId
    needs: dict[LineKey, int]
    peers: frozenset[PeerId]
    messages: tuple[Shown, ...]


@define(eq=False)
class _Page:
    """The keys of one answer."""

    slots: dict[Place, set[tuple[str, Slot]]] = field(factory=dict)
    room: int = 0
    work: int = 0
    reached: str = ""
    """Up to there, in the order in which they were asked for; empty where there are no more."""


@define(eq=False)
class Showing:
    """What this peer shows of its buckets to members that ask."""

    _ctx: Context
    _standing: Standing
    _commits: Commits
    _answers: Answers
    _held: deque[_Held] = field(factory=deque)

    def on_look(self, link: Link, message: Look) -> None:
        """One question."""
        ctx = self._ctx
        if len(message.keys) > ctx.config.limits.look_rows:
            ctx.refuse(link, Reason.LIMIT, "looks at too many keys at once")
            return
        outcome = self._outcome(link, message)
        if outcome is not Outcome.SHOWN:
            ctx.send(link, Shown(message.run, outcome, True, b""))
            return
        match message.aspect:
            case Aspect.LINES:
                self._show_lines(link, message)
            case Aspect.KEYS:
                self._list_keys(link, message)
            case _:
                self._show_keys(link, message)

    def _outcome(self, link: Link, message: Look) -> Outcome:
        limits = self._ctx.config.limits
        if not self._standing.is_established:
            return Outcome.JOINING
        if message.bucket not in self._ctx.replicas:
            return Outcome.UNKNOWN
        is_full = len(self._held) >= limits.looks_held
        is_spent = link.allowance < limits.messages_per_s * _SPARE_SHARE
        if is_full or is_spent or link.queued_bytes > limits.link_queue_bytes:
            return Outcome.BUSY
        return Outcome.SHOWN

    def release(self) -> None:
        """Our store has moved on: send what waited for that."""
        waiting, self._held = self._held, deque()
        for held in waiting:
            if not self._is_stored(held.needs):
                self._held.append(held)
            elif (link := self._ctx.links.get(held.link)) is not None:
                self._send(link, held.peers, held.messages)

    def _is_stored(self, needs: dict[LineKey, int]) -> bool:
        return all(self._commits.stored(key) >= index for key, index in needs.items())

    def drop_link(self, link: LinkId) -> None:
        """Nobody waits there any more."""
        self._held = deque(held for held in self._held if held.link != link)

    # -- lines -----------------------------------------------------------------------------------------------

    def _show_lines(self, link: Link, message: Look) -> None:
        """Proofs of how far the lines go, in the order of their origins."""
        ctx = self._ctx
        logs = sorted(
            (
                log
                for log in ctx.logs.logs()
                if log.bucket == message.bucket and log.origin > message.after and log.index
            ),
            key=lambda log: log.origin,
        )
        link.allowance -= len(ctx.logs) / _WORK_SHARE
        chosen = logs[: ctx.config.limits.look_rows]
        pieces = tuple(head for log in chosen if (head := self._answers.head_of(log)) is not None)
        reached = chosen[-1].origin if len(chosen) < len(logs) else b""
        shown = Shown(message.run, Outcome.SHOWN, True, reached, pieces)
        self._send(link, {peer_of(log.origin) for log in chosen}, (shown,))

    # -- keys ------------------------------------------------------------------------------------------------

    def _list_keys(self, link: Link, message: Look) -> None:
        """The next live keys, in the order of the tree: whatever comes or goes meanwhile moves no other."""
        ctx = self._ctx
        try:
            after = message.after.decode()
        except UnicodeDecodeError:
            ctx.refuse(link, Reason.MALFORMED, "looks behind what is no key")
            return
        replica = ctx.replicas[message.bucket]
        replica.tree(ctx.now.wall_ms, 0)
        found: list[tuple[str, int]] = []
        room, work, reached = ctx.config.limits.delta_bytes, 0, ""
        for key in replica.keys_after(after or None):
            work += 1
            if key.startswith(message.prefix) and replica.has(key, ctx.now.wall_ms):
                found.append((key, _number_of(replica, key)))
                room -= len(key.encode()) + _NUMBER_BYTES
            if room < 0 or work >= _WORK_AT_ONCE:
                reached = key
                break
        link.allowance -= work / _WORK_SHARE
        shown = Shown(message.run, Outcome.SHOWN, True, reached.encode(), (), tuple(found))
        self._send(link, (), (shown,))

    def _show_keys(self, link: Link, message: Look) -> None:
        ctx = self._ctx
        replica = ctx.replicas[message.bucket]
        page = self._page(replica, message)
        if page is None:
            ctx.send(link, Shown(message.run, Outcome.TOO_LARGE, True, b""))
            return
        needs: dict[LineKey, int] = {}
        for bucket, origin, index in page.slots:
            if peer_of(origin) == ctx.peer_id:
                needs[bucket, origin] = max(index, needs.get((bucket, origin), 0))
        if any(index > ctx.logs.index(key) for key, index in needs.items()):
            self._commits.seal(everything=True)  # what was written just now is in no log yet
        is_outline = message.aspect is Aspect.OUTLINES
        parts = [
            part
            for place, slots in page.slots.items()
            if (part := self._answers.part(place, slots, is_outline=is_outline)) is not None
        ]
        link.allowance -= page.work / _WORK_SHARE
        messages = tuple(self._messages(message.run, page.reached.encode(), parts))
        peers = frozenset(peer_of(place[1]) for place in page.slots)
        if self._is_stored(needs):
            self._send(link, peers, messages)
        else:
            self._held.append(_Held(link.id, needs, peers, messages))

    def _page(self, replica: Replica, message: Look) -> _Page | None:
        """As many keys as one answer has room for; None where the first is too large for any."""
        ctx = self._ctx
        page = _Page(room=ctx.config.limits.delta_bytes)
        former = ""
        for key in message.keys:
            page.work += 1
            if replica.has(key, ctx.now.wall_ms):
                size_bytes = self._add(page, replica, key, is_first=not page.slots, message=message)
                if size_bytes is None:
                    if not page.slots:
                        return None
                    page.reached = former
                    break
                page.room -= size_bytes
            former = key
            if page.work >= _WORK_AT_ONCE:
                page.reached = key
                break
        return page

    def _add(
        self, page: _Page, replica: Replica, key: str, *, is_first: bool, message: Look
    ) -> int | None:
        """Take a key's cells onto a page, and how large that makes it; None where there is no room for them."""
        group = replica.group(key)
        assert group is not None
        cells = cells_in(group)
        if message.aspect is Aspect.OUTLINES:
            cells = [shadow_of(cell) for cell in cells]
        logs = self._ctx.logs
        places = {(replica.name, cell[ORIGIN], cell[INDEX]) for cell in cells}
        fresh = places - page.slots.keys()
        size_bytes = sum(len(cell[DATA]) + _ROW_BYTES for cell in cells) + _PLACE_BYTES * len(fresh)
        limit = self._ctx.config.limits.look_key_bytes if is_first else page.room
        if size_bytes > limit:
            return None
        for bucket, origin, index in fresh:
            log = logs.find((bucket, origin))
            piece = None if log is None else log.pieces.get(index)
            page.work += 0 if piece is None else len(piece[ROWS])
        for cell in cells:
            place = (replica.name, cell[ORIGIN], cell[INDEX])
            page.slots.setdefault(place, set()).add((key, cell[SLOT]))
        return size_bytes

    def _messages(self, run: int, reached: bytes, parts: list[bytes]) -> Iterator[Shown]:
        """An answer in messages that fit their frames."""
        rest = iter(parts)
        chosen: list[bytes] = list(islice(rest, 1))
        room = self._ctx.config.limits.delta_bytes - sum(map(len, chosen))
        for part in rest:
            room -= len(part)
            if room < 0:
                yield Shown(run, Outcome.SHOWN, False, b"", tuple(chosen))
                chosen, room = [], self._ctx.config.limits.delta_bytes - len(part)
            chosen.append(part)
        yield Shown(run, Outcome.SHOWN, True, reached, tuple(chosen))

    def _send(self, link: Link, peers: Iterable[PeerId], messages: Iterable[Shown]) -> None:
        link.reconciled_s = self._ctx.now.mono_s
        self._ctx.tell_credentials(link, peers)
        for message in messages:
            self._ctx.send(link, message)


def _number_of(replica: Replica, key: str) -> int:
    """Equal for keys whose newest entries came in one bundle, near where they came one after another."""
    group = replica.group(key)
    last = None if group is None else newest(group)
    return 0 if last is None else last[ORIGIN][0] << 48 | last[INDEX]
