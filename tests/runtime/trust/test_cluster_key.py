"""Cluster keys: one text, one network; a typo is told."""

from hashlib import sha256

import pytest

from gossipsync.errors import ConfigError
from gossipsync.runtime.trust import Identity, X509Verifier, credentials_from_cluster_key, keygen
from gossipsync.runtime.trust.cluster_key import derive_secrets

# Made by this code on 2026-11-21 from the bytes 0 … 31; a change here parts old and new instances.
GOLDEN_KEY = "gsk1-aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dyp5mo3l"
GOLDEN_NETWORK = "c2b4c9da7ff477d4b7368d2a9dfed2d8c7046b6c758282158b5788b4c68db5df"
GOLDEN_TOKEN_KEY = "71ad345eeca79753a1989b2f9fb1c41740a1855313ccf9ebf05bd1fdc265eb9c"
GOLDEN_AUTHORITY = "7b8b93b55a17b30d77e598db381ab37c54611d33e35f9814f90ad34c828de1c6"


def test_a_key_stands_for_the_same_network_for_ever() -> None:
    credentials = credentials_from_cluster_key(GOLDEN_KEY, Identity.generate())
    assert credentials.network_id.hex() == GOLDEN_NETWORK
    assert credentials.token_key.hex() == GOLDEN_TOKEN_KEY
    assert sha256(credentials.ca_certificate).hexdigest() == GOLDEN_AUTHORITY


def test_keys_are_random_and_readable() -> None:
    assert keygen() != keygen()
    assert keygen().startswith("gsk1-")
    assert len(keygen()) == len("gsk1-") + 56


def test_every_single_typo_is_told() -> None:
    key = keygen()
    for place in range(5, len(key)):
        typo = key[:place] + ("a" if key[place] != "a" else "b") + key[place + 1 :]
        with pytest.raises(ConfigError, match="checksum") as caught:
            derive_secrets(typo)
        assert typo not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "gsk1-", "gsk2-aaaa", "password", keygen()[:-1], keygen() + "a"]
)
def test_what_is_no_key_is_told(text: str) -> None:
    with pytest.raises(ConfigError):
        derive_secrets(text)


def test_case_and_blanks_around_do_not_matter() -> None:
    key = keygen()
    assert derive_secrets(f" {key.upper()}\n").token_key == derive_secrets(key).token_key


def test_instances_with_one_key_believe_each_other_and_no_others() -> None:
    key = keygen()
    mine = credentials_from_cluster_key(key, Identity.generate())
    theirs = credentials_from_cluster_key(key, Identity.generate())
    foreign = credentials_from_cluster_key(keygen(), Identity.generate())
    assert mine.ca_certificate == theirs.ca_certificate
    assert mine.network_id == theirs.network_id != foreign.network_id
    assert mine.token_key == theirs.token_key != foreign.token_key
    verifier = X509Verifier(mine.ca_certificate)
    assert verifier.read_credential(theirs.certificate) == (
        theirs.identity.peer_id,
        theirs.capability,
    )
    assert verifier.read_credential(foreign.certificate) is None
    assert not mine.is_issuer
    assert mine.has_cluster_key


def test_secrets_do_not_show() -> None:
    key = keygen()
    credentials = credentials_from_cluster_key(key, Identity.generate())
    shown = repr(credentials) + repr(derive_secrets(key))
    seed = credentials.identity.private_key.private_bytes_raw()
    for secret in (credentials.token_key, seed):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
    assert "PRIVATE" not in shown
