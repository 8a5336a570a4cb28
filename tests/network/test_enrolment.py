"""Enrolment over loopback: an invite makes a member once, and never half of one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from attrs import evolve
from cryptography.hazmat.primitives.serialization import Encoding

from gossipsync.errors import ConfigError, TransportError
from gossipsync.runtime.tcp import HandshakeError, HandshakeReason
from gossipsync.runtime.tls import secure, tls_contexts
from gossipsync.runtime.transport import Transport
from gossipsync.runtime.trust import (
    Credentials,
    create_invite,
    create_network,
    load_folder,
    parse_invite,
    redeem,
)
from gossipsync.runtime.trust.certificates import Validity, issue_invite
from gossipsync.runtime.trust.enrol import EnrolError, EnrolReason
from gossipsync.runtime.trust.reading import parse_authority
from gossipsync.runtime.trust.redeem import redeem_invite
from tests.network._pairs import listening, transport, until


@pytest.fixture
def issuer(tmp_path: Path) -> Transport:
    return transport(create_network(tmp_path / "net", "demo"), "issuer")


def invite_at(issuer: Transport, port: int, **terms: object) -> str:
    return create_invite(issuer.credentials, (f"127.0.0.1:{port}",), **terms)  # type: ignore[arg-type]


def folders(path: Path) -> set[str]:
    return {each.name for each in path.iterdir()}


async def test_the_new_member_can_dial_the_issuer(issuer: Transport, tmp_path: Path) -> None:
    async with listening(issuer) as (host, port):
        text = invite_at(issuer, port, name="eve", globs=("sessions",), may_write=False)
        joined = await redeem_invite(text, tmp_path / "new")
        assert joined == load_folder(tmp_path / "new")
        assert joined.token_key == issuer.credentials.token_key
        assert joined.network_id == issuer.credentials.network_id
        assert joined.certificate_name == "eve"
        assert (joined.capability.globs, joined.capability.may_write) == (("sessions",), False)
        assert not joined.is_issuer
        connection = await transport(joined).dial(host, port)
        await connection.stream.aclose()
    assert issuer.tally == {"enrolled": 1}


async def test_a_second_use_is_refused_also_after_a_restart(
    issuer: Transport, tmp_path: Path
) -> None:
    async with listening(issuer) as (_, port):
        text = invite_at(issuer, port)
        await redeem_invite(text, tmp_path / "one")
        with pytest.raises(EnrolError, match="used up") as caught:
            await redeem_invite(text, tmp_path / "two")
        assert caught.value.reason is EnrolReason.SPENT
        await until(lambda: issuer.tally["invite-spent"] == 1)
    restarted = transport(load_folder(tmp_path / "net"))
    async with listening(restarted, port=port):
        with pytest.raises(EnrolError, match="used up"):
            await redeem_invite(text, tmp_path / "two")
    assert folders(tmp_path) == {"net", "one"}


async def test_of_two_at_once_one_wins(issuer: Transport, tmp_path: Path) -> None:
    outcomes: list[Credentials | EnrolReason] = []

    async def redeem(text: str, name: str) -> None:
        try:
            outcomes.append(await redeem_invite(text, tmp_path / name))
        except EnrolError as error:
            outcomes.append(error.reason)

    async with listening(issuer) as (_, port):
        text = invite_at(issuer, port)
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(redeem, text, f"peer{number}")
    assert outcomes.count(EnrolReason.SPENT) == 3
    assert len(folders(tmp_path)) == 2


async def test_a_target_in_use_spends_nothing(issuer: Transport, tmp_path: Path) -> None:
    async with listening(issuer) as (_, port):
        text = invite_at(issuer, port)
        with pytest.raises(ConfigError, match="not empty"):
            await redeem_invite(text, tmp_path)
        await redeem_invite(text, tmp_path / "new")


async def test_nobody_there_writes_nothing(issuer: Transport, tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="check that the issuer runs"):
        await redeem_invite(invite_at(issuer, 1), tmp_path / "new")
    assert folders(tmp_path) == {"net"}


async def test_a_member_that_is_no_issuer_says_so(issuer: Transport, tmp_path: Path) -> None:
    (tmp_path / "net" / "ca.key").unlink()
    demoted = transport(load_folder(tmp_path / "net"))
    async with listening(demoted) as (_, port):
        with pytest.raises(TransportError, match="cannot enrol others"):
            await redeem_invite(invite_at(issuer, port), tmp_path / "new")
        await until(lambda: demoted.tally == {"not-issuer": 1})


async def test_an_invite_of_another_network_is_refused(issuer: Transport, tmp_path: Path) -> None:
    other = transport(create_network(tmp_path / "other", "demo"))
    async with listening(other) as (_, port):
        with pytest.raises(TransportError, match="certificate"):
            await redeem_invite(invite_at(issuer, port), tmp_path / "new")
    assert folders(tmp_path) == {"net", "other"}


async def test_an_expired_invite_is_refused_by_the_issuer_too(
    issuer: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the joiner's clock were behind: its own check does not see the expiry."""
    own = issuer.credentials
    assert own.issuer is not None
    now = datetime.now(UTC)
    async with listening(issuer) as (_, port):
        text = invite_at(issuer, port)
        invite = parse_invite(text)
        expired = issue_invite(
            own.issuer.ca_key,
            parse_authority(own.ca_certificate),
            invite.identity.private_key.public_key(),
            invite.terms,
            Validity(now - timedelta(hours=2), now - timedelta(hours=1)),
        ).public_bytes(Encoding.DER)
        monkeypatch.setattr(redeem, "parse_invite", lambda _: evolve(invite, certificate=expired))
        with pytest.raises(EnrolError, match="expired"):
            await redeem.redeem_invite(text, tmp_path / "new")
        await until(lambda: issuer.tally["certificate-expired"] == 1)


async def test_an_invite_makes_no_link(issuer: Transport) -> None:
    async with listening(issuer) as (host, port):
        invite = parse_invite(invite_at(issuer, port))
        contexts = tls_contexts(invite.ca_certificate, invite.certificate, invite.identity)
        tcp = await trio.open_tcp_stream(host, port)
        stream, _ = await secure(tcp, contexts, is_dialer=True)
        await stream.send_all(b"\x00\x00\x00\x05garba")
        answer = b""
        while data := await stream.receive_some():
            answer += data
        await tcp.aclose()
        assert b"enrol-garbage" in answer
        await until(lambda: issuer.tally["enrol-garbage"] == 1)


async def test_an_invite_cannot_listen(issuer: Transport) -> None:
    invite = parse_invite(invite_at(issuer, 1))
    contexts = tls_contexts(invite.ca_certificate, invite.certificate, invite.identity)

    async def pretend(stream: trio.SocketStream) -> None:
        try:
            await secure(stream, contexts, is_dialer=False)
        except HandshakeError:
            await stream.aclose()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, pretend, [listener])
        with pytest.raises(HandshakeError) as caught:
            await issuer.dial("127.0.0.1", listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()
    assert caught.value.reason is HandshakeReason.CERTIFICATE


async def test_a_lost_answer_is_asked_for_again_with_the_same_key(
    issuer: Transport, tmp_path: Path
) -> None:
    """The first address cuts the connection once the use is spent; the second gives the same use."""
    async with listening(issuer) as (host, port), trio.open_nursery() as nursery:

        async def relay_all_but_the_answer(stream: trio.SocketStream) -> None:
            onward = await trio.open_tcp_stream(host, port)
            async with stream, onward, trio.open_nursery() as ends:

                async def forward() -> None:
                    async for data in stream:
                        await onward.send_all(data)

                ends.start_soon(forward)
                async for data in onward:
                    if any((tmp_path / "net").glob("invites/*")):
                        break
                    await stream.send_all(data)
                ends.cancel_scope.cancel()

        (relay,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, relay_all_but_the_answer, [relay])
        relayed = f"127.0.0.1:{relay.socket.getsockname()[1]}"
        text = create_invite(issuer.credentials, (relayed, f"127.0.0.1:{port}"))
        joined = await redeem_invite(text, tmp_path / "new")
        nursery.cancel_scope.cancel()
    (use,) = (tmp_path / "net" / "invites").iterdir()
    assert use.read_text() == joined.identity.peer_id.hex()
    assert issuer.tally["enrolled"] == 2
