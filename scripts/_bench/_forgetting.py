"""What a busy life leaves behind: a bucket after very many writes and deletes of few keys, beside one that only ever held what is left.

Each is lived by a core peer in a process of its own, in virtual time, with a real SQLite file. A horizon later all that was
overwritten or deleted is to be gone from memory and disk.
"""

import gc
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from _bench._figures import Figure, Scale
from _bench._pair import make_peer, member, now, settle
from gossipsync.core import Peer
from gossipsync.runtime.trust import keygen
from gossipsync.stores import SqliteStore

__all__ = ["forgetting"]

_BUCKET = "updates"
_KEYS = 1000
_AT_ONCE = 500
_VALUE_BYTES = 1000
_WRITTEN_S = 0.05  # between batches
_HORIZON_MS = 3_600_000
_SPAN_S = 4200.0  # a horizon, twice the largest skew, and time to look
_ROUND_S = 10.0


def forgetting(scale: Scale) -> Iterator[Figure]:
    """Ten times `entries` writes, half of them deletes, then each key once more; against each key once."""
    operations = scale.entries * 10
    busy, quiet = (_lived_alone(count) for count in (operations, 0))
    what = f"{operations:,} set/delete of {_KEYS:,} keys, a horizon later: "
    beside = ", of one that held the rest only"
    yield Figure(what + "live memory" + beside, busy.live / quiet.live, "×", 1.1)
    yield Figure(what + "SQLite file" + beside, busy.file / quiet.file, "×", 1.1)
    yield Figure(what + "SQLite file", busy.file / 1024, "KiB")
    yield Figure(what + "SQLite file at its largest, WAL included", busy.largest_file / 1e6, "MB")
    yield Figure(what + "resident over an empty peer", busy.resident / 1e6, "MB")


class _Left(NamedTuple):
    """What a life has left, in bytes: memory in use and resident over that of an empty peer, and its file's, closed and at its largest."""

    live: int
    resident: int
    file: int
    largest_file: int


def _lived_alone(operations: int) -> _Left:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_lived, operations).result()


def _lived(operations: int) -> _Left:
    credentials = member(keygen())
    with TemporaryDirectory() as folder:
        store = SqliteStore(
            folder, network=credentials.network_id, peer=credentials.identity.peer_id
        )
        peer = make_peer(credentials, "writer", now(), store)
        peer.open_bucket(_BUCKET, now())
        tracemalloc.start()
        empty = _resident_bytes()
        mono_s, largest = 0.0, 0
        for first in [*range(0, operations, _AT_ONCE), *range(0, _KEYS, _AT_ONCE)]:
            deletes = first < operations and first // _KEYS % 2 == 1
            mono_s += _WRITTEN_S
            _write(peer, range(first, first + _AT_ONCE), mono_s, deletes=deletes)
            peer.handle_deadline(now(mono_s))
            settle(peer, now(mono_s), store)
            largest = max(largest, _file_bytes(folder))
        end_s = mono_s + _SPAN_S
        while mono_s < end_s:
            mono_s += _ROUND_S
            peer.handle_deadline(now(mono_s))
            settle(peer, now(mono_s), store)
        if len(peer.replicas[_BUCKET]) != _KEYS:
            raise RuntimeError(f"{len(peer.replicas[_BUCKET]):,} keys are left")
        gc.collect()
        live, _ = tracemalloc.get_traced_memory()
        resident = _resident_bytes() - empty
        store.close()
        return _Left(live, resident, _file_bytes(folder), largest)


def _write(peer: Peer, numbers: range, mono_s: float, *, deletes: bool) -> None:
    draft = peer.draft(_BUCKET, now(mono_s))
    for number in numbers:
        key = f"key{number % _KEYS:07d}"
        if deletes:
            draft.delete(key)
        else:
            draft.put(key, number.to_bytes(8, "big").ljust(_VALUE_BYTES, b"\1"))
    peer.commit_draft(draft, now(mono_s))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def _file_bytes(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).glob("journal.db*"))
