"""Budgets: within their bounds whatever happens, fair where a way is shared, and cut once for what was late together."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gossipsync.core.model.limits import Limits
from gossipsync.core.replication.budgets import Budget

LIMITS = Limits(delta_bytes=256_000, delta_least_bytes=1_000, delta_step_bytes=4_000, delta_s=1.0)
SIZES = st.integers(0, 300_000)
_STARTS = st.integers(20_000, 300_000)


@given(
    st.integers(1, 1 << 20),
    st.integers(0, 1 << 20),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 5), SIZES), max_size=60),
)
def test_a_budget_stays_within_its_bounds(
    cap: int, first: int, deltas: list[tuple[float, float, int]]
) -> None:
    limits = Limits(delta_bytes=cap)
    budget = Budget(limits, first)
    now_s = 0.0
    for pause_s, taken_s, used_bytes in deltas:
        now_s += pause_s
        before, since_s = budget.size_bytes, max(0.0, now_s - taken_s)
        budget.settle(since_s, now_s, used_bytes)
        assert min(cap, limits.delta_least_bytes) <= budget.size_bytes <= cap
        is_late = now_s - since_s > limits.delta_s
        assert budget.size_bytes <= before if is_late else budget.size_bytes >= before


def share(budgets: tuple[Budget, Budget], bytes_per_s: int, trip_s: float = 0.0) -> list[int]:
    """Use both over one narrow way for long; what each has in the end, the smaller first."""
    now_s = 0.0
    for _ in range(1_000):
        used = [budget.size_bytes for budget in budgets]
        since_s, now_s = now_s, now_s + trip_s + sum(used) / bytes_per_s
        for budget, size_bytes in zip(budgets, used, strict=True):
            budget.settle(since_s, now_s, size_bytes)
    return sorted(budget.size_bytes for budget in budgets)


@given(SIZES, SIZES, st.integers(40_000, 400_000))
def test_two_links_that_share_a_way_come_to_equal_shares(
    first: int, second: int, bytes_per_s: int
) -> None:
    less, more = share((Budget(LIMITS, first), Budget(LIMITS, second)), bytes_per_s)
    assert more - less <= LIMITS.delta_step_bytes
    assert bytes_per_s / 2 - LIMITS.delta_step_bytes <= less + more
    assert less + more <= bytes_per_s + 2 * LIMITS.delta_step_bytes


@settings(max_examples=100)
@given(_STARTS, _STARTS, st.integers(40_000, 400_000), st.floats(0, 0.5))
def test_nobody_starves_on_a_way_that_is_both_long_and_shared(
    first: int, second: int, bytes_per_s: int, trip_s: float
) -> None:
    budgets = (Budget(LIMITS, first, has_trip=True), Budget(LIMITS, second, has_trip=True))
    less, more = share(budgets, bytes_per_s, trip_s)
    assert more <= 8 * less
    assert less + more > bytes_per_s / 8


def test_what_was_under_way_together_is_cut_once() -> None:
    budget = Budget(LIMITS)
    budget.settle(0.0, 5.0, 256_000)
    budget.settle(0.1, 10.0, 256_000)
    assert (budget.size_bytes, budget.cuts) == (128_000, 1)
    budget.settle(5.0, 7.0, 128_000)
    assert (budget.size_bytes, budget.cuts) == (64_000, 2)


@given(st.floats(1.1, 20.0), SIZES)
def test_a_long_way_is_no_narrow_one(trip_s: float, first: int) -> None:
    budget = Budget(LIMITS, first, has_trip=True)
    now_s = 0.0
    for _ in range(100):
        since_s, now_s = now_s, now_s + trip_s + budget.size_bytes / 10_000_000
        budget.settle(since_s, now_s, budget.size_bytes)
    assert budget.size_bytes == LIMITS.delta_bytes


def test_a_budget_does_not_grow_by_deltas_that_do_not_use_it() -> None:
    budget = Budget(LIMITS, 10_000)
    budget.settle(0.0, 0.1, 4_999)
    assert budget.size_bytes == 10_000
    budget.settle(0.1, 0.2, 5_000)
    assert budget.size_bytes == 14_000
