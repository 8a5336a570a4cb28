"""What the core needs of the outside world, in a handful of verbs: a store, a verifier, randomness.

A driver hands them in; the simulator hands in others than the trio runtime. None of these calls may block on I/O, but
`Store.load` (once, at the start), and `Store.commit` and `Store.close`, which the driver calls, never the core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from gossipsync.core.model.capability import Capability
from gossipsync.core.model.ids import Origin, PeerId

Sign = Callable[[bytes], bytes]
"""Signs with this peer's Ed25519 key: message -> 64 bytes."""


class Store(Protocol):
    """A journal of bundles as received, and small named heads.

    `append` and `put_head` only buffer; `commit` makes all that was buffered before it durable, or raises StoreError and
    keeps it buffered for the next try. `append` and `put_head` may be called while a `commit` runs in another thread.
    """

    @property
    def place(self) -> str:
        """Where the data is, for error messages: a file's path, or an address without secrets."""
        ...

    def load_bundles(self) -> Iterator[tuple[str, Origin, int, bytes]]:
        """(bucket, origin, index, bundle) of every committed bundle, each log in index order without gaps.

        Raises StoreCorruptError.
        """
        ...

    def load_heads(self) -> dict[str, bytes]:
        """Every committed head by its name."""
        ...

    def append(self, bucket: str, origin: Origin, index: int, bundle: bytes) -> None:
        """Buffer one bundle, the next of its log."""
        ...

    def put_head(self, name: str, value: bytes | None) -> None:
        """Buffer a small named value (≤ 64 KiB) that replaces the former one; None removes it."""
        ...

    def commit(self) -> None:
        """Make durable all that was buffered. Blocking; called in a worker thread. Raises StoreError."""
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
