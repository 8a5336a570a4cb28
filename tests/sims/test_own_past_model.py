"""The model of early writes keeps its invariants, and needs its rules."""

import pytest

from sims.own_past_model import RULES, run

_COUNTED = "written again"


def faults(rules: list[str], seeds: int) -> set[str]:
    return {name for seed in range(seeds) for name, count in run(seed, rules).items() if count}


def test_with_all_rules_no_invariant_breaks_and_early_writes_still_win() -> None:
    assert faults(list(RULES), 300) == {_COUNTED}


@pytest.mark.parametrize(
    ("left_out", "fault"),
    [
        ({"least"}, "beats more than the past"),
        ({"beside"}, "beats a live copy that could speak"),
        ({"clock"}, "a write that knew it is beaten"),
        (set(RULES), "a write that knew it is beaten"),
    ],
)
def test_without_a_rule_an_invariant_breaks(left_out: set[str], fault: str) -> None:
    rules = [rule for rule in RULES if rule not in left_out]
    assert any(run(seed, rules)[fault] for seed in range(1000))
