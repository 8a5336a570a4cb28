"""Fixtures that make peers as processes and end them with the test."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gossipsync.runtime.trust import keygen
from tests.processes._peers import PeerProcess

MakePeer = Callable[..., PeerProcess]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path leaves room for a unix socket's."""
    path = Path(tempfile.mkdtemp(prefix="gs-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def make_peer(folder: Path) -> Iterator[MakePeer]:
    """`make_peer(name, seed=…, key=…)`: a peer that is not started yet."""
    made: list[PeerProcess] = []
    keys: dict[str, Path] = {}

    def make(
        name: str, *, seed: PeerProcess | None = None, key: str | None = "ours", **settings: object
    ) -> PeerProcess:
        if key is not None:
            if key not in keys:
                keys[key] = folder / f"{key}.key"
                keys[key].touch(mode=0o600)
                keys[key].write_text(keygen())
            settings["cluster_key_file"] = str(keys[key])
        if seed is not None:
            settings["seeds"] = [seed.address]
        made.append(PeerProcess(folder, name, **settings))
        return made[-1]

    yield make
    for peer in made:
        if peer.process is not None:
            peer.kill()
