"""Settings of one peer: what may be set, and what each value is once it has been read.

`Settings` is the end of the road: typed, checked against each other, paths absolute. Where values
come from is the business of `sources.py`.

Invariant: a `Settings` that exists can be started without asking the user anything more about it,
and its repr shows no secret.
"""

import socket
from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Final

from attrs import field, frozen

from gossipsync.core.model.address import split_address
from gossipsync.core.model.bucket import Deletes, Kind, check_bucket_name
from gossipsync.core.model.text import MAX_NAME_BYTES, is_clean_text
from gossipsync.errors import ConfigError
from gossipsync.runtime import readers

__all__ = [
    "BUCKET_READERS",
    "NOT_READY",
    "NO_BUCKET_SETTINGS",
    "PATHS",
    "READERS",
    "UNREADY",
    "BucketSettings",
    "Settings",
]

_MS_PER_S: Final = 1000


@frozen
class BucketSettings:
    """What one `[buckets.NAME]` table says; None where it says nothing."""

    kind: Kind | None = None
    ttl: float | None = None
    """Seconds."""
    deletes: Deletes | None = None
    history: float | None = None
    """Seconds."""
    unready: str | None = None
    """What reads do before this peer is ready: "wait", "raise" or "empty". Of this process alone, never announced."""

    @property
    def history_ms(self) -> int | None:
        """The history in milliseconds, at least one."""
        return None if self.history is None else max(1, round(self.history * _MS_PER_S))

    @property
    def ttl_ms(self) -> int | None:
        """The ttl in milliseconds, at least one."""
        return None if self.ttl is None else max(1, round(self.ttl * _MS_PER_S))

    def check(self, name: str) -> None:
        """Raise ConfigError where these rules can hold for no bucket."""
        try:
            check_bucket_name(name)
        except ValueError as error:
            raise ConfigError(f"bucket {name!r}: {error}") from error
        if self.deletes is Deletes.FINAL and self.ttl is None:
            raise ConfigError(f'bucket {name!r}: deletes="final" needs a ttl')

    def over(self, other: "BucketSettings") -> "BucketSettings":
        """These settings, with the other's where they say nothing."""
        return BucketSettings(
            other.kind if self.kind is None else self.kind,
            other.ttl if self.ttl is None else self.ttl,
            other.deletes if self.deletes is None else self.deletes,
            other.history if self.history is None else self.history,
            other.unready if self.unready is None else self.unready,
        )

    def differs_from(self, other: "BucketSettings") -> bool:
        """Whether both say something and not the same."""
        return self.over(other) != other.over(self)

    def __str__(self) -> str:
        said = {
            "kind": self.kind,
            "ttl": self.ttl,
            "deletes": self.deletes,
            "history": self.history,
            "unready": self.unready,
        }
        words = [
            f"{name}={part.name.lower() if isinstance(part, IntEnum) else part}"
            for name, part in said.items()
            if part is not None
        ]
        return ", ".join(words) or "no arguments"


NO_BUCKET_SETTINGS: Final = BucketSettings()
UNREADY: Final = ("wait", "raise", "empty")
NOT_READY: Final = (
    "bucket {bucket!r} is not ready: this peer has not yet received the mesh's data; try again in a moment, "
    "and see status if it lasts"
)


def _default_name() -> str:
    """This machine's name, unless it is one that other peers would refuse."""
    name = socket.gethostname()
    return name if is_clean_text(name, MAX_NAME_BYTES) else "peer"


@frozen(kw_only=True)
class Settings:
    """All settings of one peer, under the names that users type. Durations are seconds.

    `folder` is where relative paths started; `config` the file that was read, if any.
    """

    name: str = field(factory=_default_name)
    data_dir: Path | None = None
    listen: str = "127.0.0.1:0"
    advertise: str | None = None
    seeds: tuple[str, ...] = ()
    zone: str = ""
    cluster_key: str | None = field(default=None, repr=False)
    cluster_key_file: Path | None = None
    credentials: Path | None = None
    socket: Path | None = None
    placement: str = "process"
    store: str | None = field(default=None, repr=False)
    """An address may hold a password."""
    gossip_interval: float = 1.0
    fanout: int = 1
    max_skew: float = 60.0
    horizon: float = 3600.0
    ack_timeout: float = 5.0
    start_wait: float = 2.0
    buckets: Mapping[str, BucketSettings] = field(factory=dict)
    config: Path | None = None

    @property
    def is_lone(self) -> bool:
        """Whether this peer has no network: nothing listens, nobody is dialled."""
        return not (self.cluster_key or self.cluster_key_file or self.credentials)

    @property
    def store_kind(self) -> str:
        """The store in use: as set, else SQLite where there is a folder for it, else memory."""
        return self.store or ("memory" if self.data_dir is None else "sqlite")

    @property
    def has_control_socket(self) -> bool:
        """Whether the command line can reach this peer; one in memory that is alone has no use for it."""
        return not (self.is_lone and self.socket is None and self.data_dir is None)

    def check(self, given: frozenset[str]) -> None:
        """Raise ConfigError for values that are right alone and wrong together.

        `given` are the names that were set on purpose.
        """
        keys = [
            name for name in ("cluster_key", "cluster_key_file", "credentials") if name in given
        ]
        if len(keys) > 1:
            raise ConfigError(
                f"{' and '.join(keys)} are set together; a peer has one membership: keep one of them"
            )
        useless = [name for name in ("seeds", "listen", "advertise") if name in given]
        if self.is_lone and useless:
            raise ConfigError(
                f"{' and '.join(useless)} without a key: nothing listens and nobody is dialled; set "
                "cluster_key (gossipsync keygen), cluster_key_file or credentials (gossipsync init)"
            )
        if self.store_kind == "sqlite" and self.data_dir is None:
            raise ConfigError(f"store={self.store!r} needs a data_dir to keep its file in")
        if "://" in self.store_kind and self.data_dir is None and self.credentials is None:
            raise ConfigError(
                "a store on a server needs a data_dir too, to keep the peer's key in: without it every start is another peer"
            )
        if self.advertise is not None and split_address(self.advertise)[0] in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            raise ConfigError(
                f"advertise={self.advertise!r} is no address that others can dial; name this machine"
            )
        for name, bucket in self.buckets.items():
            bucket.check(name)


READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "name": readers.read_name,
    "data_dir": readers.read_path,
    "listen": readers.read_address,
    "advertise": readers.read_address,
    "seeds": readers.read_addresses,
    "zone": readers.read_name,
    "cluster_key": readers.read_secret_text,
    "cluster_key_file": readers.read_path,
    "credentials": readers.read_path,
    "socket": readers.read_path,
    "placement": readers.choice("process"),
    "store": readers.read_store,
    "gossip_interval": readers.parse_duration,
    "fanout": readers.read_positive_int,
    "max_skew": readers.parse_duration,
    "horizon": readers.parse_duration,
    "ack_timeout": readers.parse_duration,
    "start_wait": readers.parse_pause,
}
PATHS: Final = frozenset({"data_dir", "cluster_key_file", "credentials", "socket"})

BUCKET_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "kind": readers.read_kind,
    "ttl": readers.parse_duration,
    "deletes": readers.read_deletes,
    "history": readers.parse_duration,
    "unready": readers.choice(*UNREADY),
}
