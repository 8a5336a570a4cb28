"""What one process does alone: reads and writes through the embedding API."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from tempfile import TemporaryDirectory
from time import perf_counter

import gossipsync
from _bench._figures import Figure, Scale

__all__ = ["local"]

_VALUE = bytes(100)


def local(scale: Scale) -> Iterator[Figure]:
    """Reads and writes of 100 B by one thread of a lone peer."""
    keys = [f"key{number:06d}" for number in range(scale.entries)]
    with gossipsync.open() as mesh:
        put_per_s = _puts(mesh, keys)
        bucket = mesh.bucket("updates")
        began_s = perf_counter()
        for key in keys:
            bucket[key]
        get_per_s = len(keys) / (perf_counter() - began_s)
    yield Figure("get", get_per_s, "/s", 300_000, is_floor=True)
    yield Figure("put (memory)", put_per_s, "/s", 50_000, is_floor=True)
    with _folder() as folder, gossipsync.open(data_dir=folder) as mesh:
        yield Figure("put (SQLite, until stored)", _puts(mesh, keys), "/s")


def _puts(mesh: gossipsync.Mesh, keys: list[str]) -> float:
    """Writes a second, counting the time until the last one is stored."""
    bucket = mesh.bucket("updates")
    bucket.put("first", 0, ack="self", timeout=10)
    began_s = perf_counter()
    for key in keys:
        bucket[key] = _VALUE
    bucket.put("last", 0, ack="self", timeout=30)
    return len(keys) / (perf_counter() - began_s)


def _folder() -> AbstractContextManager[str]:
    return TemporaryDirectory(prefix="gossipsync-bench-")
