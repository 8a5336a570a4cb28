"""Capabilities: which buckets, and when."""

import pytest

from gossipsync.core.model.capability import Capability


def test_globs_are_case_sensitive_and_match_whole_names() -> None:
    capability = Capability(("sessions", "cache-*"), True, 0, 10)
    assert capability.allows("sessions")
    assert capability.allows("cache-eu")
    assert not capability.allows("Sessions")
    assert not capability.allows("sessions2")
    assert not Capability((), True, 0, 10).allows("sessions")


def test_validity_includes_both_ends() -> None:
    capability = Capability(("*",), True, 5, 10)
    assert [capability.is_valid_at(ms) for ms in (4, 5, 10, 11)] == [False, True, True, False]


@pytest.mark.parametrize("globs", [("",), ("x" * 129,), ("*",) * 65])
def test_patterns_are_bounded(globs: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        Capability(globs, True, 0, 10)
