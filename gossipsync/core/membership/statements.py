"""Statements: one member's signed word about another, that others may count and pass on.

A datum is canonical CBOR `[body, signature]`, the body canonical CBOR of

    [format, network, claim, by, about, bound]

`claim` is *doubt* (it did not answer me, nor those whom I asked) or *dismissal* (an operator has given it up). `bound` is a moment
on the clock of whom it is about, in ms: what SWIM calls the incarnation. A presence of that peer with a later stamp ends the
statement, so whoever lives can always answer, and a presence made before its death can never bring the dead back. The Ed25519
signature covers domain ‖ length of the body (8 bytes) ‖ body.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.ids import NetworkId, PeerId
from gossipsync.core.model.now import MAX_WALL_MS
from gossipsync.core.ports import Sign, Verifier

FORMAT: Final = 1
_DOMAIN: Final = b"gossipsync statement v1"
_PEER_BYTES: Final = 32


class Claim(IntEnum):
    """What is stated."""

    DOUBT = 1
    """It does not answer."""
    DISMISSAL = 2
    """It is given up: no member any more, unless it shows itself again."""


_CLAIMS: Final = frozenset(int(claim) for claim in Claim)


@frozen
class Statement:
    """One member's word about another."""

    claim: Claim
    by: PeerId
    about: PeerId
    bound: int
    """Ended by a presence with a stamp above this; ms on the clock of whom it is about."""
    data: bytes
    """The datum as signed, to pass on."""


def _signed(body: bytes) -> bytes:
    return _DOMAIN + len(body).to_bytes(8, "big") + body


def make_statement(
    claim: Claim, *, network: NetworkId, by: PeerId, about: PeerId, bound: int, sign: Sign
) -> Statement:
    """Our own word."""
    body = strict.encode((FORMAT, network, int(claim), by, about, bound))
    return Statement(claim, by, about, bound, strict.encode((body, sign(_signed(body)))))


def parse_statement(data: bytes, network: NetworkId) -> tuple[Statement, bytes, bytes]:
    """(statement, body, signature), nothing verified yet. Raises strict.MalformedError."""
    match strict.decode(data, 2):
        case (bytes(body), bytes(signature)) if len(signature) == 64:
            pass
        case _:
            raise strict.MalformedError("not a statement")
    match strict.decode(body, 2):
        case (
            int(form), bytes(stated_for), int(claim), bytes(by), bytes(about), int(bound),
        ) if form == FORMAT and stated_for == network and len(by) == len(about) == _PEER_BYTES:  # fmt: skip
            pass
        case _:
            raise strict.MalformedError("not a statement of this network")
    is_time = strict.are_ints(form, claim, bound) and 0 <= bound < MAX_WALL_MS
    if not is_time or claim not in _CLAIMS:
        raise strict.MalformedError("a statement's number is out of its bounds")
    return Statement(Claim(claim), PeerId(by), PeerId(about), bound, data), body, signature


def is_stated(statement: Statement, body: bytes, signature: bytes, verifier: Verifier) -> bool:
    """Did the member itself sign it?"""
    return verifier.verify(statement.by, signature, _signed(body))
