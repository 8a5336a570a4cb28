"""The messages that links carry after the hello, and their one encoding.

A message is one frame holding a canonical CBOR array that begins with the message's type. Shapes are checked exactly; a
message that does not match is MALFORMED, which only its sender can have caused. Lines and spans are grouped by bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.wire.evidence import (
    Contest,
    Contesting,
    Evidence,
    contesting_parts,
    read_contesting,
)
from gossipsync.core.wire.liveness import (
    Liveness,
    Parting,
    Ping,
    Pong,
    Reach,
    Reached,
    Statements,
    liveness_parts,
    read_liveness,
)
from gossipsync.core.wire.looking import Look, Looking, Shown, looking_parts, parse_looking
from gossipsync.core.wire.parts import (
    byte_strings,
    count,
    grouped,
    origin_bytes,
    place,
    spanned_prefix,
    ungrouped,
    wall_clock,
)
from gossipsync.core.wire.readiness import Readiness, read_readiness
from gossipsync.core.wire.reconciling import (
    SUM_BYTES,
    Reconciling,
    parse_reconciling,
    reconciling_parts,
)

WireLine = tuple[str, bytes, int, bytes, int]
"""(bucket, origin, index, first 8 bytes of the head's hash, head HLC)."""
WireRange = tuple[bytes, bytes, int]
"""(prefix, sum, count)."""
WireSpan = tuple[str, bytes, int, int]
"""(bucket, origin, first, last)."""
WireStored = tuple[str, bytes, int]
"""(bucket, origin, index)."""
WireKnown = bytes
"""The first 8 bytes of a peer's key, then the stamp of its presence in 8 bytes, big-endian."""
WireSought = tuple[bytes, bool]
"""(first 8 bytes of a peer's key, is its certificate needed?): 9 bytes."""

SHORT_KEY_BYTES: Final = 8
_KNOWN_BYTES: Final = SHORT_KEY_BYTES + 8
_SOUGHT_BYTES: Final = SHORT_KEY_BYTES + 1
_LINE_DEPTH: Final = 3


@frozen
class Digest:
    """Opens an exchange: what stands for all my lines, for all lines when we were last equal, and for those of ended epochs."""

    exchange: int
    sum: bytes
    base: bytes
    wall_ms: int
    covered: bytes = bytes(8)


@frozen
class Equal:
    """Answers a digest: we have the same lines; and what stands for mine of ended epochs.

    What stands for yours, where we have the same lines in all and only some have left one digest before the other.
    """

    exchange: int
    wall_ms: int
    covered: bytes = bytes(8)


@frozen
class Compare:
    """One step of comparing vectors that differ.

    `ranges`: sums to compare with yours. `asked`: prefixes whose lines of mine follow in `lines` and whose lines of yours I
    want to hear where they are ahead (None: the lines changed since we were last equal). `answers`: my lines that are ahead.
    A step that has neither ranges nor asks is the last. `is_cut`: there was more to compare than one step holds, so that
    nobody may take this exchange for the whole.
    """

    exchange: int
    ranges: tuple[WireRange, ...]
    is_since_base: bool
    asked: tuple[bytes, ...]
    lines: tuple[WireLine, ...]
    answers: tuple[WireLine, ...]
    is_cut: bool = False

    @property
    def is_last(self) -> bool:
        """Does it ask for nothing?"""
        return not self.ranges and not self.asked and not self.is_since_base


@frozen
class Want:
    """Asks for bundles, up to a byte budget."""

    request: int
    budget_bytes: int
    spans: tuple[WireSpan, ...]


@frozen
class Delta:
    """Answers a want with whole bundles, each log's in order. `is_trimmed`: some of what was asked for is not whole any more."""

    request: int
    bundles: tuple[bytes, ...]
    is_trimmed: bool = False


@frozen
class Push:
    """Fresh bundles, unasked."""

    bundles: tuple[bytes, ...]


@frozen
class Prune:
    """I get these origins' bundles elsewhere: leave them to digests."""

    origins: tuple[bytes, ...]


@frozen
class Stored:
    """I hold these lines durably up to these numbers."""

    lines: tuple[WireStored, ...]


@frozen
class Presences:
    """Signed presence data, as their peers made them."""

    data: tuple[bytes, ...]


@frozen
class Credentials:
    """Certificates of origins whose bundles follow."""

    certificates: tuple[bytes, ...]


@frozen
class Known:
    """Whom I have heard of lately, in a sparse mesh, and how many members I know."""

    members: int
    is_answer: bool
    """Then it names only what the other did not."""
    rows: tuple[WireKnown, ...]


@frozen
class Seek:
    """Asks for presence data: of these peers, or (`after`) of all in the order of their keys from there on."""

    rows: tuple[WireSought, ...]
    after: bytes | None


@frozen
class Page:
    """Presence data in the order of their peers' keys, answering a Seek with `after`; empty behind the last."""

    data: tuple[bytes, ...]


Message = (
    Digest
    | Equal
    | Compare
    | Want
    | Delta
    | Push
    | Prune
    | Stored
    | Presences
    | Credentials
    | Known
    | Seek
    | Page
    | Readiness
    | Liveness
    | Contesting
    | Reconciling
    | Looking
)


def encode_message(message: Message) -> bytes:
    """The payload of the frame that carries a message."""
    return strict.encode(_parts(message))


def _parts(message: Message) -> tuple[object, ...]:
    match message:
        case Ping() | Pong() | Reach() | Reached() | Statements() | Parting():
            return liveness_parts(message)
        case Digest(exchange, total, base, wall_ms, covered):
            return (1, exchange, total, base, wall_ms, covered)
        case Equal(exchange, wall_ms, covered):
            return (2, exchange, wall_ms, covered)
        case Compare(exchange, ranges, is_since_base, asked, lines, answers, is_cut):
            rows = (grouped(lines), grouped(answers))
            return (3, exchange, ranges, is_since_base, asked, *rows, is_cut)
        case Want(request, budget_bytes, spans):
            return (4, request, budget_bytes, grouped(spans))
        case Delta(request, bundles, is_trimmed):
            return (5, request, bundles, is_trimmed)
        case Push(bundles):
            return (6, bundles)
        case Prune(origins):
            return (7, origins)
        case Stored(lines=stored):
            return (8, grouped(stored))
        case Presences(data):
            return (9, data)
        case Credentials(certificates):
            return (10, certificates)
        case Known() | Seek() | Page() | Readiness() | Contest() | Evidence():
            return _spread_parts(message)
        case Look() | Shown():
            return looking_parts(message)
        case _:
            return reconciling_parts(message)


def _spread_parts(message: Known | Seek | Page | Readiness | Contesting) -> tuple[object, ...]:
    match message:
        case Known(members, is_answer, known):
            return (11, members, is_answer, b"".join(known))
        case Seek(sought, after):
            return (12, b"".join(key + bytes((flag,)) for key, flag in sought), after)
        case Page(data):
            return (13, data)
        case Readiness(stage):
            return (17, int(stage))
        case _:
            return contesting_parts(message)


def decode_message(payload: bytes) -> Message:
    """Raises strict.MalformedError for anything but one message."""
    parts = strict.decode(payload)
    if type(parts) is not tuple or not parts or type(parts[0]) is not int:
        raise strict.MalformedError("a message is an array that begins with its type")
    read = _READERS.get(parts[0])
    message = None if read is None else read(parts)
    if message is None:
        raise strict.MalformedError("not a message known here")
    return message


_Parts = tuple[object, ...]


def _digest(parts: _Parts) -> Digest | None:
    match parts:
        case (_, int(exchange), bytes(total), bytes(base), int(wall_ms), bytes(covered)) if (
            len(total) == 16 and len(base) in (0, 16) and len(covered) == SUM_BYTES
        ):
            return Digest(count(exchange), total, base, wall_clock(wall_ms), covered)
        case _:
            return None


def _equal(parts: _Parts) -> Equal | None:
    match parts:
        case (_, int(exchange), int(wall_ms), bytes(covered)) if len(covered) == SUM_BYTES:
            return Equal(count(exchange), wall_clock(wall_ms), covered)
        case _:
            return None


def _compare(parts: _Parts) -> Compare | None:
    match parts:
        case (
            _,
            int(exchange),
            tuple(ranges),
            bool(is_since_base),
            tuple(asked),
            tuple(lines),
            tuple(answers),
            bool(is_cut),
        ):
            return Compare(
                count(exchange),
                _ranges(ranges),
                is_since_base,
                _prefixes(asked),
                _lines(lines),
                _lines(answers),
                is_cut,
            )
        case _:
            return None


def _want(parts: _Parts) -> Want | None:
    match parts:
        case (_, int(request), int(budget), tuple(groups)):
            return Want(count(request), count(budget), _spans(groups))
        case _:
            return None


def _delta(parts: _Parts) -> Delta | None:
    match parts:
        case (_, int(request), tuple(bundles), bool(is_trimmed)):
            return Delta(count(request), byte_strings(bundles), is_trimmed)
        case _:
            return None


def _push(parts: _Parts) -> Push | None:
    match parts:
        case (_, tuple(bundles)):
            return Push(byte_strings(bundles))
        case _:
            return None


def _prune(parts: _Parts) -> Prune | None:
    match parts:
        case (_, tuple(origins)):
            return Prune(tuple(map(origin_bytes, origins)))
        case _:
            return None


def _stored_lines(parts: _Parts) -> Stored | None:
    match parts:
        case (_, tuple(groups)):
            return Stored(_stored(groups))
        case _:
            return None


def _presences(parts: _Parts) -> Presences | None:
    match parts:
        case (_, tuple(data)):
            return Presences(byte_strings(data))
        case _:
            return None


def _credentials(parts: _Parts) -> Credentials | None:
    match parts:
        case (_, tuple(certificates)):
            return Credentials(byte_strings(certificates))
        case _:
            return None


def _known_peers(parts: _Parts) -> Known | None:
    match parts:
        case (_, int(members), bool(is_answer), bytes(packed)):
            return Known(count(members), is_answer, _known(packed))
        case _:
            return None


def _seek(parts: _Parts) -> Seek | None:
    match parts:
        case (_, bytes(packed), bytes() | None as after) if after is None or len(after) in (0, 32):
            return Seek(_sought(packed), after)
        case _:
            return None


def _page(parts: _Parts) -> Page | None:
    match parts:
        case (_, tuple(data)):
            return Page(byte_strings(data))
        case _:
            return None


_READERS: Final[dict[object, Callable[[_Parts], Message | None]]] = {
    1: _digest,
    2: _equal,
    3: _compare,
    4: _want,
    5: _delta,
    6: _push,
    7: _prune,
    8: _stored_lines,
    9: _presences,
    10: _credentials,
    11: _known_peers,
    12: _seek,
    13: _page,
    17: read_readiness,
    **dict.fromkeys(range(18, 24), read_liveness),
    **dict.fromkeys((24, 25), read_contesting),
    **dict.fromkeys(range(30, 40), parse_reconciling),
    40: parse_looking,
    41: parse_looking,
}
"""By its type, what a message's parts are; None where they do not fit. Anything malformed within raises."""


def _lines(groups: tuple[object, ...]) -> tuple[WireLine, ...]:
    lines = []
    for bucket, (origin, index, head, hlc) in ungrouped(groups, 4):
        if type(head) is not bytes or len(head) != 8:
            raise strict.MalformedError("not a line")
        lines.append((bucket, origin_bytes(origin), place(index), head, count(hlc)))
    return tuple(lines)


def _spans(groups: tuple[object, ...]) -> tuple[WireSpan, ...]:
    spans = []
    for bucket, (origin, first, last) in ungrouped(groups, 3):
        span = (bucket, origin_bytes(origin), place(first), place(last))
        if not 0 < span[2] <= span[3]:
            raise strict.MalformedError("not a span")
        spans.append(span)
    return tuple(spans)


def _stored(groups: tuple[object, ...]) -> tuple[WireStored, ...]:
    stored = []
    for bucket, (origin, index) in ungrouped(groups, 2):
        line = (bucket, origin_bytes(origin), place(index))
        if not line[2]:
            raise strict.MalformedError("not a stored line")
        stored.append(line)
    return tuple(stored)


def _known(packed: bytes) -> tuple[WireKnown, ...]:
    if len(packed) % _KNOWN_BYTES:
        raise strict.MalformedError("not rows of known peers")
    return tuple([packed[at : at + _KNOWN_BYTES] for at in range(0, len(packed), _KNOWN_BYTES)])


def _sought(packed: bytes) -> tuple[WireSought, ...]:
    if len(packed) % _SOUGHT_BYTES or any(flag > 1 for flag in packed[8::_SOUGHT_BYTES]):
        raise strict.MalformedError("not rows of sought peers")
    return tuple(
        (packed[at : at + SHORT_KEY_BYTES], packed[at + SHORT_KEY_BYTES] == 1)
        for at in range(0, len(packed), _SOUGHT_BYTES)
    )


def _ranges(rows: tuple[object, ...]) -> tuple[WireRange, ...]:
    ranges = tuple(map(_range, rows))
    _check_distinct([prefix for prefix, _, _ in ranges])
    return ranges


def _prefixes(parts: tuple[object, ...]) -> tuple[bytes, ...]:
    prefixes = tuple(spanned_prefix(part, _LINE_DEPTH) for part in parts)
    _check_distinct(prefixes)
    return prefixes


def _check_distinct(prefixes: Sequence[bytes]) -> None:
    """A message that names one range a thousand times would have us go through its lines as often."""
    if len(set(prefixes)) != len(prefixes):
        raise strict.MalformedError("one range twice")


def _range(row: object) -> WireRange:
    match row:
        case (prefix, bytes(total), int(lines)) if len(total) == 16:
            return (spanned_prefix(prefix, _LINE_DEPTH), total, count(lines))
    raise strict.MalformedError("not a range")
