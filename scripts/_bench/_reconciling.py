"""What reconciliation costs in the core: two peers that differ in a hundred of many cells, and a joiner once logs were trimmed."""

from collections.abc import Iterator
from time import process_time

from _bench._figures import Figure, Scale
from _bench._pair import Wire, core_peer, now, payloads
from gossipsync.core import Peer
from gossipsync.core.wire.messages import decode_message
from gossipsync.core.wire.readiness import Readiness
from gossipsync.runtime.trust import keygen

__all__ = ["reconciling"]

_BUCKET = "updates"
_AT_ONCE = 8192  # entries sealed in one drain
_GATHERED_S = 0.010
_CROWD = 256  # entries that are gathered for so long; fewer are sealed sooner, and no link may fall silent meanwhile
_TRIMMED_S = 100.0  # more than bundles stay whole
_DIFFERING = 100
_QUESTIONS = ("Heads", "Survey", "Fetch", "Dump", "Doubt")
_VALUE_BYTES = 200


def reconciling(scale: Scale) -> Iterator[Figure]:
    """Ten times `entries` cells in common; and joiners to `entries` keys, written in bulk and one at a time."""
    yield from _differing(scale.entries * 10)
    yield from _joining(scale.entries, 256, "in bulk", 1.1)
    yield from _joining(scale.entries // 10, 1, "one at a time", 2.5)


def _differing(cells: int) -> Iterator[Figure]:
    cluster_key = keygen()
    wire = Wire(core_peer(cluster_key, "first"), core_peer(cluster_key, "second"))
    first, second = wire.peers
    first.open_bucket(_BUCKET, now())
    for start in range(0, cells, _AT_ONCE):
        _write(wire, range(start, min(start + _AT_ONCE, cells)), b"")
        wire.carry()
    wire.exchange()
    wire.exchange()
    for version in (b"lost", b"new"):  # what was overwritten is trimmed, so that logs do not tell
        _write(wire, range(0, cells, cells // _DIFFERING), version)
        _lose(wire)
    _trim(wire, first)
    for replica in (first.replicas[_BUCKET], second.replicas[_BUCKET]):
        while not replica.grow_tree(0, 1 << 14):
            pass
    wire.counts.clear()
    began_s = process_time()
    sent = wire.exchange(asker=1)
    spent_s = process_time() - began_s
    moment = now(wire.mono_s).wall_ms
    if second.replicas[_BUCKET].totals(moment) != first.replicas[_BUCKET].totals(moment):
        raise RuntimeError("the peers are not equal after their reconciliation")
    what = f"{_DIFFERING} of {cells:,} cells differ: "
    trips = sum(wire.counts[kind] for kind in _QUESTIONS)
    yield Figure(what + "round trips", trips, "", 5)
    beside = sum(sent[kind] for kind in (*_QUESTIONS, "Findings", "Covered", "Verdict"))
    yield Figure(what + "bytes beside the cells", beside / 1024, "KiB", 64)
    yield Figure(what + "bytes of the cells", sent["Parts"] / 1024, "KiB")
    yield Figure(what + "CPU of both", spent_s, "CPU-s")


def _joining(keys: int, at_once: int, how: str, target: float) -> Iterator[Figure]:
    """Raw size is that of keys and values."""
    cluster_key = keygen()
    wire = Wire(core_peer(cluster_key, "writer"), core_peer(cluster_key, "joiner"))
    writer, joiner = wire.peers
    writer.open_bucket(_BUCKET, now())
    for start in range(0, keys, at_once):
        _write(wire, range(start, min(start + at_once, keys)), b"")
        _lose(wire)
    _write(wire, range(0, keys, at_once * 4), b"new")  # so that no log is whole
    _lose(wire)
    _trim(wire, writer)
    sent = wire.exchange(asker=1)
    if len(joiner.replicas[_BUCKET]) != keys:
        raise RuntimeError(f"the joiner has {len(joiner.replicas[_BUCKET]):,} of {keys:,} keys")
    raw = sum(len(f"key{number:07d}") + _VALUE_BYTES for number in range(keys))
    what = f"join {keys:,} keys of {_VALUE_BYTES} B, written {how}: bytes, of raw"
    yield Figure(what, sum(sent.values()) / raw, "×", target)


def _write(wire: Wire, numbers: range, version: bytes) -> None:
    writer, moment = wire.peers[0], now(wire.mono_s)
    for number in numbers:
        draft = writer.draft(_BUCKET, moment)
        draft.put(f"key{number:07d}", version.ljust(_VALUE_BYTES, b"\1"))
        writer.commit_draft(draft, moment)
    wire.mono_s += _GATHERED_S * min(1.0, len(numbers) / _CROWD)
    writer.handle_deadline(now(wire.mono_s))


def _lose(wire: Wire) -> None:
    """Pushed bundles never come; the word that the writer is ready does, or its state would not be taken over."""
    while wire.collect(0):
        told = [data for data in wire.take(0) if _is_readiness(data)]
        wire.deliver(1, told)


def _is_readiness(data: bytes) -> bool:
    return all(isinstance(decode_message(payload), Readiness) for payload in payloads([data]))


def _trim(wire: Wire, peer: Peer) -> None:
    keeper = peer._keeper  # noqa: SLF001 -- rounds would trim, and would also find the link silent
    for _ in range(8):
        wire.mono_s += _TRIMMED_S
        keeper.trim(wire.mono_s, 0)
        while keeper.next_deadline() is not None:
            keeper.trim(wire.mono_s, 0)
