"""Building an engine from settings: the one place where embedding meets stores and trio.

Invariant: if anything fails, what was opened before it is closed again.
"""

from gossipsync.runtime.clock import Clock
from gossipsync.runtime.engine import Engine
from gossipsync.runtime.membership import load_membership
from gossipsync.runtime.settings import Settings
from gossipsync.stores import open_store

__all__ = ["build_engine"]


def build_engine(settings: Settings, clock: Clock) -> Engine:
    """An engine ready to run; its store is loaded. Raises ConfigError, StoreError."""
    credentials = load_membership(settings)
    store = open_store(
        settings.store_kind,
        settings.data_dir,
        network=credentials.network_id,
        peer=credentials.identity.peer_id,
    )
    try:
        return Engine(settings, credentials, store, clock)
    except BaseException:
        store.close()
        raise
