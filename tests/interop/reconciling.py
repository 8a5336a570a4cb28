"""Reconciliation of the second implementation, from docs/protocol.md: the asker and the answerer."""

from __future__ import annotations

import time

from tests.interop.data import (
    Piece,
    cbor,
    cell_name,
    leaf_range,
    parsed,
    prefixes_below,
    read_piece,
    sha,
    sum_of,
)
from tests.interop.second import NO_SUM, Log, Second, grouped, ungrouped

Area = tuple[str, bytes]


def now_ms() -> int:
    return int(time.time() * 1000)


class Reconciling(Second):
    """A peer that can also take over a state, and give its own."""

    # -- what there is ---------------------------------------------------------------------------

    def names_in(self, bucket: str, prefix: bytes) -> list[bytes]:
        return [
            cell_name(bucket, cell)
            for key, cells in self.state.get(bucket, {}).items()
            if leaf_range(bucket, key).startswith(prefix)
            for cell in cells.values()
        ]

    # -- asking ----------------------------------------------------------------------------------

    def ask(self, kind: int, *parts: object) -> list[list[object]]:
        """One question; the messages of its answer, of which the last is not a Covered."""
        assert self.link is not None
        run = self.number()
        self.answers[run] = []
        self.link.send(kind, run, *parts)
        self.pump(lambda: bool(self.answers[run]) and self.answers[run][-1][0] != 36)
        return self.answers.pop(run)

    def on_36(self, run: int, *parts: object) -> None:
        self._answer(36, run, *parts)

    def on_35(self, run: int, *parts: object) -> None:
        self._answer(35, run, *parts)

    def on_32(self, run: int, *parts: object) -> None:
        self._answer(32, run, *parts)

    def on_38(self, run: int, *parts: object) -> None:
        self._answer(38, run, *parts)

    def _answer(self, kind: int, run: int, *parts: object) -> None:
        if run in self.answers:
            self.answers[run].append([kind, *parts])

    def take_over(self, theirs: dict[tuple[str, bytes], int], *, by_dump: bool) -> dict[str, int]:
        """A whole run as a joiner: snapshot, dump or survey, cells, lines. What it took, by kind of step."""
        counts = {"heads": 0, "dump": 0, "surveys": 0, "fetch": 0}
        heads = self._heads(theirs)
        counts["heads"] = len(heads)
        if by_dump:
            counts["dump"] = self._dump()
        todo: list[Area] = [(bucket, b"") for bucket in sorted(self.state)]
        is_first = True
        while todo or is_first:
            counts["surveys"] += 1
            sums, names = self._survey(todo, is_first=is_first)
            is_first = False
            answered = set(sums) | set(names)
            todo = [area for area in todo if area not in answered]
            for (bucket, prefix), packed in sums.items():
                lowers = prefixes_below(prefix, len(packed) // 8)
                for at, lower in enumerate(lowers):
                    if packed[8 * at : 8 * at + 8] != sum_of(self.names_in(bucket, lower)):
                        todo.append((bucket, lower))
            for (bucket, prefix), packed in names.items():
                counts["fetch"] += self._fetch(bucket, prefix, packed)
        for key, piece in heads.items():
            log = self.logs.setdefault(key, Log())
            if piece.header.index > log.index:
                log.index, log.head = piece.header.index, sha(piece.header.data)
                log.hlc, log.whole_from = piece.header.log_hlc, log.index + 1
        return counts

    def _heads(self, theirs: dict[tuple[str, bytes], int]) -> dict[tuple[str, bytes], Piece]:
        heads: dict[tuple[str, bytes], Piece] = {}
        left = list(theirs)
        while left:
            *_, (_, is_cut, pieces) = self.ask(30, grouped(left), NO_SUM, True)  # type: ignore[arg-type]
            for data in pieces:  # type: ignore[attr-defined]
                piece = read_piece(data, self.who.network.id)
                heads[piece.header.bucket, piece.header.origin] = piece
            left = [key for key in left if key not in heads] if is_cut else []
        return heads

    def _dump(self) -> int:
        after: list[object] | None = None
        count, is_cut = 0, True
        while is_cut:
            *_, (_, is_cut, pieces) = self.ask(34, after, None)  # type: ignore[misc]
            for data in pieces:
                piece = self.keep(data)
                place = [piece.header.bucket, piece.header.origin, piece.header.index]
                assert after is None or place > after, "pieces ascend"
                after, count = place, count + 1
        return count

    def _survey(
        self, areas: list[Area], *, is_first: bool
    ) -> tuple[dict[Area, bytes], dict[Area, bytes]]:
        *_, found = self.ask(31, now_ms(), is_first, grouped(areas))  # type: ignore[arg-type]
        _, _wall, is_ready, sums, names = found
        assert is_ready, "the other is joining itself"
        return (
            {(bucket, prefix): packed for bucket, prefix, packed in ungrouped(sums)},  # type: ignore[arg-type, misc]
            {(bucket, prefix): packed for bucket, prefix, packed in ungrouped(names)},  # type: ignore[arg-type, misc]
        )

    def _fetch(self, bucket: str, prefix: bytes, packed: bytes) -> int:
        held = set(self.names_in(bucket, prefix))
        theirs = {packed[at : at + 8] for at in range(0, len(packed), 8)}
        lacking = sorted(theirs - held)
        while lacking:
            row = (bucket, prefix, b"".join(lacking))
            *_, (_, is_cut, pieces) = self.ask(33, grouped([row]))  # type: ignore[list-item]
            for data in pieces:  # type: ignore[attr-defined]
                self.keep(data)
            came = set(self.names_in(bucket, prefix))
            lacking = [name for name in lacking if name not in came] if is_cut else []
        return len(theirs - held)

    def keep(self, data: bytes) -> Piece:
        """A piece by itself: its cells are merged, and it is kept at its place."""
        piece = read_piece(data, self.who.network.id)
        log = self.logs.setdefault((piece.header.bucket, piece.header.origin), Log())
        log.pieces.setdefault(piece.header.index, piece)
        self.join(piece)
        return piece

    def look(self, bucket: str, aspect: int, *keys: str, after: bytes = b"") -> list[list[object]]:
        """All messages of the answer to one question of a look."""
        assert self.link is not None
        run = self.number()
        self.answers[run] = []
        self.link.send(40, run, bucket, aspect, "", list(keys), after)
        self.pump(lambda: bool(self.answers[run]) and self.answers[run][-1][2] is True)
        return self.answers.pop(run)

    def on_41(self, run: int, *parts: object) -> None:
        self._answer(41, run, *parts)

    def total(self) -> bytes:
        """The state's sum, for data without shadows, tombstones and removed fields."""
        return sum_of(name for bucket in self.state for name in self.names_in(bucket, b""))

    # -- answering -------------------------------------------------------------------------------

    def on_30(self, run: int, lines: list[list[object]], _covered: bytes, _all: bool) -> None:
        pieces = []
        for bucket, origin in ungrouped(lines):
            log = self.logs.get((bucket, origin))  # type: ignore[arg-type]
            if log is not None and log.index in log.pieces:
                pieces.append(_header_only(log.pieces[log.index]))
        self._parts(run, pieces)

    def on_31(self, run: int, _wall: int, is_first: bool, areas: list[list[object]]) -> None:
        asked: list[Area] = [(bucket, prefix) for bucket, prefix in ungrouped(areas)]  # type: ignore[misc]
        if is_first:
            named = {bucket for bucket, _ in asked}
            asked = [(bucket, b"") for bucket in self.state if bucket not in named] + asked
        sums, names = [], []
        for bucket, prefix in asked:
            found = self.names_in(bucket, prefix)
            if len(found) <= 32 or len(prefix) == 4:
                names.append((bucket, prefix, b"".join(found)))
            else:
                lowers = [prefix + bytes((nibble,)) for nibble in range(16)]
                packed = b"".join(sum_of(self.names_in(bucket, lower)) for lower in lowers)
                sums.append((bucket, prefix, packed))
        self._reply(32, run, now_ms(), True, grouped(sums), grouped(names))  # type: ignore[arg-type]

    def on_33(self, run: int, rows: list[list[object]]) -> None:
        pieces: set[bytes] = set()
        for bucket, prefix, packed in ungrouped(rows):
            wanted = {packed[at : at + 8] for at in range(0, len(packed), 8)}  # type: ignore[index, arg-type]
            pieces |= {
                self.logs[cell.place[:2]].pieces[cell.place[2]].data
                for key, cells in self.state.get(bucket, {}).items()  # type: ignore[call-overload]
                if leaf_range(bucket, key).startswith(prefix)  # type: ignore[arg-type]
                for cell in cells.values()
                if cell_name(bucket, cell) in wanted  # type: ignore[arg-type]
            }
        self._parts(run, sorted(pieces))

    def on_34(
        self, run: int, after: list[object] | None, until: list[object] | None, *_: object
    ) -> None:
        places = sorted(
            [bucket, origin, index]
            for (bucket, origin), log in self.logs.items()
            for index in log.pieces
        )
        found = [place for place in places if after is None or place > after]
        found = [place for place in found if until is None or place <= until]
        pieces = [self.logs[place[0], place[1]].pieces[place[2]].data for place in found]  # type: ignore[index]
        self._parts(run, pieces)

    def on_37(self, run: int, rows: list[list[object]]) -> None:
        bits = []
        for bucket, prefix, packed in ungrouped(rows):
            held = set(self.names_in(bucket, prefix))  # type: ignore[arg-type]
            for at in range(0, len(packed), 56):  # type: ignore[arg-type]
                row = packed[at : at + 56]  # type: ignore[index]
                log = self.logs.get((bucket, row[:40]))  # type: ignore[arg-type]
                index = int.from_bytes(row[40:48], "big")
                bits.append(log is not None and index <= log.index and row[48:] not in held)
        self._reply(38, run, bytes(bits))

    def _parts(self, run: int, pieces: list[bytes]) -> None:
        chosen: list[bytes] = []
        room = 256 << 10
        for data in pieces:
            room -= len(data)
            if chosen and room < 0:
                break
            chosen.append(data)
        self._tell_certificates(chosen)
        self._reply(35, run, len(chosen) < len(pieces), chosen)


def _header_only(piece: Piece) -> bytes:
    header, signature, *_ = parsed(piece.data)  # type: ignore[misc]
    return cbor([header, signature, b"", b"", [], b""])
