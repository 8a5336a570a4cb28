"""gossipsync: an embeddable gossip peer mesh.

Every process holds full replicas of some shared buckets in its own memory, reads and writes them at
dictionary speed, and the mesh makes all replicas equal. Importing this package starts nothing.
"""

from typing import TYPE_CHECKING

from gossipsync.embed import (
    NEVER,
    AsyncBatch,
    AsyncBucket,
    AsyncMesh,
    AsyncReceipt,
    Batch,
    Bucket,
    Change,
    Counter,
    Elements,
    Entry,
    Event,
    Fields,
    Member,
    Mesh,
    Receipt,
    Status,
    open,  # noqa: A004 - gossipsync.open, as the contract says
    open_async,
)
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

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> object:
        """`__version__`, looked up when asked for: reading metadata takes longer than all else here."""
        if name == "__version__":
            from gossipsync.runtime.version import own_version

            return own_version()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "NEVER",
    "AckTimeoutError",
    "AsyncBatch",
    "AsyncBucket",
    "AsyncMesh",
    "AsyncReceipt",
    "Batch",
    "Bucket",
    "BucketKindError",
    "Change",
    "ClosedError",
    "ConfigError",
    "Counter",
    "CursorError",
    "Elements",
    "EndedKeyError",
    "Entry",
    "Event",
    "Fields",
    "GossipsyncError",
    "InternalError",
    "KeyTooLongError",
    "LocalError",
    "Member",
    "Mesh",
    "NotPermittedError",
    "OverloadedError",
    "Receipt",
    "RemoteError",
    "Status",
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
    "open",
    "open_async",
]
