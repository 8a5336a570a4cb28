"""The model of joins beside false sources keeps its invariants, and needs each of its rules for them."""

from __future__ import annotations

import runpy

import pytest

from tests.tidy._rules import ROOT

MODEL = runpy.run_path(str(ROOT / "sims" / "sources_model.py"))


def violations(seeds: int, without: str | None = None) -> list[str]:
    rules = MODEL["RULES"] - {without}
    return [line for seed in range(seeds) for line in MODEL["violations"](seed, rules)]


def test_an_honest_source_is_reached_and_nothing_is_covered_that_is_not_here() -> None:
    assert violations(1000) == []


@pytest.mark.parametrize("rule", sorted(MODEL["RULES"]))
def test_each_rule_is_needed(rule: str) -> None:
    assert violations(100, rule)
