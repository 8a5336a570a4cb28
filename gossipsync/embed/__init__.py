"""Embedding: `open`, `open_async` and the objects they give, for threads, asyncio and trio.

Reads and writes touch only this process's memory and are ordinary calls in every flavour; what truly
waits has a blocking and an awaitable form. Importing this starts nothing and imports no trio.
"""

from gossipsync.embed._async_bucket import AsyncBucket
from gossipsync.embed._async_mesh import AsyncMesh
from gossipsync.embed._batch import AsyncBatch, Batch
from gossipsync.embed._bucket import Bucket
from gossipsync.embed._durations import NEVER
from gossipsync.embed._mesh import Mesh
from gossipsync.embed._open import open, open_async  # noqa: A004 - gossipsync.open, as the contract says
from gossipsync.embed._receipts import AsyncReceipt, Receipt
from gossipsync.embed._values import Change, Entry, Event, Member, Status, Version
from gossipsync.embed._views import Counter, Elements, Fields

__all__ = [
    "NEVER",
    "AsyncBatch",
    "AsyncBucket",
    "AsyncMesh",
    "AsyncReceipt",
    "Batch",
    "Bucket",
    "Change",
    "Counter",
    "Elements",
    "Entry",
    "Event",
    "Fields",
    "Member",
    "Mesh",
    "Receipt",
    "Status",
    "Version",
    "open",
    "open_async",
]
