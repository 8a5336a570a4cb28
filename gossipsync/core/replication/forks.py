"""Forks: two different headers that one origin signed for one number of one log, which together prove what it did.

A **proof** is canonical CBOR of

    [header, signature, header, signature]

the header with the smaller hash first. It needs nothing else to be believed, so it spreads like presence. Of several proofs about
one log the *lowest* counts, by (bound, hash), everywhere: the log is *frozen*, its line is that proof. What any branch wrote
up to `max_skew` after the bound, the lower log HLC of the two headers, stays valid; nothing later does.
"""

from __future__ import annotations

from hashlib import sha256

from attrs import define, field, frozen

from gossipsync.core.model import strict
from gossipsync.core.model.bundle import MAX_INDEX, Header, parse_header
from gossipsync.core.model.entry import MAX_INT
from gossipsync.core.model.hlc import COUNTER_BITS, Hlc
from gossipsync.core.replication.lines import LineKey

_SIGNATURE_BYTES = 64


@frozen
class ForkProof:
    """Two headers with their signatures, which `Admission.admit_proof()` verifies."""

    headers: tuple[Header, Header]
    signatures: tuple[bytes, bytes]
    data: bytes
    """As it goes to stores and links."""
    hash: bytes
    """SHA-256 of `data`."""

    @property
    def key(self) -> LineKey:
        """The line that forked."""
        return (self.headers[0].bucket, self.headers[0].origin)

    @property
    def index(self) -> int:
        """The number that both headers have."""
        return self.headers[0].index

    @property
    def bound(self) -> Hlc:
        """The lower of both log HLCs."""
        return min(header.log_hlc for header in self.headers)

    @property
    def rank(self) -> tuple[Hlc, bytes]:
        """Of two proofs about one line the one with the smaller rank counts."""
        return (self.bound, self.hash)

    def cut(self, max_skew_ms: int) -> Hlc:
        """The newest stamp at which anything of that log is valid."""
        return Hlc(min(MAX_INT - 1, self.bound + (max_skew_ms << COUNTER_BITS)))


@define
class Fork:
    """What a frozen log keeps beside its pieces."""

    proof: ForkProof
    cut: Hlc
    """The newest stamp that is valid, in whatever branch."""
    places: dict[bytes, int] = field(factory=dict)
    """Where pieces are whose number another branch has, by the hash of their header."""
    next_place: int = MAX_INDEX


def make_fork_proof(one: tuple[Header, bytes], other: tuple[Header, bytes]) -> ForkProof:
    """From two (header, signature) of one line and number."""
    first, second = sorted((one, other), key=lambda signed: signed[0].hash)
    data = strict.encode((first[0].data, first[1], second[0].data, second[1]))
    return ForkProof((first[0], second[0]), (first[1], second[1]), data, sha256(data).digest())


def parse_fork_proof(data: bytes) -> ForkProof:
    """What it is about, nothing verified. Raises strict.MalformedError."""
    match strict.decode(data):
        case (bytes(first), bytes(signature), bytes(second), bytes(other)) if (
            len(signature) == len(other) == _SIGNATURE_BYTES
        ):
            pass
        case _:
            raise strict.MalformedError("not a proof of a fork")
    a, b = parse_header(first), parse_header(second)
    is_one_place = (a.network, a.bucket, a.origin, a.index) == (
        b.network,
        b.bucket,
        b.origin,
        b.index,
    )
    if not is_one_place or a.hash >= b.hash:
        raise strict.MalformedError("no two headers of one number, the smaller hash first")
    return ForkProof((a, b), (signature, other), data, sha256(data).digest())
