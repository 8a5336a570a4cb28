"""What the core needs of the outside world, in a handful of verbs: a store, a verifier, randomness.

A driver hands them in; the simulator hands in others than the trio runtime. None of these calls may block on I/O, but
`Store.load_*` (once, at the start), and `Store.commit` and `Store.close`, which the driver calls, never the core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from gossipsync.core.model.capability import Capability
from gossipsync.core.model.ids import Origin, PeerId

Sign = Callable[[bytes], bytes]
"""Signs with this peer's Ed25519 key: message -> 64 bytes."""


class StoredLog(NamedTuple):
    """A log's line as a store keeps it."""

    last: int
    """Number of the last bundle that this log is known up to; 0 for none."""
    note: bytes | None
    """≤ 128 opaque bytes that the core keeps beside a line; None for most."""


class Store(Protocol):
    """Logs: of each its line and its pieces, which are bundles as received or what is left of them; and small named heads.

    `append`, `put_*` and `drop_log` only buffer; `commit` makes all that was buffered before it durable, in that order and
    atomically, or raises StoreError and keeps it buffered for the next try. They may be called while a `commit` runs in another
    thread. A log comes to be with its first piece or line, and stays until `drop_log`. Indexes are below `MAX_PLACE`.
    A call that breaks a rule raises InternalError and buffers nothing.
    """

    @property
    def place(self) -> str:
        """Where the data is, for error messages: a file's path, or an address without secrets."""
        ...

    @property
    def doubt(self) -> str | None:
        """Why what is loaded may be older or less than what was once committed; None where nothing says so."""
        ...

    def load_logs(self) -> dict[tuple[str, Origin], StoredLog]:
        """Every committed log by its bucket and origin."""
        ...

    def load_pieces(self) -> Iterator[tuple[str, Origin, int, bytes]]:
        """(bucket, origin, index, piece) of every committed bundle or what is left of it, each log in index order.

        Gaps, and pieces beyond `last`, are allowed. A load is of one moment: where a commit overtakes it, it goes on as if
        there had been none, or raises StoreError. Raises StoreCorruptError.
        """
        ...

    def load_heads(self) -> dict[str, bytes]:
        """Every committed head by its name."""
        ...

    def append(self, bucket: str, origin: Origin, index: int, bundle: bytes) -> None:
        """Buffer the next bundle of its log: `index` is `last` + 1, and `last` moves. A piece that is there is replaced."""
        ...

    def put_piece(self, bucket: str, origin: Origin, index: int, piece: bytes | None) -> None:
        """Buffer what is left of a bundle, in place of what was there, or a part of one that came by itself.

        None: nothing is left. Never moves `last`.
        """
        ...

    def put_line(self, bucket: str, origin: Origin, last: int, note: bytes | None) -> None:
        """Buffer that the log's line moves to `last`, never backwards, with this note."""
        ...

    def drop_log(self, bucket: str, origin: Origin) -> None:
        """Buffer that a log, its pieces and its line are forgotten; nothing happens where there is none."""
        ...

    def put_head(self, name: str, value: bytes | None) -> None:
        """Buffer a small named value (≤ 64 KiB) that replaces the former one; None removes it."""
        ...

    def begin_rewrite(self) -> None:
        """Buffer that the whole state is going to be put again: each log after `drop_log`, and each head."""
        ...

    def end_rewrite(self) -> None:
        """Buffer that it was. With the next commit everything else goes; a load before that has a `doubt`."""
        ...

    def commit(self) -> None:
        """Make durable all that was buffered. Blocking; called in a worker thread. Raises StoreError.

        Each commit proves that the one before it is there; where it is not, StoreBehindError, and nothing is written before
        `begin_rewrite`.

        Called with nothing buffered some time after pieces were taken out, in a moment without writes: time to tidy up.
        """
        ...

    def close(self) -> None:
        """Release files and locks, without committing. Idempotent."""
        ...


class Verifier(Protocol):
    """Signatures and credentials."""

    def verify(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Is this the Ed25519 signature of `message` by `public_key`? Never raises for what a remote sent."""
        ...

    def read_credential(self, der: bytes) -> tuple[bytes, Capability] | None:
        """(peer key, capability) of a member's certificate that this network's CA signed; None for anything else."""
        ...


class Directory(Protocol):
    """Who is in the mesh, where somebody else vouches for it: then nobody gossips presence.

    For meshes whose members are written down elsewhere; one directory may serve many peers of one process.
    """

    def __len__(self) -> int:
        """Members, the asking peer included."""
        ...

    def partners(self, rng: Rng, count: int, asking: PeerId) -> list[tuple[PeerId, str]]:
        """Up to `count` different members other than the asking one, uniformly at random: (key, address to dial)."""
        ...


class Rng(Protocol):
    """Randomness; `random.Random` satisfies it."""

    def random(self) -> float:
        """Uniform in [0, 1)."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """k random bits."""
        ...

    def sample(self, population: list[PeerId], k: int) -> list[PeerId]:
        """k different elements."""
        ...
