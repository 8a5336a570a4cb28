"""Where bundles survive: the stores behind `core.ports.Store`, and the choice between them.

Invariant: whatever is behind the port, a load shows exactly what was committed; tests/stores runs one suite over all.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Final

from gossipsync.core.model.ids import NetworkId, PeerId
from gossipsync.core.ports import Store
from gossipsync.errors import ConfigError
from gossipsync.stores.memory import MemoryStore
from gossipsync.stores.sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore", "open_store"]


_SCHEMES: Final = {
    "redis": ("redis", "RedisStore"),
    "rediss": ("redis", "RedisStore"),
    "unix": ("redis", "RedisStore"),
    "postgresql": ("postgres", "PostgresStore"),
    "postgres": ("postgres", "PostgresStore"),
}
"""Of an address's scheme the extra, which is also the module, and the class."""


def open_store(
    kind: str | None,
    data_dir: str | os.PathLike[str] | None,
    *,
    network: NetworkId,
    peer: PeerId,
) -> Store:
    """Open what the setting `store` names: "memory", "sqlite", an address (`redis://…`, `rediss://…`, `unix://…` for Redis on a
    unix socket, `postgresql://…`), or None or "auto" for what `data_dir` implies.

    Raises ConfigError for another name, for "sqlite" without `data_dir` and where the address's extra is not installed; StoreError
    and its kinds where the store cannot be used.
    """
    match kind, data_dir:
        case ("memory", _) | (None | "auto", None):
            return MemoryStore(keeps=False)
        case "sqlite", None:
            raise ConfigError(
                'store = "sqlite" needs data_dir: set it, or leave store out for memory'
            )
        case None | "auto" | "sqlite", data_dir if data_dir is not None:
            return SqliteStore(data_dir, network=network, peer=peer)
        case str(url), _ if "://" in url:
            return _open_remote(url, data_dir, network, peer)
        case _:
            raise ConfigError(
                f'unknown store {kind!r}: use "auto", "memory", "sqlite", redis://… or postgresql://…'
            )


def _open_remote(
    url: str, data_dir: str | os.PathLike[str] | None, network: NetworkId, peer: PeerId
) -> Store:
    scheme = url.partition("://")[0]
    if scheme not in _SCHEMES:
        # The rest may hold a password.
        raise ConfigError(f"unknown store {scheme}://…: use redis://… or postgresql://…")
    extra, name = _SCHEMES[scheme]
    try:
        module = import_module(f"gossipsync.stores.{extra}")
    except ImportError as error:
        raise ConfigError(
            f"store = {scheme}://… needs more: pip install 'gossipsync[{extra}]' ({error})"
        ) from error
    store: Store = getattr(module, name)(url, network=network, peer=peer, data_dir=data_dir)
    return store
