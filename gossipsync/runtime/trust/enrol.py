"""Enrolment: how the holder of an invite becomes a member, inside TLS, instead of the hello.

The dialogue (frames of canonical CBOR; the joiner dials with the invite's certificate)::

    joiner  BEGIN      [1, version, joiner nonce]
    issuer  CHALLENGE  [2, issuer nonce]
    joiner  PROVE      [3, new public key, signature by it]
    issuer  GRANT      [4, certificate DER, token key]     or REFUSE [5, reason], at any time

    signature over "gossipsync enrol v1" ‖ u32 length ‖ CBOR [network id, new public key,
        joiner nonce, issuer nonce, SHA-256 of the invite's certificate, SHA-256 of the issuer's]

So nobody can enrol a key they do not hold, nor replay a proof. The use is durably spent before GRANT.

Invariant: this connection never becomes a link, whatever happens on it.
"""

import secrets
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

import trio
from attrs import frozen
from cryptography.hazmat.primitives.serialization import Encoding

from gossipsync.core.model import strict
from gossipsync.core.model.ids import NetworkId, PeerId
from gossipsync.core.wire.framing import FrameReader, FrameTooLargeError, frame
from gossipsync.errors import RemoteError
from gossipsync.runtime.trust.certificates import FOREVER, EnrolTerms, issue_member
from gossipsync.runtime.trust.credentials import Credentials
from gossipsync.runtime.trust.identity import Identity
from gossipsync.runtime.trust.invites import spend_use
from gossipsync.runtime.trust.reading import parse_authority, read_invite, read_member
from gossipsync.runtime.trust.verifier import X509Verifier

__all__ = ["EnrolError", "EnrolReason", "Grant", "answer_enrolment", "ask_enrolment"]

_VERSION = 1
_BEGIN, _CHALLENGE, _PROVE, _GRANT, _REFUSE = 1, 2, 3, 4, 5
_NONCE_BYTES = 32
_TOKEN_KEY_BYTES = 32
_DOMAIN = b"gossipsync enrol v1"
_LIMIT_BYTES = 16 * 1024  # a GRANT holds a certificate with up to 64 patterns of 128 bytes
_CHUNK_BYTES = 4096
_DEPTH = 1


class EnrolReason(StrEnum):
    """Why an enrolment failed; the values are on the wire and in counters and never change."""

    SPENT = "invite-spent"
    EXPIRED = "invite-expired"
    NOT_ISSUER = "not-issuer"
    INVALID = "invite-invalid"
    PROOF = "enrol-proof"
    GARBAGE = "enrol-garbage"
    STORE = "enrol-store"
    CUT = "enrol-cut"


_EXPLAINED = {
    EnrolReason.SPENT: "the invite has been used up; ask for a new one",
    EnrolReason.EXPIRED: "the invite has expired; ask for a new one",
    EnrolReason.NOT_ISSUER: "that peer cannot enrol others; ask for an invite from the issuer",
    EnrolReason.INVALID: "the issuer does not accept this invite; ask for a new one",
    EnrolReason.PROOF: "the proof of the new key did not verify; try again",
    EnrolReason.GARBAGE: "the two ends do not speak the same protocol; compare their versions",
    EnrolReason.STORE: "the issuer could not note the use on its disk; look at its log",
    EnrolReason.CUT: "the connection ended before the answer; try again",
}


class EnrolError(RemoteError):
    """An enrolment was refused or cut short; `reason` says why.

    Fault: as the reason says. State: no folder was written; unless it says so the invite's use is not
    spent. Next: what the message says.
    """

    code = "enrol"

    def __init__(self, reason: EnrolReason) -> None:
        super().__init__(_EXPLAINED[reason])
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the reason alone."""
        return (EnrolError, (self.reason,))


@frozen
class Grant:
    """What a new member receives."""

    certificate: bytes
    token_key: bytes


async def answer_enrolment(
    stream: trio.abc.Stream, credentials: Credentials, invite_certificate: bytes
) -> PeerId:
    """The issuer's side, after TLS with an enrol-only certificate: the key that is now a member.

    The caller sets the deadline and closes the stream. Raises EnrolError, after telling the joiner.
    """
    channel = _Channel(stream)
    try:
        return await _answer(channel, credentials, invite_certificate)
    except EnrolError as error:
        if error.reason is not EnrolReason.CUT:
            await channel.send([_REFUSE, error.reason.value])
        raise


async def ask_enrolment(
    stream: trio.abc.Stream,
    *,
    network_id: NetworkId,
    ca_certificate: bytes,
    invite_certificate: bytes,
    issuer_certificate: bytes,
    identity: Identity,
) -> Grant:
    """The joiner's side, after TLS: the certificate for `identity`, checked. Raises EnrolError."""
    channel = _Channel(stream)
    own = secrets.token_bytes(_NONCE_BYTES)
    await channel.send([_BEGIN, _VERSION, own])
    match await channel.receive():
        case (2, bytes(theirs)) if len(theirs) == _NONCE_BYTES:
            pass
        case other:
            raise _refusal(other)
    proof = _proof(
        network_id, identity.peer_id, own, theirs, invite_certificate, issuer_certificate
    )
    await channel.send([_PROVE, identity.peer_id, identity.sign(proof)])
    match await channel.receive():
        case (4, bytes(certificate), bytes(token_key)) if len(token_key) == _TOKEN_KEY_BYTES:
            pass
        case other:
            raise _refusal(other)
    try:
        granted, _ = read_member(certificate, parse_authority(ca_certificate))
    except ValueError as error:
        raise EnrolError(EnrolReason.GARBAGE) from error
    if granted != identity.peer_id:
        raise EnrolError(EnrolReason.GARBAGE)
    return Grant(certificate, token_key)


async def _answer(
    channel: "_Channel", credentials: Credentials, invite_certificate: bytes
) -> PeerId:
    match await channel.receive():
        case (1, 1, bytes(theirs)) if len(theirs) == _NONCE_BYTES:
            pass
        case _:
            raise EnrolError(EnrolReason.GARBAGE)
    if credentials.issuer is None:
        raise EnrolError(EnrolReason.NOT_ISSUER)
    authority = parse_authority(credentials.ca_certificate)
    try:
        terms, _ = read_invite(invite_certificate, authority)
    except ValueError as error:
        raise EnrolError(EnrolReason.INVALID) from error
    own = secrets.token_bytes(_NONCE_BYTES)
    await channel.send([_CHALLENGE, own])
    match await channel.receive():
        case (3, bytes(key), bytes(signature)):
            pass
        case _:
            raise EnrolError(EnrolReason.GARBAGE)
    certificate = credentials.certificate
    proof = _proof(credentials.network_id, key, theirs, own, invite_certificate, certificate)
    if not _verify(credentials, key, signature, proof):
        raise EnrolError(EnrolReason.PROOF)
    peer_id = PeerId(key)
    await _spend(credentials.issuer.folder, terms, peer_id)
    granted = issue_member(
        credentials.issuer.ca_key,
        authority,
        peer_id,
        name=terms.name or "peer",
        globs=terms.globs,
        may_write=terms.may_write,
        validity=FOREVER,
    )
    await channel.send([_GRANT, granted.public_bytes(Encoding.DER), credentials.token_key])
    return peer_id


async def _spend(folder: Path, terms: EnrolTerms, peer_id: PeerId) -> None:
    try:
        is_ours = await trio.to_thread.run_sync(spend_use, folder, terms, peer_id)
    except (OSError, ValueError) as error:
        raise EnrolError(EnrolReason.STORE) from error
    if not is_ours:
        raise EnrolError(EnrolReason.SPENT)


def _verify(credentials: Credentials, key: bytes, signature: bytes, proof: bytes) -> bool:
    return X509Verifier(credentials.ca_certificate).verify(key, signature, proof)


def _proof(
    network_id: NetworkId,
    key: bytes,
    joiner_nonce: bytes,
    issuer_nonce: bytes,
    invite_certificate: bytes,
    issuer_certificate: bytes,
) -> bytes:
    hashes = (sha256(der).digest() for der in (invite_certificate, issuer_certificate))
    body = strict.encode([network_id, key, joiner_nonce, issuer_nonce, *hashes])
    return _DOMAIN + len(body).to_bytes(4, "big") + body


def _refusal(message: object) -> EnrolError:
    match message:
        case (5, str(reason)) if reason in _EXPLAINED:
            return EnrolError(EnrolReason(reason))
        case _:
            return EnrolError(EnrolReason.GARBAGE)


class _Channel:
    """Whole messages over a stream."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._reader = FrameReader(_LIMIT_BYTES)

    async def send(self, message: list[object]) -> None:
        """Send one message. Raises EnrolError if the stream is cut."""
        try:
            await self._stream.send_all(frame(strict.encode(message)))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise EnrolError(EnrolReason.CUT) from error

    async def receive(self) -> object:
        """One message. Raises EnrolError if it is none, or the stream is cut."""
        try:
            while (payload := self._reader.next_payload()) is None:
                data = await self._stream.receive_some(_CHUNK_BYTES)
                if not data:
                    raise EnrolError(EnrolReason.CUT)
                self._reader.feed(bytes(data))
            message = strict.decode(payload, _DEPTH)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise EnrolError(EnrolReason.CUT) from error
        except (FrameTooLargeError, strict.MalformedError) as error:
            raise EnrolError(EnrolReason.GARBAGE) from error
        if type(message) is not tuple or any(type(part) is bool for part in message):
            raise EnrolError(EnrolReason.GARBAGE)  # true equals 1 in a pattern
        return message
