"""TLS 1.3 between two members of one network, over trio, with Python's own ssl.

Both ends show a certificate of the network's private authority; names are not checked, because a
peer's identity is its key. No session tickets: a resumed session would skip the certificates.

Invariants: a private key reaches OpenSSL without a file that anybody else could open or that outlives
the call; whatever ssl or trio raise in a handshake leaves this module as `HandshakeError`.
"""

import os
import ssl

import trio
from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gossipsync.runtime.tcp import HandshakeError, HandshakeReason
from gossipsync.runtime.trust.identity import Identity

__all__ = [
    "TlsContexts",
    "TlsStream",
    "map_error",
    "secure",
    "tls_contexts",
]

TlsStream = trio.SSLStream[trio.abc.Stream]

_ALERT_TIMEOUT_S = 1.0  # an alert is 7 to 24 bytes; who does not take them at once never will
_DRAIN_BYTES = 64 * 1024  # a flight of TLS and a hello; who sends more is reset


class _Context(ssl.SSLContext):
    """Lets `secure` send the alert that says why: trio gives up without sending what OpenSSL left."""

    outgoing: ssl.MemoryBIO | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        self.outgoing = outgoing
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)


@frozen
class TlsContexts:
    """One context for each direction; made once, used for every connection."""

    dialer: _Context
    listener: _Context


def tls_contexts(ca_certificate: bytes, certificate: bytes, identity: Identity) -> TlsContexts:
    """Contexts that show this certificate (DER) and believe this authority (DER) alone."""
    chain = x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)
    pem = identity.to_pem() + chain
    return TlsContexts(
        _context(ssl.PROTOCOL_TLS_CLIENT, ca_certificate, pem),
        _context(ssl.PROTOCOL_TLS_SERVER, ca_certificate, pem),
    )


async def secure(
    transport: trio.abc.Stream, contexts: TlsContexts, *, is_dialer: bool
) -> tuple[TlsStream, bytes]:
    """The TLS stream over a transport, and the other end's certificate (DER).

    The caller sets the deadline and closes the transport if this raises HandshakeError. The stream
    may end without a close_notify: frames carry their length and signatures, so a cut forges nothing.
    """
    context = contexts.dialer if is_dialer else contexts.listener
    stream = trio.SSLStream(transport, context, server_side=not is_dialer, https_compatible=True)
    outgoing = context.outgoing
    context.outgoing = None
    try:
        await stream.do_handshake()
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
        await _send_alert(transport, outgoing)
        raise map_error(error) from error
    certificate: bytes | None = stream.getpeercert(binary_form=True)
    if certificate is None:
        raise HandshakeError(HandshakeReason.CERTIFICATE, "the other end showed no certificate")
    return stream, certificate


def map_error(error: BaseException) -> HandshakeError:
    """What an error of trio, ssl or the socket means, by the ssl error at its root."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            break
        if isinstance(cause, ssl.SSLError):
            return HandshakeError(_ssl_reason(cause), _ssl_words(cause))
        cause = cause.__cause__
    return HandshakeError(HandshakeReason.CLOSED, "the other end hung up")


def _ssl_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or "TLS failed").lower().replace("_", " ")


_PLAIN = (
    "HTTP_REQUEST",
    "HTTPS_PROXY",
    "WRONG_VERSION_NUMBER",
    "PACKET_LENGTH",
    "RECORD_LAYER_FAIL",
)
_OLD = ("UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS", "UNKNOWN_PROTOCOL")
_CERTIFICATE = ("CERTIFICATE", "UNKNOWN_CA", "ALERT_ACCESS_DENIED", "ALERT_DECRYPT_ERROR")
_X509_EXPIRED = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


def _ssl_reason(error: ssl.SSLError) -> HandshakeReason:
    if isinstance(error, ssl.SSLCertVerificationError):
        is_expired = error.verify_code in _X509_EXPIRED
        return HandshakeReason.CERTIFICATE_EXPIRED if is_expired else HandshakeReason.CERTIFICATE
    reason = error.reason or ""
    if "EXPIRED" in reason:
        return HandshakeReason.CERTIFICATE_EXPIRED
    for words, meaning in (
        (_PLAIN, HandshakeReason.PLAIN_TEXT),
        (_OLD, HandshakeReason.TLS_VERSION),
        (_CERTIFICATE, HandshakeReason.CERTIFICATE),
    ):
        if any(word in reason for word in words):
            return meaning
    return HandshakeReason.TLS


async def _send_alert(transport: trio.abc.Stream, outgoing: ssl.MemoryBIO | None) -> None:
    alert = outgoing.read() if outgoing is not None else b""
    if not alert:
        return
    with trio.move_on_after(_ALERT_TIMEOUT_S):
        try:
            await transport.send_all(alert)
            if isinstance(transport, trio.abc.HalfCloseableStream):
                # Closing with bytes unread makes the kernel reset the connection, alert and all.
                await transport.send_eof()
                await _drain(transport)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # they will see the end of the connection instead


async def _drain(transport: trio.abc.Stream) -> None:
    left = _DRAIN_BYTES
    while left > 0 and (data := await transport.receive_some(left)):
        left -= len(data)


def _context(protocol: int, ca_certificate: bytes, pem: bytes) -> _Context:
    context = _Context(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=ca_certificate)
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    _load_chain(context, pem)
    return context


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """Hand key and certificate to OpenSSL, which takes them from a path only: an anonymous file's."""
    descriptor = os.memfd_create("gossipsync", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
