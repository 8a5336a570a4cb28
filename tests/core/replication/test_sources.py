"""Ranks of members as sources of data."""

from gossipsync.core.model.ids import PeerId
from gossipsync.core.replication.sources import Sources

ONE, OTHER = PeerId(bytes(32)), PeerId(bytes([1] * 32))


def test_rests_double_up_to_a_bound_and_one_delivery_ends_them() -> None:
    sources, now_s, rests = Sources(8), 0.0, []
    for _ in range(12):
        assert sources.failed(ONE, now_s, now_s)
        rests.append(sources.rests_until_s(ONE) - now_s)
        now_s = sources.rests_until_s(ONE)
    assert rests[:4] == [30.0, 60.0, 120.0, 240.0]
    assert set(rests[5:]) == {960.0}
    assert sources.pauses_until_s(ONE) < sources.rests_until_s(ONE)
    sources.delivered(ONE)
    assert sources.rests_until_s(ONE) < 0
    assert not sources.is_failing(ONE)


def test_questions_asked_together_fail_as_one() -> None:
    sources = Sources(8)
    assert sources.failed(ONE, 0.0, 10.0)
    assert not sources.failed(ONE, 1.0, 11.0)
    assert not sources.is_failing(ONE)
    assert sources.failed(ONE, 12.0, 20.0)
    assert sources.is_failing(ONE)
    assert not sources.is_failing(OTHER)


def test_records_are_bounded() -> None:
    sources = Sources(8)
    for number in range(100):
        sources.failed(PeerId(number.to_bytes(32, "big")), 0.0, 0.0)
    assert len(sources) == 8
