"""A second implementation of a peer, written from docs/protocol.md alone: one link, all data in memory, no clock of its own mesh.

It speaks the messages that a small mesh needs: exchange, want and delta, push, stored, presence, ping, and reconciliation from both
sides. It never trims by itself; `hollow` names bundles that it pretends to have trimmed to single rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.interop.data import (
    NO_PREVIOUS,
    Cell,
    Piece,
    cbor,
    excerpt_of,
    make_bundle,
    merge,
    parsed,
    read_piece,
    sha,
)
from tests.interop.link import Link
from tests.interop.trust import Identity, is_signed

LineKey = tuple[str, bytes]
NO_SUM = bytes(8)
READY = 3


@dataclass
class Log:
    """Bundles and what is left of them, by their number, and how far the line goes."""

    pieces: dict[int, Piece] = field(default_factory=dict)
    index: int = 0
    head: bytes = NO_PREVIOUS
    hlc: int = 0
    whole_from: int = 1


def grouped(rows: list[tuple[str, ...]]) -> list[object]:
    groups: dict[str, list[list[object]]] = {}
    for bucket, *rest in rows:
        groups.setdefault(bucket, []).append(list(rest))
    return [[bucket, members] for bucket, members in groups.items()]


def ungrouped(groups: list[list[object]]) -> list[list[object]]:
    return [[bucket, *row] for bucket, rows in groups for row in rows]  # type: ignore[attr-defined]


class Second:
    """The peer. `pump` reads and answers until a condition holds."""

    def __init__(self, who: Identity) -> None:
        self.who = who
        self.logs: dict[LineKey, Log] = {}
        self.state: dict[str, dict[str, dict[object, Cell]]] = {}
        self.certificates: dict[bytes, bytes] = {who.peer: who.certificate}
        self.presences: dict[bytes, list[object]] = {}
        self.hlc = 0
        self.wanted: dict[int, list[list[object]]] = {}
        self.heard: list[list[object]] = []
        """Every message that came, in order."""
        self.stored: dict[LineKey, int] = {}
        self.equal = 0
        self.stage: int | None = None
        """The other's, by its last Readiness."""
        self.answers: dict[int, list[list[object]]] = {}
        """Answers to a run of ours, by its number."""
        self._numbers = 0
        self.link: Link | None = None
        self._told: set[bytes] = set()

    # -- writing ---------------------------------------------------------------------------------

    def tick(self) -> int:
        self.hlc = max(self.hlc + 1, int(time.time() * 1000) << 16)
        return self.hlc

    def write(
        self, bucket: str, kind: int, rows: list[tuple[object, ...]], *, deletes: int = 0,
        ttl_ms: int | None = None,
    ) -> bytes:  # fmt: skip
        """One bundle of (key, field, op, expires, value); every entry stamped alike."""
        stamp = self.tick()
        log = self.logs.setdefault((bucket, self.who.origin), Log())
        entries: list[list[object]] = [
            [key, at, op, stamp, expires, value] for key, at, op, expires, value in rows
        ]
        announcement: list[object] = [kind, deletes, ttl_ms, None, stamp]
        args = (bucket, announcement, log.index + 1, log.head, entries, stamp)
        data = make_bundle(self.who, *args)
        self.apply(data)
        return data

    def apply(self, data: bytes) -> None:
        """Take the next bundle of a log; a later or former one is left."""
        piece = read_piece(data, self.who.network.id)
        header = piece.header
        assert header.origin[:32] in self.certificates, "its certificate goes first"
        log = self.logs.setdefault((header.bucket, header.origin), Log())
        if header.index != log.index + 1:
            return
        assert header.previous == log.head
        log.pieces[header.index] = piece
        log.index, log.head, log.hlc = header.index, sha(header.data), header.log_hlc
        self.hlc = max(self.hlc, header.log_hlc)
        self.join(piece)

    def join(self, piece: Piece) -> None:
        bucket = self.state.setdefault(piece.header.bucket, {})
        for cell in piece.rows.values():
            bucket[cell.key] = merge(bucket.get(cell.key, {}), cell)

    def value(self, bucket: str, key: str, at: object = None) -> bytes | None:
        cell = self.state.get(bucket, {}).get(key, {}).get(("field", at))
        return None if cell is None else cell.value

    def hollow(self, key: LineKey) -> None:
        """Trim a log: of each bundle only the rows that are still in the state."""
        log = self.logs[key]
        for index, piece in log.pieces.items():
            left = [
                at
                for at, cell in piece.rows.items()
                if self.state[key[0]].get(cell.key, {}).get(cell.slot) == cell
            ]
            log.pieces[index] = read_piece(excerpt_of(piece.data, left), self.who.network.id)
        log.whole_from = log.index + 1

    # -- lines -----------------------------------------------------------------------------------

    def line(self, key: LineKey) -> tuple[object, ...]:
        log = self.logs[key]
        return (key[0], key[1], log.index, log.head[:8], log.hlc)

    def line_sum(self, key: LineKey) -> int:
        log = self.logs[key]
        text = key[0].encode() + b"\0" + key[1] + log.index.to_bytes(8, "big") + log.head[:8]
        salted = b"gossipsync lines v1" + self.who.network.id + text
        return int.from_bytes(sha(salted)[:16], "big")

    def keys_in(self, prefix: bytes) -> list[LineKey]:
        def position(key: LineKey) -> bytes:
            first, second, *_ = sha(key[0].encode() + b"\0" + key[1])
            return bytes((first >> 4, first & 15, second >> 4))

        return sorted(key for key in self.logs if position(key).startswith(prefix))

    def range_sum(self, prefix: bytes) -> bytes:
        total = sum(self.line_sum(key) for key in self.keys_in(prefix))
        return (total % (1 << 128)).to_bytes(16, "big")

    # -- a link ----------------------------------------------------------------------------------

    def attach(self, link: Link) -> None:
        """Show ourselves; the dialer opens an exchange."""
        self.link = link
        self._told = {self.who.peer, link.peer}
        self.certificates[link.peer] = link.certificate
        body = cbor(
            [
                *(1, self.who.network.id, self.who.peer, int(time.time() * 1000), self.who.epoch),
                *(0, "second", [], "", "second", {}),
            ]
        )
        message = b"gossipsync presence v1" + len(body).to_bytes(8, "big") + body
        link.send(17, READY)
        link.send(9, [cbor([body, self.who.key.sign(message)])])
        held = [
            (bucket, origin, log.index)
            for (bucket, origin), log in self.logs.items()
            if origin[:32] == link.peer and log.index
        ]
        link.send(8, grouped(held))  # type: ignore[arg-type]
        if link.is_dialer:
            self.compare()

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def compare(self) -> None:
        """Open an exchange: odd numbers are the dialer's."""
        assert self.link is not None
        number = 2 * self.number() + self.link.is_dialer
        wall_ms = int(time.time() * 1000)
        self.link.send(1, number, self.range_sum(b""), b"", wall_ms, NO_SUM)

    def push(self, *bundles: bytes) -> None:
        assert self.link is not None
        self.link.send(6, list(bundles))

    def pump(self, is_done: Callable[[], bool], timeout_s: float = 15) -> None:
        assert self.link is not None
        end = time.monotonic() + timeout_s
        while not is_done():
            left = end - time.monotonic()
            assert left > 0, f"not in {timeout_s} s; last heard {self.heard[-5:]}"
            message = self.link.receive(min(left, 1))
            if message is not None:
                self.heard.append(message)
                self.handle(message)

    # -- messages --------------------------------------------------------------------------------

    def handle(self, message: list[object]) -> None:
        kind, *parts = message
        assert isinstance(kind, int)
        reader = getattr(self, f"on_{kind}", None)
        if reader is not None:
            reader(*parts)

    def _reply(self, *message: object) -> None:
        assert self.link is not None
        self.link.send(*message)

    def on_1(self, number: int, total: bytes, _base: bytes, _wall: int, _covered: bytes) -> None:
        if total == self.range_sum(b""):
            self.equal += 1
            self._reply(2, number, int(time.time() * 1000), NO_SUM)
        elif len(self.logs) <= 24:
            lines = [self.line(key) for key in self.keys_in(b"")]
            self._reply(3, number, [], False, [b""], grouped(lines), [], False)  # type: ignore[arg-type]
        else:
            self._reply(3, number, self._below(b""), False, [], [], [], False)

    def on_2(self, _number: int, _wall: int, _covered: bytes) -> None:
        self.equal += 1

    def _below(self, prefix: bytes) -> list[object]:
        ranges = [prefix + bytes((nibble,)) for nibble in range(16)]
        return [[each, self.range_sum(each), len(self.keys_in(each))] for each in ranges]

    def on_3(
        self, number: int, ranges: list[list[object]], since: bool, asked: list[bytes],
        lines: list[list[object]], answers: list[list[object]], _cut: bool,
    ) -> None:  # fmt: skip
        theirs: dict[LineKey, int] = {}
        for bucket, origin, index, _head, _hlc in ungrouped(lines) + ungrouped(answers):
            theirs[bucket, origin] = index  # type: ignore[index, assignment]
        mine = list(self.logs) if since else [key for each in asked for key in self.keys_in(each)]
        ahead = [key for key in mine if self.logs[key].index > theirs.get(key, 0)]
        more: list[object] = []
        ask: list[bytes] = []
        told: list[LineKey] = []
        for prefix, total, count in ranges:
            assert isinstance(prefix, bytes)
            own = self.keys_in(prefix)
            if total == self.range_sum(prefix):
                continue
            if count == 0:
                ahead += own
            elif not own or max(len(own), count) <= 24 or len(prefix) == 3:  # type: ignore[call-overload]
                ask.append(prefix)
                told += own
            else:
                more += self._below(prefix)
        if ranges or asked or since:
            rows = [self.line(key) for key in told], [self.line(key) for key in ahead]
            self._reply(3, number, more, False, ask, grouped(rows[0]), grouped(rows[1]), False)  # type: ignore[arg-type]
        self.want(theirs)

    def want(self, theirs: dict[LineKey, int]) -> None:
        spans = []
        for (bucket, origin), index in theirs.items():
            held = self.logs.get((bucket, origin), Log()).index
            if held < index < 1 << 40:
                spans.append((bucket, origin, held + 1, min(index, held + 64)))
        if spans:
            number = self.number()
            self.wanted[number] = [list(span) for span in spans]
            self._reply(4, number, 65536, grouped(spans))  # type: ignore[arg-type]

    def on_4(self, number: int, budget: int, spans: list[list[object]]) -> None:
        bundles: list[bytes] = []
        is_trimmed = False
        for bucket, origin, first, last in ungrouped(spans):
            log = self.logs.get((bucket, origin))  # type: ignore[arg-type]
            if log is None or first > log.index:  # type: ignore[operator]
                continue
            if first < log.whole_from:  # type: ignore[operator]
                is_trimmed = True
                continue
            for index in range(first, min(last, log.index) + 1):  # type: ignore[call-overload, type-var]
                data = log.pieces[index].data
                if bundles and sum(map(len, bundles)) + len(data) > budget:
                    break
                bundles.append(data)
        self._tell_certificates(bundles)
        self._reply(5, number, bundles, is_trimmed)

    def _tell_certificates(self, pieces: list[bytes]) -> None:
        peers = {read_piece(data, self.who.network.id).header.origin[:32] for data in pieces}
        fresh = [self.certificates[peer] for peer in sorted(peers - self._told)]
        self._told |= peers
        if fresh:
            self._reply(10, fresh)

    def on_5(self, number: int, bundles: list[bytes], _trimmed: bool) -> None:
        spans = self.wanted.pop(number)
        before = {key: log.index for key, log in self.logs.items()}
        self.on_6(bundles)
        rest = {(bucket, origin): last for bucket, origin, _, last in spans}
        if bundles and any(self.logs[key].index > before.get(key, 0) for key in self.logs):
            self.want(rest)  # type: ignore[arg-type]

    def on_6(self, bundles: list[bytes]) -> None:
        """Fresh bundles; those of the peer itself are confirmed as stored."""
        assert self.link is not None
        for data in bundles:
            self.apply(data)
        held = [
            (bucket, origin, log.index)
            for (bucket, origin), log in self.logs.items()
            if origin[:32] == self.link.peer
        ]
        self._reply(8, grouped(held))  # type: ignore[arg-type]

    def on_8(self, lines: list[list[object]]) -> None:
        for bucket, origin, index in ungrouped(lines):
            key = (bucket, origin)
            self.stored[key] = max(self.stored.get(key, 0), index)  # type: ignore[index, arg-type, call-overload]

    def on_9(self, data: list[bytes]) -> None:
        for datum in data:
            body, signature = parsed(datum)  # type: ignore[misc]
            message = b"gossipsync presence v1" + len(body).to_bytes(8, "big") + body
            shown = parsed(body)
            assert isinstance(shown, list)
            assert is_signed(shown[2], signature, message)
            known = self.presences.get(shown[2])
            if known is None or known[3] < shown[3]:  # type: ignore[operator]
                self.presences[shown[2]] = shown

    def on_10(self, certificates: list[bytes]) -> None:
        for der in certificates:
            peer = self.who.network.read_member(der)
            assert peer is not None
            self.certificates[peer] = der

    def on_17(self, stage: int) -> None:
        assert self.heard[0][0] == 17, "the first message after the hello"
        assert self.stage is None or stage > self.stage, "told again only when it rises"
        self.stage = stage

    def on_18(self, number: int) -> None:
        self._reply(19, number)

    def on_20(self, number: int, _peer: bytes) -> None:
        self._reply(21, number, False)
