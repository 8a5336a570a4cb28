"""The settings that a call of the command line is about, read as `gossipsync run` reads them.

Invariant: reading settings starts nothing and changes nothing.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gossipsync.errors import ConfigError

if TYPE_CHECKING:
    from gossipsync.runtime.settings import Settings

__all__ = ["config_path", "seconds_of", "settings_of"]


def config_path(given: Path | None) -> Path | None:
    """The settings file: as given, else $GOSSIPSYNC_CONFIG, else ./gossipsync.toml if there is one."""
    if given is not None:
        return given
    if from_environment := os.environ.get("GOSSIPSYNC_CONFIG"):
        return Path(from_environment)
    here = Path("gossipsync.toml")
    return here if here.exists() else None


def settings_of(config: Path | None, **given: object) -> "Settings":
    """The settings in force: what is given before the environment before the file. Raises ConfigError."""
    from gossipsync.runtime.sources import load_settings

    return load_settings(config_path(config), given, env=True)


def seconds_of(text: str) -> float:
    """A span as people write it, in seconds. Raises ConfigError."""
    from gossipsync.runtime.durations import UnreadableError, parse_duration

    try:
        return parse_duration(text)
    except UnreadableError as error:
        raise ConfigError(str(error)) from error
