"""The clock's laws: strictly growing, never behind what was seen, never ahead of the wall but for a counter."""

from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.model.hlc import Hlc, HybridClock, hlc_at, hlc_ms

_STEPS = st.lists(
    st.tuples(st.just("tick"), st.integers(0, 50))
    | st.tuples(st.just("fold"), st.integers(0, 60 << 16)),
    max_size=30,
)


@given(_STEPS)
def test_ticks_grow_and_follow_all_that_was_seen(steps: list[tuple[str, int]]) -> None:
    clock = HybridClock()
    newest = 0
    for name, number in steps:
        if name == "tick":
            stamp = clock.tick(number)
            assert stamp > newest
            assert stamp >= hlc_at(number)
            assert stamp == hlc_at(number) or stamp == newest + 1
            newest = stamp
        else:
            clock.fold(Hlc(number))
            newest = max(newest, number)
        assert clock.last == newest


@given(st.integers(0, (1 << 47) - 1), st.integers(0, 1000))
def test_being_ahead_begins_where_others_refuse(wall_ms: int, skew_ms: int) -> None:
    clock = HybridClock(Hlc(hlc_at(wall_ms + skew_ms) - 1))
    assert not clock.is_ahead(wall_ms + skew_ms)
    clock.tick(wall_ms)
    assert clock.is_ahead(wall_ms + skew_ms)
    clock.reset(wall_ms)
    assert hlc_ms(clock.last) == wall_ms
