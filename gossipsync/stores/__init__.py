"""Where bundles survive: the stores behind `core.ports.Store`, and the choice between them.

Invariant: whatever is behind the port, a load shows exactly what was committed; tests/stores runs one suite over all.
"""

from __future__ import annotations

import os

from gossipsync.core.model.ids import NetworkId, PeerId
from gossipsync.core.ports import Store
from gossipsync.errors import ConfigError
from gossipsync.stores.memory import MemoryStore
from gossipsync.stores.sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore", "open_store"]


def open_store(
    kind: str | None,
    data_dir: str | os.PathLike[str] | None,
    *,
    network: NetworkId,
    peer: PeerId,
) -> Store:
    """Open what the setting `store` names: "memory", "sqlite", or None or "auto" for what `data_dir` implies.

    Raises ConfigError for another name or for "sqlite" without `data_dir`, and what SqliteStore raises.
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
        case _:
            raise ConfigError(f'unknown store {kind!r}: use "auto", "memory" or "sqlite"')
