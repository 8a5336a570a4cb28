"""gossipsync: an embeddable gossip peer mesh.

Every process holds full replicas of some shared buckets in its own memory, reads and writes them at
dictionary speed, and the mesh makes all replicas equal. Importing this package starts nothing.
"""

from typing import TYPE_CHECKING

from gossipsync.errors import (
    AckTimeoutError,
    BucketKindError,
    ClosedError,
    ConfigError,
    CursorError,
    EndedKeyError,
    GossipsyncError,
    HandOverError,
    InternalError,
    KeyTooLongError,
    LocalError,
    NotPermittedError,
    NotReadyError,
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
        Version,
        open,  # noqa: A004 - gossipsync.open, as the contract says
        open_async,
    )

    __version__: str
else:

    def __getattr__(name: str) -> object:
        """What takes time to import, when it is asked for (PEP 562): the command line needs little of it."""
        if name == "__version__":
            from gossipsync.runtime.version import VERSION

            return VERSION
        if name in __all__:
            from gossipsync import embed

            return getattr(embed, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return __all__


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
    "HandOverError",
    "InternalError",
    "KeyTooLongError",
    "LocalError",
    "Member",
    "Mesh",
    "NotPermittedError",
    "NotReadyError",
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
    "Version",
    "WaitTimeoutError",
    "__version__",
    "open",
    "open_async",
]
