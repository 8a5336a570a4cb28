"""Connections: TCP, then TLS 1.3, then the signed hello; up only when all three are done.

Everything before that is paid for by whoever wants it: a handshake has a deadline, half-open inbound
ones are few in all and fewer per address, and each failure is counted by its reason. An enrol-only
certificate is led aside to enrolment and never becomes a connection.

Invariant: a `Connection` exists only for a peer whose hello verified under the key in its certificate;
foreign exceptions do not pass this module, and nothing that an inbound connection brings ends the listener.
"""

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from ssl import SSLError

import trio
from attrs import define, field, frozen

from gossipsync.core.model.address import join_address
from gossipsync.core.model.capability import Capability
from gossipsync.core.model.ids import PeerId
from gossipsync.core.wire.hello import (
    NONCE_BYTES,
    Handshake,
    HelloError,
    LocalHello,
    RemoteHello,
    Session,
    Stranger,
)
from gossipsync.runtime.faults import Faults
from gossipsync.runtime.tcp import (
    HandshakeError,
    HandshakeReason,
    connect,
    deadline,
    listen_tcp,
    socket_address,
)
from gossipsync.runtime.tls import (
    TlsContexts,
    TlsStream,
    map_error,
    secure,
    tls_contexts,
)
from gossipsync.runtime.trust.credentials import Credentials
from gossipsync.runtime.trust.enrol import EnrolError, answer_enrolment
from gossipsync.runtime.trust.reading import parse_authority, read_invite
from gossipsync.runtime.trust.verifier import X509Verifier

__all__ = [
    "HALF_OPEN_LIMIT",
    "HALF_OPEN_PER_ADDRESS_LIMIT",
    "HANDSHAKE_DEADLINE_S",
    "Connection",
    "Listener",
    "Transport",
]

HANDSHAKE_DEADLINE_S = 10.0  # TCP, TLS and hello together; a slow path needs one, a dead one more
HALF_OPEN_LIMIT = 64  # each costs up to 20 KiB and 5 ms of CPU
HALF_OPEN_PER_ADDRESS_LIMIT = 32  # a host may start many workers at once, and must not take all
_CHUNK_BYTES = 16 * 1024  # a TLS record
_REFUSAL_S = (
    1.0  # for a REFUSE to leave and the other end to close; the handshake's deadline holds, too
)

HandleStranger = Callable[[str, PeerId, Stranger], None]
"""Hears of a member without a common protocol: the address, its key as TLS has proven it, its hello."""


def _ignore(_address: str, _peer: PeerId, _stranger: Stranger) -> None:
    pass


@frozen
class Connection:
    """One authenticated connection. `leftover` came with the hello and belongs before what is read next."""

    stream: TlsStream
    remote: RemoteHello
    certificate: bytes = field(repr=False)
    capability: Capability
    remote_addr: str
    is_dialer: bool
    leftover: bytes = field(repr=False)


@define
class Listener:
    """Bound sockets, not yet accepting. `addresses` are "host:port" with the ports really bound."""

    addresses: tuple[str, ...]
    _transport: "Transport"
    _listeners: list[trio.SocketListener] = field(repr=False)

    async def serve(self, handle: Callable[[Connection], Awaitable[None]]) -> None:
        """Accept until cancelled; each connection that comes up is handed to `handle` in its own task.

        `handle` owns the stream, which is closed when it returns; its exceptions are not caught.
        """
        await trio.serve_listeners(partial(self._transport.accept, handle=handle), self._listeners)

    async def aclose(self) -> None:
        """Close the sockets."""
        for listener in self._listeners:
            await listener.aclose()


class Transport:
    """Dials and listens with one peer's credentials.

    `hello` gives this peer's hello at every handshake; `tally` counts failures by reason.
    """

    def __init__(
        self,
        credentials: Credentials,
        hello: Callable[[], LocalHello],
        tally: Counter[str],
        handle_stranger: HandleStranger = _ignore,
    ) -> None:
        self.credentials = credentials
        self.tally = tally
        self.verifier = X509Verifier(credentials.ca_certificate)
        self._hello = hello
        self._handle_stranger = handle_stranger
        self._faults = Faults(tally)
        self._tls: TlsContexts = tls_contexts(
            credentials.ca_certificate, credentials.certificate, credentials.identity
        )
        self._half_open: Counter[str] = Counter()

    async def dial(
        self, host: str, port: int, *, deadline_s: float = HANDSHAKE_DEADLINE_S
    ) -> Connection:
        """A connection to whichever member listens there. Raises HandshakeError or HelloError."""
        address = join_address(host, port)
        try:
            with deadline(deadline_s):
                stream = await connect(host, port)
                return await self.negotiate(stream, address, is_dialer=True)
        except (HandshakeError, HelloError) as error:
            self.tally[error.reason.value] += 1
            raise

    async def listen(self, host: str, port: int) -> Listener:
        """Bind; port 0 takes a free one. Raises TransportError for a port in use or a foreign host."""
        listeners = await listen_tcp(host, port)
        addresses = tuple(socket_address(listener.socket.getsockname()) for listener in listeners)
        return Listener(addresses, self, listeners)

    async def accept(
        self, stream: trio.SocketStream, *, handle: Callable[[Connection], Awaitable[None]]
    ) -> None:
        """Bring up one inbound connection and hand it over; refusals are counted, never raised."""
        try:
            remote_addr = socket_address(stream.socket.getpeername())
        except OSError:
            return  # gone before it was accepted
        connection = await self._admit(stream, remote_addr)
        if connection is None:
            await trio.aclose_forcefully(stream)
            return
        try:
            await handle(connection)
        finally:
            await trio.aclose_forcefully(connection.stream)

    async def negotiate(
        self, transport: trio.abc.Stream, remote_addr: str, *, is_dialer: bool
    ) -> Connection:
        """TLS and hello over any byte stream, which is closed if it raises HandshakeError or HelloError.

        The caller sets the deadline. Raises EnrolError where an invite's holder was refused.
        """
        try:
            stream, certificate = await secure(transport, self._tls, is_dialer=is_dialer)
            peer_id, capability = await self._read_member(stream, certificate, is_dialer=is_dialer)
            session = self._session(peer_id, certificate, is_dialer=is_dialer)
            handshake = await self._greet(stream, session, remote_addr)
        except BaseException:
            await trio.aclose_forcefully(transport)
            raise
        assert handshake.remote is not None
        return Connection(
            stream,
            handshake.remote,
            certificate,
            capability,
            remote_addr,
            is_dialer,
            handshake.leftover,
        )

    async def _admit(self, stream: trio.SocketStream, remote_addr: str) -> Connection | None:
        """The connection, or None after counting why not. A slot is held only while it is half open."""
        host = remote_addr.rpartition(":")[0]
        half_open = self._half_open
        if half_open.total() >= HALF_OPEN_LIMIT or half_open[host] >= HALF_OPEN_PER_ADDRESS_LIMIT:
            self.tally[HandshakeReason.HALF_OPEN.value] += 1
            return None
        half_open[host] += 1
        try:
            with deadline(HANDSHAKE_DEADLINE_S):
                return await self.negotiate(stream, remote_addr, is_dialer=False)
        except (HandshakeError, HelloError, EnrolError) as error:
            self.tally[error.reason.value] += 1
            return None
        except Exception as error:  # noqa: BLE001 - it would end the listener, and with it the engine
            self._faults.note(error, "an inbound connection")
            return None
        finally:
            half_open[host] -= 1
            if not half_open[host]:
                del half_open[host]

    def _session(self, remote_key: PeerId, certificate: bytes, *, is_dialer: bool) -> Session:
        own = self.credentials
        return Session(
            is_dialer=is_dialer,
            network_id=own.network_id,
            key=own.identity.peer_id,
            remote_key=remote_key,
            certificate_sha256=sha256(own.certificate).digest(),
            remote_certificate_sha256=sha256(certificate).digest(),
            nonce=secrets.token_bytes(NONCE_BYTES),
        )

    async def _greet(self, stream: TlsStream, session: Session, remote_addr: str) -> Handshake:
        local = self._hello()
        handshake = Handshake(
            session, local, sign=self.credentials.identity.sign, verify=self.verifier.verify
        )
        try:
            await stream.send_all(handshake.start())
            while handshake.remote is None:
                data = await stream.receive_some(_CHUNK_BYTES)
                if not data:
                    raise HandshakeError(HandshakeReason.CLOSED, "hung up during the hello")
                if reply := handshake.receive(bytes(data)):
                    await stream.send_all(reply)
        except HelloError as error:
            if error.reply:
                await _refuse(stream, error.reply)
            if error.stranger is None:
                raise
            # The port of an inbound connection is another each time: the address that others dial says more.
            claimed = None if session.is_dialer else error.stranger.address
            address = claimed or remote_addr
            self._handle_stranger(address, session.remote_key, error.stranger)
            words = local.protocols.mismatch(f"the peer at {address}", error.stranger.protocols)
            raise HelloError(error.reason, words, stranger=error.stranger) from error
        except (trio.BrokenResourceError, trio.ClosedResourceError, SSLError) as error:
            # In TLS 1.3 the dialer learns only now that its certificate was refused.
            raise map_error(error) from error
        return handshake

    async def _read_member(
        self, stream: TlsStream, certificate: bytes, *, is_dialer: bool
    ) -> tuple[PeerId, Capability]:
        """Who the certificate names; the holder of an invite is enrolled first, and then raised for."""
        credential = self.verifier.read_credential(certificate)
        if credential is not None:
            return PeerId(credential[0]), credential[1]
        try:
            read_invite(certificate, parse_authority(self.credentials.ca_certificate))
        except ValueError as error:
            message = "the certificate is no member's"
            raise HandshakeError(HandshakeReason.CERTIFICATE, message) from error
        if is_dialer:
            message = "an invite's certificate makes no link"
            raise HandshakeError(HandshakeReason.ENROL_ONLY, message)
        await answer_enrolment(stream, self.credentials, certificate)
        raise HandshakeError(HandshakeReason.ENROLLED, "a new member was enrolled; no link is made")


async def _refuse(stream: TlsStream, reply: bytes) -> None:
    """Send a REFUSE, and read on until the other end has closed, or for a second.

    A connection that is closed while something still arrives is reset, and a reset may overtake the REFUSE.
    """
    with trio.move_on_after(_REFUSAL_S):
        try:
            await stream.send_all(reply)
            transport = stream.transport_stream
            if isinstance(transport, trio.abc.HalfCloseableStream):
                await transport.send_eof()
            while await transport.receive_some(_CHUNK_BYTES):
                pass
        except (
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            trio.BusyResourceError,
            SSLError,
        ):
            return  # gone already; the reason is known here in any case
