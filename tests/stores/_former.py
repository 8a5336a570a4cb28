"""Stores of builds that had format 2 (`tests/vectors/stores`): copies to open, and what they showed when they were made."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from gossipsync.core import NO_EXPIRY, Now
from gossipsync.core.ports import Store
from gossipsync.runtime.clock import SystemClock
from gossipsync.runtime.engine import Engine
from gossipsync.runtime.settings import Settings
from gossipsync.runtime.trust import (
    Credentials,
    credentials_from_cluster_key,
    load_or_create_identity,
)
from tests.vectors.stores.make_former import cluster_key, plain

FOLDER = Path(__file__).parents[1] / "vectors" / "stores"
FIXTURES = ("format-2-ab9e369", "format-2-f750154")
"""The first has bodies that are arrays of byte strings, the second arrays of entries."""


class Former:
    """One fixture, copied to `folder`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        known = json.loads((FOLDER / name / "shown.json").read_text())
        self.shown: dict[str, dict[str, object]] = _decoded(known["shown"])
        self.clock = ShiftedClock(known["now_ms"] + 60_000)
        for peer in "ab":
            shutil.copytree(FOLDER / name / peer, folder / peer)
            (folder / peer / "identity.key").chmod(0o600)

    def credentials(self, peer: str) -> Credentials:
        return credentials_from_cluster_key(
            cluster_key(), load_or_create_identity(self.folder / peer)
        )

    def engine(self, peer: str, store: Store, seeds: tuple[str, ...] = ()) -> Engine:
        settings = Settings(
            name=peer,
            data_dir=self.folder / peer,
            cluster_key=cluster_key(),
            seeds=seeds,
            gossip_interval=0.1,
        )
        return Engine(settings, self.credentials(peer), store, self.clock)


class ShiftedClock:
    """Time goes on from the moment at which a fixture was made."""

    def __init__(self, wall_ms: int) -> None:
        self._clock = SystemClock()
        self._shift_ms = wall_ms - self._clock.wall_ms()

    def now(self) -> Now:
        now = self._clock.now()
        return Now(now.mono_s, now.wall_ms + self._shift_ms)

    def wall_ms(self) -> int:
        return self._clock.wall_ms() + self._shift_ms


def _decoded(value: Any) -> Any:
    match value:
        case {"$bytes": str(text)}:
            return bytes.fromhex(text)
        case Mapping():
            return {key: _decoded(part) for key, part in value.items()}
        case list():
            return [_decoded(part) for part in value]
        case _:
            return value


def shown(engine: Engine) -> dict[str, dict[str, object]]:
    """All visible data of a peer."""
    now_ms = engine.now().wall_ms
    return {
        name: {key: plain(replica.read(key, now_ms)) for key in sorted(replica.keys(now_ms))}
        for name, replica in sorted(engine.peer.replicas.items())
    }


def put(engine: Engine, key: str, value: object) -> None:
    """Write one flag, as an application does."""
    with engine.lock:
        draft = engine.peer.draft("flags", engine.now())
        draft.put(key, value, NO_EXPIRY)
        engine.peer.commit_draft(draft, engine.now())
        engine.wake()


@asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[Engine]:
    """The engine runs while the block does, and closes in good order."""
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        yield engine
        engine.request_close()


async def committed(engine: Engine) -> None:
    """Return when all that the peer holds is in its store."""
    await until(lambda: engine.peer.is_idle)


async def until(condition) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - what another task does comes without telling
            await trio.sleep(0.01)
