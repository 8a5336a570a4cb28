"""Group commit: alone, a write is sealed at once; in a crowd, bundles fill."""

import pytest

from gossipsync.core.model.bucket import Announcement, BucketRules
from gossipsync.core.model.entry import Entry, Op, encode_entry
from gossipsync.core.model.hlc import Hlc, hlc_at
from gossipsync.core.model.ids import Epoch, NetworkId, Origin, PeerId, origin_of
from gossipsync.core.model.limits import Limits
from gossipsync.core.replication.logs import LogBook
from gossipsync.core.replication.sealing import Sealer

LIMITS = Limits(seal_entries=20, seal_delay_s=0.010, crowd_entries=8, gather_s=0.002)
NETWORK = NetworkId(bytes(32))
ORIGIN: Origin = origin_of(PeerId(bytes(32)), Epoch(1))
STAMP = hlc_at(1_790_000_000_000)
ANNOUNCEMENT = Announcement(BucketRules(), STAMP)


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(NETWORK, LogBook(NETWORK), LIMITS, lambda message: bytes(64))


def write(sealer: Sealer, count: int, now_s: float) -> None:
    for _ in range(count):
        data = encode_entry("k", None, Op.SET, Hlc(STAMP), None, b"\x01")
        entry = Entry("k", None, Op.SET, Hlc(STAMP), None, b"\x01", data)
        sealer.add("b", ORIGIN, [entry], Hlc(STAMP), now_s)


def test_single_writes_are_sealed_at_once(sealer: Sealer) -> None:
    for now_s in (1.0, 1.0001, 1.0002):
        write(sealer, 1, now_s)
        assert sealer.due_s(idle=True) == now_s
        assert sealer.buckets_due(now_s, idle=True) == ["b"]
        assert sealer.seal("b", ORIGIN, ANNOUNCEMENT, now_s).bundle.header.count == 1


def test_after_a_crowd_the_next_gathers_for_a_moment(sealer: Sealer) -> None:
    write(sealer, 8, 1.0)
    assert sealer.seal("b", ORIGIN, ANNOUNCEMENT, 1.0).bundle.header.count == 8
    write(sealer, 1, 1.001)
    assert sealer.buckets_due(1.001, idle=True) == []
    assert sealer.due_s(idle=True) == pytest.approx(1.002)
    assert sealer.buckets_due(1.002, idle=True) == ["b"]
    assert sealer.seal("b", ORIGIN, ANNOUNCEMENT, 1.002).bundle.header.count == 1
    write(sealer, 1, 1.0021)
    assert sealer.buckets_due(1.0021, idle=True) == ["b"]


def test_a_full_group_and_a_goodbye_do_not_wait(sealer: Sealer) -> None:
    write(sealer, 8, 1.0)
    sealer.seal("b", ORIGIN, ANNOUNCEMENT, 1.0)
    write(sealer, 25, 1.001)
    assert sealer.buckets_due(1.001, idle=True) == ["b"]
    assert sealer.seal("b", ORIGIN, ANNOUNCEMENT, 1.001).bundle.header.count == 20
    assert sealer.buckets_due(1.001, idle=True) == []
    assert sealer.buckets_due(1.001, idle=False, everything=True) == ["b"]


def test_while_a_commit_is_under_way_no_write_waits_longer_than_the_delay(sealer: Sealer) -> None:
    write(sealer, 1, 1.0)
    assert sealer.buckets_due(1.009, idle=False) == []
    assert sealer.due_s(idle=False) == pytest.approx(1.010)
    assert sealer.buckets_due(1.0101, idle=False) == ["b"]
