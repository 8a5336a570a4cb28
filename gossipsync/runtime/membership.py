"""From settings to a membership: whose key this peer has, and which network it belongs to.

A peer without cluster key and credentials has a network of its own, which nobody else can join. Where it
has a data folder that network is kept there, so that its journal still verifies after a restart.

Invariant: the same data folder and settings give the same peer in the same network at every start.
"""

from pathlib import Path
from typing import Final

from gossipsync.errors import ConfigError
from gossipsync.runtime.settings import Settings
from gossipsync.runtime.trust._files import create_file, read_secret
from gossipsync.runtime.trust.cluster_key import keygen
from gossipsync.runtime.trust.credentials import Credentials, credentials_from_cluster_key
from gossipsync.runtime.trust.folder import load_folder
from gossipsync.runtime.trust.identity import Identity, load_or_create_identity

__all__ = ["load_membership"]

_LONE_KEY_FILE: Final = "lone.key"


def load_membership(settings: Settings) -> Credentials:
    """Credentials for these settings; makes the data folder and this peer's key where they are missing.

    Raises ConfigError.
    """
    folder = settings.data_dir
    if folder is not None:
        _make_folder(folder)
    if settings.credentials is not None:
        return load_folder(settings.credentials)
    identity = Identity.generate() if folder is None else load_or_create_identity(folder)
    key = settings.cluster_key or (keygen() if folder is None else _lone_key(folder))
    return credentials_from_cluster_key(key, identity)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot use data_dir {folder}: {error.strerror}") from error


def _lone_key(folder: Path) -> str:
    path = folder / _LONE_KEY_FILE
    try:
        if not path.exists():
            create_file(path, keygen().encode())
    except OSError as error:
        raise ConfigError(f"cannot write to data_dir {folder}: {error.strerror}") from error
    return read_secret(path).decode("ascii", errors="replace")
