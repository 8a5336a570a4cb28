"""Starts: whichever way peers start, live apart, meet and restart, they all become ready and equal."""

import pytest

from tests.core._starts import Starts


@pytest.mark.parametrize("seed", [*range(30), 2188])
def test_all_become_ready_and_equal(seed: int) -> None:
    assert Starts(seed).play() == []
