"""Redeeming an invite: from a text to a credentials folder that is complete, or absent.

Invariant: the target is touched once, by a rename, after the issuer has granted the certificate.
"""

from pathlib import Path

import trio

from gossipsync.core.model.address import split_address
from gossipsync.errors import ConfigError, TransportError
from gossipsync.runtime.tcp import HandshakeError, HandshakeReason, connect, deadline
from gossipsync.runtime.tls import map_error, secure, tls_contexts
from gossipsync.runtime.trust.credentials import Credentials
from gossipsync.runtime.trust.enrol import EnrolError, EnrolReason, Grant, ask_enrolment
from gossipsync.runtime.trust.folder import check_vacant, load_folder, member_files, write_folder
from gossipsync.runtime.trust.identity import Identity
from gossipsync.runtime.trust.invites import Invite, parse_invite
from gossipsync.runtime.trust.reading import parse_authority, read_member

__all__ = ["redeem_invite"]

_DEADLINE_S = 10.0  # for one address of the issuer


async def redeem_invite(text: str, target: Path) -> Credentials:
    """Become a member: enrol a new key with the issuer and write the credentials folder.

    Raises ConfigError for a damaged or expired invite or a target in use, EnrolError where the issuer
    refuses, TransportError where no address of the issuer answers. Nothing is written in these cases.
    """
    invite = parse_invite(text)
    check_vacant(target)
    identity = Identity.generate()
    grant = await _enrol(invite, identity)
    files = member_files(invite.ca_certificate, grant.certificate, identity, grant.token_key)
    write_folder(target, files)
    return load_folder(target)


async def _enrol(invite: Invite, identity: Identity) -> Grant:
    """Ask each address in turn; the same key, so that a use spent on a lost answer is not lost."""
    failures: list[str] = []
    for address in invite.addresses:
        try:
            with deadline(_DEADLINE_S):
                return await _ask(invite, identity, address)
        except HandshakeError as error:
            failures.append(f"{address}: {error}")
        except EnrolError as error:
            if error.reason is EnrolReason.CUT:
                # In TLS 1.3 a joiner learns only now whether its certificate was believed.
                _check_refusal(map_error(error))
            elif error.reason is not EnrolReason.NOT_ISSUER:
                raise
            failures.append(f"{address}: {error}")
    raise TransportError(
        f"no issuer enrolled this peer ({'; '.join(failures)}); "
        "check that the issuer runs and can be reached from here"
    )


def _check_refusal(error: HandshakeError) -> None:
    if error.reason is HandshakeReason.CERTIFICATE_EXPIRED:
        raise EnrolError(EnrolReason.EXPIRED) from error
    if error.reason is HandshakeReason.CERTIFICATE:
        raise EnrolError(EnrolReason.INVALID) from error


async def _ask(invite: Invite, identity: Identity, address: str) -> Grant:
    try:
        host, port = split_address(address)
    except ValueError as error:
        raise ConfigError(f"the invite names a bad address: {error}") from error
    contexts = tls_contexts(invite.ca_certificate, invite.certificate, invite.identity)
    transport = await connect(host, port)
    try:
        stream, issuer_certificate = await secure(transport, contexts, is_dialer=True)
        try:
            read_member(issuer_certificate, parse_authority(invite.ca_certificate))
        except ValueError as error:
            message = "who answers there is no member of the network"
            raise HandshakeError(HandshakeReason.CERTIFICATE, message) from error
        return await ask_enrolment(
            stream,
            network_id=invite.network_id,
            ca_certificate=invite.ca_certificate,
            invite_certificate=invite.certificate,
            issuer_certificate=issuer_certificate,
            identity=identity,
        )
    finally:
        await trio.aclose_forcefully(transport)
