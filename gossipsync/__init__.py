"""gossipsync: an embeddable gossip peer mesh.

Every process holds full replicas of some shared buckets in its own memory, reads and writes them at
dictionary speed, and the mesh makes all replicas equal. Importing this package starts nothing.
"""

from importlib.metadata import version as _version

from gossipsync.errors import (
    AckTimeoutError,
    BucketKindError,
    ClosedError,
    ConfigError,
    CursorError,
    EndedKeyError,
    GossipsyncError,
    InternalError,
    KeyTooLongError,
    LocalError,
    NotPermittedError,
    OverloadedError,
    RemoteError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    TokenError,
    TransportError,
    ValueTooLargeError,
    ValueTypeError,
    WaitTimeoutError,
)

__version__ = _version("gossipsync")

__all__ = [
    "AckTimeoutError",
    "BucketKindError",
    "ClosedError",
    "ConfigError",
    "CursorError",
    "EndedKeyError",
    "GossipsyncError",
    "InternalError",
    "KeyTooLongError",
    "LocalError",
    "NotPermittedError",
    "OverloadedError",
    "RemoteError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreLockedError",
    "TokenError",
    "TransportError",
    "ValueTooLargeError",
    "ValueTypeError",
    "WaitTimeoutError",
    "__version__",
]
