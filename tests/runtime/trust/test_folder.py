"""The credentials folder: whole or absent, private, and clear about what is wrong with it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gossipsync.errors import ConfigError
from gossipsync.runtime.trust import create_network, load_folder
from gossipsync.runtime.trust.certificates import Validity, issue_member


def test_a_new_network_loads_again_the_same(tmp_path: Path) -> None:
    made = create_network(tmp_path / "net", "demo")
    loaded = load_folder(tmp_path / "net")
    assert loaded == made
    assert loaded.is_issuer
    assert loaded.network_name == "demo"
    assert loaded.token_key == made.token_key


def test_everything_is_private(tmp_path: Path) -> None:
    create_network(tmp_path / "net", "demo")
    assert (tmp_path / "net").stat().st_mode & 0o777 == 0o700
    files = list((tmp_path / "net").iterdir())
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {path.name for path in files} == {
        *("ca.pem", "ca.key", "certificate.pem", "identity.key", "token.key")
    }
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_a_target_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("me")
    with pytest.raises(ConfigError, match="not empty"):
        create_network(tmp_path, "demo")
    assert [path.name for path in tmp_path.iterdir()] == ["keep"]
    with pytest.raises(ConfigError, match="not empty"):
        create_network(tmp_path / "keep", "demo")
    assert (tmp_path / "keep").read_text() == "me"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir(mode=0o755)
    create_network(tmp_path / "net", "demo")
    assert (tmp_path / "net").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_names_out_of_bounds_make_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        create_network(tmp_path / "net", name)
    assert not (tmp_path / "net").exists()


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def overwrite(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def copy(name: str) -> Callable[[Path], object]:
    """The same file of another network."""
    return lambda folder: (folder / name).write_bytes((folder.parent / "other" / name).read_bytes())


def expire(folder: Path) -> None:
    own = load_folder(folder)
    assert own.issuer is not None
    now = datetime.now(UTC)
    certificate = issue_member(
        own.issuer.ca_key,
        x509.load_der_x509_certificate(own.ca_certificate),
        own.identity.peer_id,
        name="old",
        globs=("*",),
        may_write=True,
        validity=Validity(now - timedelta(days=2), now - timedelta(days=1)),
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (remove("ca.pem"), r"ca\.pem.* is missing"),
        (remove("identity.key"), r"identity\.key.* is missing"),
        (remove("token.key"), r"token\.key.* is missing"),
        (overwrite("ca.pem", b"garbage"), r"ca\.pem is no certificate"),
        (overwrite("certificate.pem", b""), r"certificate\.pem is no certificate"),
        (overwrite("token.key", b"abcd"), r"token\.key is no token key"),
        (overwrite("token.key", b"\xff" * 64), r"token\.key is no token key"),
        (copy("certificate.pem"), "no certificate of the network"),
        (copy("identity.key"), "belongs to another key"),
        (copy("ca.pem"), "no certificate of the network"),
        (copy("ca.key"), r"not the key of ca\.pem"),
        (expire, "has expired"),
        (lambda folder: folder.chmod(0o755), "chmod 700"),
        (lambda folder: (folder / "token.key").chmod(0o644), "chmod 600"),
        (lambda folder: (folder / "ca.key").chmod(0o644), "chmod 600"),
    ],
)
def test_damage_is_told(tmp_path: Path, damage: Callable[[Path], object], told: str) -> None:
    create_network(tmp_path / "net", "demo")
    create_network(tmp_path / "other", "demo")
    damage(tmp_path / "net")
    with pytest.raises(ConfigError, match=told):
        load_folder(tmp_path / "net")


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_folder(tmp_path / "absent")


def test_without_the_authoritys_key_it_is_no_issuer(tmp_path: Path) -> None:
    create_network(tmp_path / "net", "demo")
    (tmp_path / "net" / "ca.key").unlink()
    assert not load_folder(tmp_path / "net").is_issuer


def test_secrets_do_not_show(tmp_path: Path) -> None:
    credentials = create_network(tmp_path / "net", "demo")
    assert repr(credentials.token_key)[2:-1] not in repr(credentials)
    assert "ca_key" not in repr(credentials)
