"""The one gate: what every bundle passes before it touches state, whether it came from a link, a store or ourselves.

Order: sizes → shape → network → rights → already held? → signature → chain → skew → Merkle → cells; cheap checks first, and
nothing is remembered of a bundle that does not get through. Verify, then apply, then move the clock: this module verifies only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.bundle import (
    NO_PREVIOUS,
    Bundle,
    Header,
    parse_bundle,
    parse_header,
    signed_bytes,
)
from gossipsync.core.model.capability import Capability
from gossipsync.core.model.entry import Entry, decode_body, leaves_of
from gossipsync.core.model.hlc import hlc_at, hlc_ms
from gossipsync.core.model.ids import NetworkId, PeerId, peer_of
from gossipsync.core.model.limits import Limits
from gossipsync.core.model.reasons import Reason
from gossipsync.core.ports import Verifier
from gossipsync.core.replication.cells import SLOT, STAMP, Cell, cell_of
from gossipsync.core.replication.forks import ForkProof, make_fork_proof
from gossipsync.core.replication.logs import Log, LogBook
from gossipsync.core.replication.merkle import merkle_root
from gossipsync.core.replication.pieces import (
    HEADER,
    SIGNATURE,
    Piece,
    cells_of,
    is_proven,
    parse_piece,
    whole_piece,
)

_MISPLACED = "an entry stamped after its bundle, or a total of another origin"

Rights = Callable[[PeerId], Capability | None]

_SMALL_BYTES: Final = 2 << 10
_REMEMBERED: Final = 1024
"""Small bundles whose parsing is remembered by their exact bytes, for pushes bring each over several links; about 3 MB in all."""


@frozen
class Admitted:
    """A bundle that may be applied: the next of its log, genuine and whole."""

    bundle: Bundle
    entries: Sequence[Entry]
    data: bytes
    """As received."""


@frozen
class AdmittedPiece:
    """A bundle, or a part of one, that may be merged by itself: genuine, and proven by its header."""

    header: Header
    signature: bytes
    piece: Piece
    cells: list[tuple[str, Cell]]
    place: int
    """Where it belongs in its log: its number, but where another branch has that."""


@frozen
class Refusal:
    """Why a bundle may not be applied, with its header where it had a readable one."""

    reason: Reason
    detail: str
    header: Header | None = None
    proof: ForkProof | None = None
    """Where it is genuine, and shows together with what is held that its origin has signed two histories."""


class Admission:
    """The gate of one peer."""

    def __init__(
        self,
        network: NetworkId,
        limits: Limits,
        verifier: Verifier,
        logs: LogBook,
        rights: Rights,
        max_skew_ms: int,
    ) -> None:
        self._network = network
        self._limits = limits
        self._verifier = verifier
        self._logs = logs
        self._rights = rights
        self._max_skew_ms = max_skew_ms

    def admit(self, data: bytes, wall_ms: int | None) -> Admitted | Refusal:
        """Verify one bundle as received. `wall_ms` None: from our own store, where skew bound and rights were met before."""
        if len(data) > self._limits.bundle_bytes:
            return Refusal(Reason.OVERSIZE, f"{len(data):,} bytes")
        is_small = len(data) <= _SMALL_BYTES
        try:
            bundle, data = _parsed_small(data) if is_small else (parse_bundle(data), data)
        except strict.MalformedError as error:
            return Refusal(Reason.MALFORMED, str(error))
        header = bundle.header
        refused = self._check_rights(header, is_stored=wall_ms is None)
        refused = refused or self._check_place(header) or self._check_proof(bundle, wall_ms)
        if refused is not None:
            return self._refusal(refused, header, bundle.signature)
        try:
            entries, root = (_read_small if is_small else _read)(bundle.body, header.count)
        except strict.MalformedError as error:
            return Refusal(Reason.MALFORMED, str(error), header)
        refused = self._check_entries(header, entries, root)
        return Admitted(bundle, entries, data) if refused is None else Refusal(*refused, header)

    def admit_piece(
        self, data: bytes, wall_ms: int | None, sender: PeerId, place: int | None = None
    ) -> AdmittedPiece | Refusal:
        """Verify a bundle, or an excerpt of one, by itself: genuine, whatever is held of its log. `wall_ms` as in admit().

        `place`: where our own store had it.
        """
        if len(data) > self._limits.bundle_bytes:
            return Refusal(Reason.OVERSIZE, f"{len(data):,} bytes")
        try:
            parsed = parse_piece(data)
            header = parsed.header
            refused = self._check_rights(header, is_stored=wall_ms is None)
            refused = refused or self._check_room(header)
            refused = refused or self._check_signature(header, parsed.signature)
            refused = refused or self._check_branch(header) or self._check_time(header, wall_ms)
            if refused is not None:
                return self._refusal(refused, header, parsed.signature)
            log = self._logs.find((header.bucket, header.origin))
            if place is None:
                place = header.index if log is None else log.place_of(header)
            if isinstance(parsed, Bundle):
                entries = parsed.entries()
                cells = [(entry.key, cell_of(entry, header.origin, place)) for entry in entries]
                is_genuine = merkle_root(leaves_of(entries)) == header.root
                piece: Piece = whole_piece(parsed, entries, sender)
            else:
                cells = cells_of(parsed, place)
                is_genuine = is_proven(parsed, cells)
                piece = parsed.piece(sender)
        except strict.MalformedError as error:
            return Refusal(Reason.MALFORMED, str(error))
        if not is_genuine:
            return Refusal(Reason.MERKLE, "entries do not match the signed root", header)
        for _key, cell in cells:
            slot = cell[SLOT]
            if cell[STAMP] > header.log_hlc or (type(slot) is bytes and slot != header.origin):
                return Refusal(Reason.MALFORMED, _MISPLACED, header)
        if log is not None and log.fork is not None:
            cut = log.fork.cut
            cells = [(key, cell) for key, cell in cells if cell[STAMP] <= cut]
        return AdmittedPiece(header, parsed.signature, piece, cells, place)

    def admit_proof(self, proof: ForkProof, *, is_stored: bool = False) -> Refusal | None:
        """Verify that one origin of this network has signed both headers; None where it has."""
        header = proof.headers[0]
        refused = self._check_room(header)
        for header, signature in zip(proof.headers, proof.signatures, strict=True):
            refused = refused or self._check_rights(header, is_stored=is_stored)
            refused = refused or self._check_signature(header, signature)
        return None if refused is None else Refusal(*refused, header)

    def _refusal(self, why: tuple[Reason, str], header: Header, signature: bytes) -> Refusal:
        """With the proof, where the header has been verified and another one is held under its number."""
        log = self._logs.find((header.bucket, header.origin))
        held = None if log is None else log.pieces.get(header.index)
        if why[0] is not Reason.FORK or log is None or log.fork is not None or held is None:
            return Refusal(*why, header)
        other = (parse_header(held[HEADER]), held[SIGNATURE])
        return Refusal(*why, header, make_fork_proof((header, signature), other))

    def _check_branch(self, header: Header) -> tuple[Reason, str] | None:
        """One number, one bundle: but for branches of a log that is frozen."""
        log = self._logs.find((header.bucket, header.origin))
        held = None if log is None else log.header_bytes(header.index)
        if log is not None and log.fork is None and held not in (None, header.data):
            return Reason.FORK, f"another bundle {header.index} than the one held"
        return None

    def _check_rights(self, header: Header, *, is_stored: bool) -> tuple[Reason, str] | None:
        """Network, and what the origin may write; a certificate renewed since says nothing about what is stored."""
        if header.network != self._network:
            return Reason.NETWORK, "signed for another network"
        capability = self._rights(peer_of(header.origin))
        if capability is None:
            return Reason.NO_CREDENTIAL, "its origin has shown no certificate"
        if is_stored:
            return None
        if not capability.may_write or not capability.allows(header.bucket):
            return Reason.RIGHTS, f"its origin may not write bucket {header.bucket!r}"
        if not capability.not_before_ms <= hlc_ms(header.log_hlc) <= capability.not_after_ms:
            return Reason.RIGHTS, "stamped outside its origin's certificate"
        return None

    def _check_place(self, header: Header) -> tuple[Reason, str] | None:
        """Whether the log wants this number; nothing signed has been believed yet."""
        log = self._logs.find((header.bucket, header.origin))
        if log is None:
            full = self._check_room(header)
            gap = None if header.index == 1 else (Reason.GAP, f"bundle {header.index} before 1")
            return full or gap
        if log.fork is not None:
            is_held = log.header_bytes(header.index) == header.data
            return (Reason.HELD, "") if is_held else (Reason.FORK, "its log has forked")
        if header.index > log.index + 1:
            return Reason.GAP, f"bundle {header.index} after {log.index}"
        if header.index <= log.index:
            held = log.header_bytes(header.index)
            if held is None:
                return Reason.COVERED, "what is left of it is in the state already"
            if held == header.data:
                return Reason.HELD, ""
        return None

    def has_room(self, header: Header) -> bool:
        """Is its log known, or is there room for one more?"""
        return self._check_room(header) is None

    def _check_room(self, header: Header) -> tuple[Reason, str] | None:
        """Is there room for one more log, where it is not known?"""
        if self._logs.find((header.bucket, header.origin)) is None and (
            not self._logs.has_room_for(header.bucket, self._limits.buckets)
            or len(self._logs) >= self._limits.logs
            or self._logs.count_of(peer_of(header.origin)) >= self._limits.logs_per_peer
        ):
            return Reason.LIMIT, "too many logs or buckets"
        return None

    def _check_signature(self, header: Header, signature: bytes) -> tuple[Reason, str] | None:
        peer = peer_of(header.origin)
        if not self._verifier.verify(peer, signature, signed_bytes(header.data)):
            return Reason.SIGNATURE, "not signed by its origin"
        return None

    def _check_time(self, header: Header, wall_ms: int | None) -> tuple[Reason, str] | None:
        if wall_ms is not None and header.log_hlc >= hlc_at(wall_ms + self._max_skew_ms):
            ahead_ms = hlc_ms(header.log_hlc) - wall_ms
            return Reason.SKEW, f"stamped {ahead_ms:,} ms ahead of our clock"
        return None

    def _check_proof(self, bundle: Bundle, wall_ms: int | None) -> tuple[Reason, str] | None:
        """Signature, then the chain it continues, then time."""
        header = bundle.header
        if (refused := self._check_signature(header, bundle.signature)) is not None:
            return refused
        log = self._logs.find((header.bucket, header.origin))
        if log is not None and header.index <= log.index:
            return Reason.FORK, f"another bundle {header.index} than the one held"
        if (refused := self._check_chain(header, log)) is not None:
            return refused
        return self._check_time(header, wall_ms)

    def _check_chain(self, header: Header, log: Log | None) -> tuple[Reason, str] | None:
        if header.previous != (NO_PREVIOUS if log is None else log.head):
            return Reason.CHAIN, "names another predecessor"
        if log is not None and header.log_hlc < log.hlc:
            return Reason.CHAIN, "its log's clock goes backwards"
        return None

    def _check_entries(
        self, header: Header, entries: Sequence[Entry], root: bytes
    ) -> tuple[Reason, str] | None:
        origin, log_hlc = header.origin, header.log_hlc
        for _key, field, _op, stamp, _expires, _value, _data in entries:
            if stamp > log_hlc or (type(field) is bytes and field != origin):
                return Reason.MALFORMED, _MISPLACED
        if root != header.root:
            return Reason.MERKLE, "entries do not match the signed root"
        return None


def _read(body: bytes, count: int) -> tuple[Sequence[Entry], bytes]:
    """A bundle's entries and the Merkle root over them. Raises strict.MalformedError."""
    entries = decode_body(body, count)
    return entries, merkle_root(leaves_of(entries))


_read_small = lru_cache(maxsize=_REMEMBERED)(_read)


@lru_cache(maxsize=_REMEMBERED)
def _parsed_small(data: bytes) -> tuple[Bundle, bytes]:
    """The parsed bundle, and the first of the equal bytes that it came as: one copy serves all."""
    return parse_bundle(data), data
