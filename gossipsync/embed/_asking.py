"""What `mesh.bucket(...)` asks a bucket to be. Apart, because reading settings imports trio.

Invariant: arguments that no bucket could have are refused at the call, before the mesh is started.
"""

from collections.abc import Callable
from typing import TypeVar

from gossipsync.core.model.bucket import check_bucket_name
from gossipsync.embed._durations import NEVER, Ttl
from gossipsync.errors import ConfigError
from gossipsync.runtime.durations import UnreadableError, parse_duration
from gossipsync.runtime.readers import choice, read_deletes, read_kind
from gossipsync.runtime.settings import UNREADY, BucketSettings

__all__ = ["asked_of"]

T = TypeVar("T")


def asked_of(
    name: str, kind: object, ttl: Ttl, deletes: object, history: object, unready: object
) -> BucketSettings:
    """The arguments as settings; None and NEVER say nothing. Raises ConfigError."""
    try:
        check_bucket_name(name)
    except ValueError as error:
        raise ConfigError(f"bucket {name!r}: {error}") from None
    return BucketSettings(
        kind=_read(name, "kind", read_kind, kind),
        ttl=_read(name, "ttl", parse_duration, None if ttl is NEVER else ttl),
        deletes=_read(name, "deletes", read_deletes, deletes),
        history=_read(name, "history", parse_duration, history),
        unready=_read(name, "unready", choice(*UNREADY), unready),
    )


def _read(name: str, argument: str, reader: Callable[[object], T], given: object) -> T | None:
    try:
        return None if given is None else reader(given)
    except UnreadableError as error:
        raise ConfigError(f"bucket {name!r}: {argument}: {error}") from None
