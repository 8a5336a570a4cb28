"""Strategies: entries that quarrel over few keys, fields and stamps."""

from __future__ import annotations

from hypothesis import strategies as st

from gossipsync.core import Kind, Replica
from gossipsync.core.model.bucket import Announcement, BucketRules
from gossipsync.core.model.entry import Entry, Op, decode_entries, encode_entry
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import Epoch, Origin, PeerId, origin_of, peer_of
from gossipsync.core.replication.cells import Cell, cell_of
from gossipsync.core.replication.views import encode_total

BASE_MS = 1_790_000_000_000
GRACE_MS = 10_000
ORIGINS = [origin_of(PeerId(bytes([n]) * 32), Epoch(5 + n)) for n in range(3)]
Write = tuple[Origin, Entry]

_stamps = st.builds(
    lambda ms, counter: Hlc((BASE_MS + ms) << 16 | counter), st.integers(0, 6), st.integers(0, 1)
)
_expiries = st.none() | st.integers(1, 9).map(lambda ms: BASE_MS + ms)
_values = st.sampled_from(
    [b"\x00", b"\x01", b"\xf6", b"\x58\x28" + b"v" * 40, b"\x58\x28" + b"w" * 40]
)
_totals = st.builds(encode_total, st.integers(-9, 9), st.none() | st.just(b"b" * 16))


@st.composite
def writes(draw: st.DrawFn, keys: str = "kq") -> Write:
    """Any entry, by any of three origins."""
    origin = draw(st.sampled_from(ORIGINS))
    op = draw(st.sampled_from([Op.SET] * 4 + [Op.DELETE, Op.DELETE, Op.FINAL, Op.TOUCH, Op.MARK]))
    field: str | bytes | None = None
    expires, value = draw(_expiries), None
    if op is Op.SET:
        field = draw(st.sampled_from([None, "x", "y", origin]))
        value = draw(_totals if type(field) is bytes else _values)
    elif op is Op.DELETE:
        field = draw(st.sampled_from([None, None, "x", "y"]))
        expires = None if field is None else expires
    elif op is Op.FINAL:
        expires = BASE_MS + draw(st.integers(1, 9))
    data = encode_entry(draw(st.sampled_from(keys)), field, op, draw(_stamps), expires, value)
    return origin, decode_entries((data,))[0]


class Shelf:
    """Writes by the number of the bundle they came in, so that values can be found again; one log an origin."""

    def __init__(self, kind: Kind) -> None:
        self._bundles: dict[tuple[Origin, int], list[Entry]] = {}
        self._last: dict[Origin, int] = {}
        announcement = Announcement(BucketRules(kind), Hlc(BASE_MS << 16))
        self.replica = Replica(
            "b",
            announcement,
            change_limit=1000,
            grace_ms=GRACE_MS,
            recover=self._kept,
            sender=lambda _, origin, __: peer_of(origin),
        )

    def apply(self, *entries: Write) -> None:
        """Entries of one origin as one bundle, each run of the same origin on its own."""
        run: list[Entry] = []
        for position, (origin, entry) in enumerate(entries):
            run.append(entry)
            if position + 1 == len(entries) or entries[position + 1][0] != origin:
                index = self._last[origin] = self._last.get(origin, 0) + 1
                self._bundles[origin, index] = run
                self.replica.apply(run, origin, index)
                run = []

    def _kept(self, _bucket: str, origin: Origin, index: int) -> list[tuple[str, Cell]]:
        kept = self._bundles.get((origin, index), [])
        return [(entry.key, cell_of(entry, origin, index)) for entry in kept]
