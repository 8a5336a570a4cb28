"""The readiness model: its invariants hold under all rules, and one breaks without any of them."""

from __future__ import annotations

import runpy
from collections.abc import Callable

import pytest

from tests.tidy._rules import ROOT

MODEL = runpy.run_path(str(ROOT / "sims" / "readiness_model.py"))
violations: Callable[..., list[str]] = MODEL["violations"]

BREAKS = {
    "evidence": (5, "false ready"),
    "request": (3, "false ready"),
    "second": (0, "false ready"),
    "founder": (0, "permanent joining"),
    "turns": (40, "permanent joining"),
    "union": (5, "founded short"),
    "seniority": (55, "seniority"),
    "untold": (0, "founded beside"),
    "stale": (76, "permanent joining"),
}
"""For each rule a seed that breaks an invariant without it, and that invariant."""


@pytest.mark.parametrize("seed", range(1_000, 1_025))
def test_all_invariants_hold(seed: int) -> None:
    assert violations(seed) == []


def test_each_rule_is_needed() -> None:
    assert set(BREAKS) == set(MODEL["RULES"])
    for rule, (seed, invariant) in BREAKS.items():
        kinds = {text.partition(":")[0] for text in violations(seed, {rule})}
        assert invariant in kinds, rule
