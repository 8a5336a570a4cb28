"""Lone meshes in memory, with a clock that the test moves."""

from collections.abc import Iterator

import pytest

from gossipsync import Mesh
from gossipsync.runtime.clock import ManualClock
from gossipsync.runtime.sources import load_settings


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def mesh(clock: ManualClock) -> Iterator[Mesh]:
    with Mesh(load_settings(given={"name": "lone"}), clock) as made:
        yield made


@pytest.fixture(scope="session")
def shared() -> Iterator[Mesh]:
    """For tests by the hundred; each takes a bucket of its own."""
    import gossipsync

    with gossipsync.open(name="shared") as made:
        yield made
