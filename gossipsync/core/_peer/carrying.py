"""Carrying: a bucket's pieces on their way through a file, out of one peer and into another that it may never have been linked with.

What comes in passes the same gate as what links bring, and by the same rules: the next bundle of a log moves its line, anything else
is merged by itself, and what our lines cover already is taken only where it beats what we hold.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, frozen

from gossipsync.core._peer.answering import Answers, Place
from gossipsync.core._peer.context import Context
from gossipsync.core._peer.ingest import Ingest
from gossipsync.core._peer.introductions import Introductions
from gossipsync.core.model.capability import Capability
from gossipsync.core.model.ids import PeerId, peer_of, peer_text
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.admission import Admission, Admitted, AdmittedPiece, Refusal
from gossipsync.core.replication.cells import Cell
from gossipsync.core.replication.pieces import encode_piece
from gossipsync.errors import LocalError, RemoteError


@frozen
class Cargo:
    """Pieces of one peer's logs with its certificate, and where to go on."""

    certificate: bytes
    pieces: tuple[bytes, ...]
    last: Place


@define(eq=False)
class Carrying:
    """What one peer hands out and takes in as cargo."""

    _ctx: Context
    _answers: Answers
    _admission: Admission
    _ingest: Ingest
    _introductions: Introductions

    def give(self, bucket: str, after: Place | None) -> Cargo | None:
        """The next pieces of a bucket, all of one peer, `delta_bytes` at most or one; None where there are no more."""
        if bucket not in self._ctx.replicas:
            raise LocalError(f"there is no bucket {bucket!r} here: see the buckets in status")
        pieces: list[bytes] = []
        author: PeerId | None = None
        room, last = self._ctx.config.limits.delta_bytes, after
        for place, data in self._answers.pieces_after(after, bucket):
            room -= len(data)
            if pieces and (room < 0 or peer_of(place[1]) != author):
                break
            author, last = peer_of(place[1]), place
            pieces.append(data)
        if author is None or last is None:
            return None
        known = self._ctx.credentials.get(author)
        return Cargo(b"" if known is None else known[0], tuple(pieces), last)

    def check(self, certificate: bytes, pieces: Sequence[bytes]) -> list[AdmittedPiece]:
        """Verify one peer's pieces and change nothing. Raises RemoteError for what is not genuine, or not of this network."""
        ctx = self._ctx
        is_small = len(certificate) <= ctx.config.limits.credential_bytes
        read = ctx.verifier.read_credential(certificate) if is_small else None
        if read is None:
            raise RemoteError("a certificate in it is not of this network; nothing of it counts")
        author, capability = PeerId(read[0]), read[1]
        known = ctx.rights_of(author)
        if known is not None and known.not_after_ms >= capability.not_after_ms:
            capability = known

        def rights(peer: PeerId) -> Capability | None:
            return capability if peer == author else None

        config = ctx.config
        gate = Admission(
            config.network, config.limits, ctx.verifier, ctx.logs, rights, config.max_skew_ms
        )
        admitted = []
        for data in pieces:
            outcome = gate.admit_piece(data, ctx.now.wall_ms, ctx.peer_id)
            if isinstance(outcome, AdmittedPiece):
                admitted.append(outcome)
            elif outcome.reason is not Reason.FORK:  # another branch of a log: no fault of the file
                raise RemoteError(_refused(author, outcome))
        return admitted

    def take(self, certificate: bytes, pieces: Sequence[bytes]) -> int:
        """Verify one peer's pieces, then merge them; how many cells made a difference. Raises RemoteError and then has done nothing."""
        admitted = self.check(certificate, pieces)
        if self._introductions.keep_credential(certificate) is not None:
            raise RemoteError("there is no room for one more member's certificate here")
        return sum(map(self._take, admitted))

    def _take(self, part: AdmittedPiece) -> int:
        ctx, header = self._ctx, part.header
        if header.origin == ctx.origin:
            return 0  # what we wrote in this run we have
        key = (header.bucket, header.origin)
        line = ctx.logs.index(key)
        if header.index == line + 1 and len(part.piece) == 4:
            outcome = self._admission.admit(encode_piece(part.piece), ctx.now.wall_ms)
            if isinstance(outcome, Admitted):
                self._ingest.apply(outcome, ctx.peer_id)
                self._ingest.go_on(key)
                return len(outcome.entries)
        replica = ctx.replicas.get(header.bucket)

        def is_wanted(name: str, cell: Cell) -> bool:
            is_news = header.index > line or (
                replica is not None and replica.is_wanting(name, cell)
            )
            if not is_news:
                ctx.counters[Reason.COVERED] += 1
            return is_news

        return self._ingest.take_part(part, is_wanted)


def _refused(author: PeerId, refusal: Refusal) -> str:
    what = "a piece"
    if refusal.header is not None:
        what = f"bundle {refusal.header.index} of {refusal.header.bucket!r}"
    return f"{what} by {peer_text(author)} is not valid here ({refusal.reason}: {refusal.detail})"
