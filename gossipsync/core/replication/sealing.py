"""Sealing: own writes gathered into bundles and signed (group commit).

One signature over many entries is what makes signed replication fast: verifying costs as much as merging a hundred entries.
A group is sealed at once when nothing else is under way, else when it is full or its oldest write has waited long enough. A
writer so busy that bundles come out with many entries is given a moment to gather more: each bundle costs every peer a signature,
a message and an acknowledgement, which at a few entries a bundle is more than the writes themselves.
Invariant: the groups of one bucket become bundles in the order in which they were opened, with consecutive numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from gossipsync.core.model.bucket import Announcement
from gossipsync.core.model.bundle import NO_PREVIOUS, Bundle, build_header, signed_bytes
from gossipsync.core.model.entry import Entry, encode_body, leaves_of
from gossipsync.core.model.hlc import ZERO, Hlc
from gossipsync.core.model.ids import NetworkId, Origin, epoch_of, peer_of
from gossipsync.core.model.limits import Limits
from gossipsync.core.ports import Sign
from gossipsync.core.replication.admission import Admitted
from gossipsync.core.replication.logs import LogBook
from gossipsync.core.replication.merkle import merkle_root


@define
class _Group:
    """Writes that will be one bundle."""

    opened_s: float
    entries: list[Entry] = field(factory=list)
    size_bytes: int = 0
    hlc: Hlc = ZERO


class Sealer:
    """Unsealed writes of this peer's current epoch."""

    def __init__(self, network: NetworkId, logs: LogBook, limits: Limits, sign: Sign) -> None:
        self._network = network
        self._logs = logs
        self._limits = limits
        self._sign = sign
        self._groups: dict[str, list[_Group]] = {}
        self._gathers_until_s = 0.0

    def add(
        self, bucket: str, origin: Origin, entries: Sequence[Entry], stamp: Hlc, now_s: float
    ) -> int:
        """Take in writes that belong together; the number of the bundle that will carry them."""
        groups = self._groups.setdefault(bucket, [])
        size = sum(len(entry.data) + 5 for entry in entries)
        if not groups or self._is_full(groups[-1], len(entries), size):
            groups.append(_Group(now_s))
        group = groups[-1]
        group.entries += entries
        group.size_bytes += size
        group.hlc = stamp
        return self._logs.index((bucket, origin)) + len(groups)

    def _is_full(self, group: _Group, entries: int, size: int) -> bool:
        return bool(group.entries) and (
            len(group.entries) + entries > self._limits.seal_entries
            or group.size_bytes + size > self._limits.seal_bytes
        )

    def is_empty(self) -> bool:
        """Is every write sealed?"""
        return not self._groups

    def due_s(self, *, idle: bool) -> float | None:
        """When a group is to be sealed, in monotonic seconds."""
        if not self._groups:
            return None
        opened_s = min(groups[0].opened_s for groups in self._groups.values())
        due_s = opened_s + self._limits.seal_delay_s
        return min(due_s, max(opened_s, self._gathers_until_s)) if idle else due_s

    def buckets_due(self, now_s: float, *, idle: bool, everything: bool = False) -> list[str]:
        """Buckets with a group to seal now."""
        idle = everything or (idle and now_s >= self._gathers_until_s)
        return [
            bucket
            for bucket, groups in self._groups.items()
            if idle or len(groups) > 1 or now_s >= groups[0].opened_s + self._limits.seal_delay_s
        ]

    def seal(
        self, bucket: str, origin: Origin, announcement: Announcement, now_s: float
    ) -> Admitted:
        """The next bundle of a bucket, signed. The caller appends it to the log before asking for another."""
        groups = self._groups[bucket]
        group = groups.pop(0)
        if not groups:
            del self._groups[bucket]
        if len(group.entries) >= self._limits.crowd_entries:
            self._gathers_until_s = now_s + self._limits.gather_s
        log = self._logs.find((bucket, origin))
        header = build_header(
            network=self._network,
            bucket=bucket,
            announcement=announcement,
            peer=peer_of(origin),
            epoch=epoch_of(origin),
            index=1 if log is None else log.index + 1,
            previous=NO_PREVIOUS if log is None else log.head,
            count=len(group.entries),
            root=merkle_root(leaves_of(group.entries)),
            log_hlc=group.hlc,
        )
        body = encode_body([entry.data for entry in group.entries])
        bundle = Bundle(header, self._sign(signed_bytes(header.data)), body)
        return Admitted(bundle, group.entries, bundle.encode())
