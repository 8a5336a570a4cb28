"""Meshes over loopback TLS, several in one process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import gossipsync
from gossipsync import Mesh
from gossipsync.runtime.trust import keygen

Spawn = Callable[..., Mesh]
QUICK = 0.2  # seconds between rounds: what needs one should not take one


@pytest.fixture(scope="session")
def key() -> str:
    return keygen()


@pytest.fixture
def settings(key: str, tmp_path: Path) -> Callable[..., dict[str, object]]:
    """Settings of a member, as keywords."""

    def make(name: str, *seeds: str | None, **more: object) -> dict[str, object]:
        return {
            "name": name,
            "cluster_key": key,
            "socket": tmp_path / f"{name}.sock",
            "seeds": [seed for seed in seeds if seed] or None,
            "gossip_interval": QUICK,
        } | more

    return make


@pytest.fixture
def spawn(settings: Callable[..., dict[str, object]]) -> Iterator[Spawn]:
    """Start a member; its seeds are addresses."""
    with ExitStack() as stack:

        def start(name: str, *seeds: str | None, **more: object) -> Mesh:
            return stack.enter_context(gossipsync.open(**settings(name, *seeds, **more)))

        yield start


@pytest.fixture
def pair(spawn: Spawn) -> tuple[Mesh, Mesh]:
    a = spawn("a")
    b = spawn("b", a.address)
    for mesh in (a, b):
        mesh.wait_members(2, timeout=10)
        mesh.wait_synced(timeout=10)
    return a, b


@pytest.fixture
def three(spawn: Spawn) -> tuple[Mesh, Mesh, Mesh]:
    a = spawn("a")
    b = spawn("b", a.address)
    c = spawn("c", a.address)
    for mesh in (a, b, c):
        mesh.wait_members(3, timeout=10)
        mesh.wait_synced(timeout=10)
    return a, b, c
