"""The two doors: `open` for threads, `open_async` for asyncio and trio.

Invariant: settings are read and checked here, so a wrong one is raised where the user wrote it; nothing is
started.
"""

import os
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from gossipsync.embed._async_mesh import AsyncMesh
from gossipsync.embed._mesh import Mesh

if TYPE_CHECKING:
    from gossipsync.runtime.settings import Settings

__all__ = ["open", "open_async"]


def open(  # noqa: A001 - gossipsync.open, as the contract says
    config: str | os.PathLike[str] | None = None, /, *, env: bool = False, **settings: object
) -> Mesh:
    """A peer for threads, from a TOML file, the environment (`env=True`) and keywords.

    Keywords win over `GOSSIPSYNC_<UPPER>`, that over the file, that over defaults; without anything it is
    a lone peer in memory. Nothing is started yet. Raises ConfigError.
    """
    from gossipsync.runtime.clock import SystemClock

    return Mesh(_settings(config, settings, env=env), SystemClock())


def open_async(
    config: str | os.PathLike[str] | None = None, /, *, env: bool = False, **settings: object
) -> AbstractAsyncContextManager[AsyncMesh]:
    """A peer for coroutines of asyncio or trio, to be entered with `async with`. Settings as for `open`.

    Raises ConfigError at the call; entering raises what keeps it from starting, leaving closes it.
    """
    return _Opening(_settings(config, settings, env=env))


class _Opening(AbstractAsyncContextManager[AsyncMesh]):
    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._mesh: AsyncMesh | None = None

    async def __aenter__(self) -> AsyncMesh:
        from gossipsync.runtime.clock import SystemClock

        self._mesh = AsyncMesh(self._settings, SystemClock())
        await self._mesh.start()
        return self._mesh

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._mesh is not None
        await self._mesh.close()


def _settings(
    config: str | os.PathLike[str] | None, given: dict[str, object], *, env: bool
) -> "Settings":
    from gossipsync.runtime.sources import load_settings

    return load_settings(config, given, env=env)
