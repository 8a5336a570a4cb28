"""Invites without a network: their text, their terms, and that a use is spent once."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from gossipsync.core.model.ids import PeerId
from gossipsync.errors import ConfigError, NotPermittedError
from gossipsync.runtime.trust import (
    Credentials,
    Identity,
    create_invite,
    create_network,
    credentials_from_cluster_key,
    keygen,
    parse_invite,
)
from gossipsync.runtime.trust.certificates import EnrolTerms
from gossipsync.runtime.trust.invites import spend_use

ADDRESSES = ("127.0.0.1:7946",)


@pytest.fixture
def issuer(tmp_path: Path) -> Credentials:
    return create_network(tmp_path / "net", "demo")


def peer(number: int) -> PeerId:
    return PeerId(bytes([number]) * 32)


def test_an_invite_says_what_was_granted(issuer: Credentials) -> None:
    text = create_invite(issuer, ADDRESSES, name="eve", globs=("s-*",), uses=3, may_write=False)
    invite = parse_invite(text)
    terms = invite.terms
    assert (terms.name, terms.globs, terms.uses, terms.may_write) == ("eve", ("s-*",), 3, False)
    assert invite.addresses == ADDRESSES
    assert invite.network_id == issuer.network_id
    assert parse_invite("\n".join(text[i : i + 60] for i in range(0, len(text), 60))) == invite


def test_only_an_issuer_invites() -> None:
    member = credentials_from_cluster_key(keygen(), Identity.generate())
    with pytest.raises(NotPermittedError, match="cannot invite"):
        create_invite(member, ADDRESSES)


def test_terms_are_bounded(issuer: Credentials) -> None:
    with pytest.raises(ConfigError):
        create_invite(issuer, ())
    with pytest.raises(ConfigError):
        create_invite(issuer, ADDRESSES, uses=0)
    with pytest.raises(ConfigError):
        create_invite(issuer, ADDRESSES, ttl=timedelta(0))
    with pytest.raises(ConfigError):
        create_invite(issuer, ADDRESSES, name="")
    with pytest.raises(ConfigError):
        create_invite(issuer, ADDRESSES, globs=())


def test_damage_is_told_without_quoting_it(issuer: Credentials) -> None:
    text = create_invite(issuer, ADDRESSES)
    for damaged in ("", "gsi1.", "gsi2." + text[5:], text[:-1], text[:300], text + "AA", text * 40):
        with pytest.raises(ConfigError) as caught:
            parse_invite(damaged)
        assert text[20:40] not in str(caught.value)
        assert caught.value.__cause__ is None


def test_every_altered_character_is_told(issuer: Credentials) -> None:
    text = create_invite(issuer, ("a:1",))
    good = parse_invite(text)
    for place in range(5, len(text), 7):
        altered = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        try:
            invite = parse_invite(altered)
        except ConfigError:
            continue
        assert invite.certificate == good.certificate  # only the addresses are not signed
        assert invite.ca_certificate == good.ca_certificate


def test_an_expired_invite_is_told(issuer: Credentials) -> None:
    text = create_invite(issuer, ADDRESSES, ttl=timedelta(microseconds=1))
    with pytest.raises(ConfigError, match="expired"):
        parse_invite(text)


def test_the_secret_does_not_show(issuer: Credentials) -> None:
    invite = parse_invite(create_invite(issuer, ADDRESSES))
    seed = invite.identity.private_key.private_bytes_raw()
    assert repr(seed)[2:-1] not in repr(invite)


def test_uses_are_spent_once_and_the_same_key_may_ask_again(tmp_path: Path) -> None:
    terms = EnrolTerms(bytes(16), 2, None, ("*",), True)
    folder = tmp_path / "invites"
    assert spend_use(folder, terms, peer(1))
    assert spend_use(folder, terms, peer(1))
    assert spend_use(folder, terms, peer(2))
    assert not spend_use(folder, terms, peer(3))
    assert spend_use(folder, terms, peer(2))
    assert len(list(folder.iterdir())) == 2


def test_of_many_at_once_exactly_the_uses_win(tmp_path: Path) -> None:
    terms = EnrolTerms(bytes(16), 3, None, ("*",), True)
    gate = threading.Barrier(12)
    won: list[int] = []

    def ask(number: int) -> None:
        gate.wait()
        if spend_use(tmp_path, terms, peer(number)):
            won.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 3
