"""The credentials folder: a membership kept by an operator, made by `init` and `join`.

Files, all of mode 0600 in a folder of mode 0700::

    ca.pem           the network's authority (X.509)
    certificate.pem  this peer's certificate (X.509)
    identity.key     this peer's private key (PKCS #8)
    token.key        64 hexadecimal digits: the key that authenticates tokens
    ca.key           the authority's private key (PKCS #8); only where others are enrolled
    invites/         one file for each use of an invite; only beside ca.key

Invariant: a folder appears whole, by one rename, or not at all; an existing one is never changed.
"""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_bytes, token_hex

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from gossipsync.errors import ConfigError
from gossipsync.runtime.trust._files import (
    check_private_folder,
    create_file,
    flush_folder,
    is_vacant,
    read_file,
    read_secret,
)
from gossipsync.runtime.trust.certificates import (
    FOREVER,
    common_name,
    issue_authority,
    issue_member,
    network_id_of,
)
from gossipsync.runtime.trust.credentials import Credentials, Issuer
from gossipsync.runtime.trust.identity import IDENTITY_FILE, Identity, read_identity
from gossipsync.runtime.trust.reading import parse_authority, read_member

__all__ = ["check_vacant", "create_network", "load_folder", "member_files", "write_folder"]

_AUTHORITY_FILE = "ca.pem"
_CERTIFICATE_FILE = "certificate.pem"
_TOKEN_FILE = "token.key"  # noqa: S105 — a file name
_AUTHORITY_KEY_FILE = "ca.key"
_INVITES_FOLDER = "invites"
_TOKEN_KEY_BYTES = 32
_MAX_NAME_BYTES = 64  # X.520's bound for a common name


def create_network(target: Path, network_name: str, peer_name: str = "issuer") -> Credentials:
    """Make a network: its authority, and the first peer's credentials, in a new folder.

    Raises ConfigError if the target exists and is not an empty folder, which is then left alone.
    """
    check_vacant(target)
    for name in (network_name, peer_name):
        if not 0 < len(name.encode()) <= _MAX_NAME_BYTES:
            raise ConfigError(f"a name has 1 to {_MAX_NAME_BYTES} bytes: {name!r}")
    ca_key = Ed25519PrivateKey.generate()
    authority = issue_authority(ca_key, network_name)
    identity = Identity.generate()
    certificate = issue_member(
        ca_key,
        authority,
        identity.peer_id,
        name=peer_name,
        globs=("*",),
        may_write=True,
        validity=FOREVER,
    )
    files = member_files(
        authority.public_bytes(Encoding.DER),
        certificate.public_bytes(Encoding.DER),
        identity,
        token_bytes(_TOKEN_KEY_BYTES),
    )
    write_folder(target, files | {_AUTHORITY_KEY_FILE: Identity.of(ca_key).to_pem()})
    return load_folder(target)


def load_folder(folder: Path) -> Credentials:
    """The credentials in a folder. Raises ConfigError that says what is wrong and what to do."""
    check_private_folder(folder)
    try:
        return _load(folder)
    except FileNotFoundError as error:
        missing = error.filename
        raise ConfigError(
            f"{missing} is missing; restore it, or make the folder anew with "
            "`gossipsync init` or `gossipsync join`"
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot read credentials in {folder}: {error.strerror}") from error


def check_vacant(target: Path) -> None:
    """Raise ConfigError unless a new folder may take this path."""
    try:
        vacant = is_vacant(target)
    except OSError as error:
        raise ConfigError(f"cannot use {target}: {error.strerror}") from error
    if not vacant:
        raise ConfigError(f"{target} exists and is not empty; nothing was changed; choose another")


def member_files(
    ca: bytes, certificate: bytes, identity: Identity, token_key: bytes
) -> dict[str, bytes]:
    """The files of a member's folder by name; certificates are given as DER."""
    return {
        _AUTHORITY_FILE: _to_pem(ca),
        _CERTIFICATE_FILE: _to_pem(certificate),
        IDENTITY_FILE: identity.to_pem(),
        _TOKEN_FILE: token_key.hex().encode() + b"\n",
    }


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder with all of the files, or nothing. Raises ConfigError."""
    beside = target.with_name(f".{target.name}.{token_hex(8)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.mkdir(mode=0o700)
        try:
            for name, content in files.items():
                create_file(beside / name, content)
            beside.rename(target)  # takes the place of nothing or of an empty folder, else it fails
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        flush_folder(target.parent)
    except OSError as error:
        raise ConfigError(f"cannot make {target}: {error.strerror}") from error


def _load(folder: Path) -> Credentials:
    authority = _read_authority(folder / _AUTHORITY_FILE)
    identity = read_identity(folder / IDENTITY_FILE)
    path = folder / _CERTIFICATE_FILE
    certificate = _read_certificate(path)
    try:
        peer_id, capability = read_member(certificate, authority)
    except ValueError as error:
        raise ConfigError(f"{path} is no certificate of the network in ca.pem: {error}") from error
    if peer_id != identity.peer_id:
        raise ConfigError(
            f"{path} belongs to another key than {IDENTITY_FILE}; restore both together"
        )
    now_ms = (datetime.now(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    if not capability.is_valid_at(now_ms):
        raise ConfigError(
            f"{path} has expired or is not yet valid; check this machine's clock, "
            "or ask the network's operator for a new invite"
        )
    return Credentials(
        network_id=network_id_of(authority),
        network_name=common_name(authority),
        ca_certificate=authority.public_bytes(Encoding.DER),
        certificate=certificate,
        identity=identity,
        capability=capability,
        token_key=_read_token_key(folder / _TOKEN_FILE),
        has_cluster_key=False,
        issuer=_read_issuer(folder, authority),
    )


def _read_authority(path: Path) -> x509.Certificate:
    der = _read_certificate(path)
    try:
        return parse_authority(der)
    except ValueError as error:
        raise ConfigError(f"{path} is no authority of a network: {error}") from error


def _read_issuer(folder: Path, authority: x509.Certificate) -> Issuer | None:
    path = folder / _AUTHORITY_KEY_FILE
    try:
        ca = read_identity(path)
    except FileNotFoundError:
        return None
    if ca.private_key.public_key() != authority.public_key():
        raise ConfigError(f"{path} is not the key of {_AUTHORITY_FILE}; restore both together")
    return Issuer(ca.private_key, folder / _INVITES_FOLDER)


def _read_token_key(path: Path) -> bytes:
    try:
        key = bytes.fromhex(read_secret(path).decode("ascii"))
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        key = b""
    if len(key) != _TOKEN_KEY_BYTES:
        raise ConfigError(f"{path} is no token key; restore it from a backup or another member")
    return key


def _read_certificate(path: Path) -> bytes:
    content = read_file(path)
    try:
        return x509.load_pem_x509_certificate(content).public_bytes(Encoding.DER)
    except ValueError as error:
        raise ConfigError(f"{path} is no certificate; restore it from a backup") from error


def _to_pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
