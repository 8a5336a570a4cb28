"""Where settings come from: keywords before the environment before the file before the defaults.

Every complaint names the setting, the place it was found in, and what would be right; a misspelt name
gets the nearest right one.

Invariant: `load_settings` reads files and the environment and changes nothing.
"""

import os
import stat
import tomllib
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from attrs import evolve

from gossipsync.errors import ConfigError
from gossipsync.runtime.readers import UnreadableError, home_expanded
from gossipsync.runtime.settings import BUCKET_READERS, PATHS, READERS, BucketSettings, Settings
from gossipsync.runtime.trust._files import read_secret
from gossipsync.runtime.trust.cluster_key import derive_secrets

__all__ = ["load_settings"]

_PREFIX = "GOSSIPSYNC_"
_NO_SETTING = frozenset(
    {"GOSSIPSYNC_CONFIG"}
)  # names the file itself; only the command line reads it
_OTHERS_MAY_READ = stat.S_IRGRP | stat.S_IROTH


def load_settings(
    config: str | os.PathLike[str] | None = None,
    given: Mapping[str, object] | None = None,
    *,
    env: bool = False,
) -> Settings:
    """Settings from a TOML file, the environment where `env` says so, and keywords. Raises ConfigError.

    A keyword of None is left out. Relative paths start at the file's folder, those of the environment
    and of keywords at the working folder.
    """
    values: dict[str, object] = {}
    buckets: dict[str, BucketSettings] = {}
    path = None if config is None else _file_path(config)
    if path is not None:
        table = _read_file(path)
        buckets |= _read_buckets(table.pop("buckets", {}), str(path))
        values |= _read_values(table, str(path), path.parent)
    if env:
        values |= _read_values(_environment(), "the environment", None)
    keywords = {name: value for name, value in (given or {}).items() if value is not None}
    buckets |= _read_buckets(keywords.pop("buckets", {}), "the keywords")
    values |= _read_values(keywords, "the keywords", None)
    settings = Settings(**values, buckets=buckets, config=path)  # type: ignore[arg-type]
    settings.check(frozenset(values))
    return _with_key(settings)


def _file_path(config: str | os.PathLike[str]) -> Path:
    try:
        return _absolute(home_expanded(Path(config)), None)
    except UnreadableError as error:
        raise ConfigError(f"the settings file: {error}") from None


def _absolute(path: Path, folder: Path | None) -> Path:
    """A path as seen from a folder; None: the working folder, which is looked for only where a path needs it."""
    if path.is_absolute():
        return path
    try:
        return (Path.cwd() if folder is None else folder) / path
    except OSError as error:
        raise UnreadableError(
            f"{str(path)!r} is relative, and the working folder of this process is gone ({error.strerror}): "
            "write an absolute path, or start the process in a folder that exists"
        ) from error


def _read_values(table: Mapping[str, object], where: str, folder: Path | None) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, given in table.items():
        reader = READERS.get(name)
        if reader is None:
            raise ConfigError(_unknown(name, where, (*READERS, "buckets")))
        try:
            value = reader(given)
            if name in PATHS and isinstance(value, Path):
                value = _absolute(value, folder)
        except UnreadableError as error:
            raise ConfigError(f"{name} in {where}: {error}") from None
        values[name] = value
    return values


def _read_buckets(tables: object, where: str) -> dict[str, BucketSettings]:
    if not isinstance(tables, Mapping):
        raise ConfigError(f"buckets in {where}: a table for each bucket is needed: [buckets.NAME]")
    return {str(name): _read_bucket(str(name), table, where) for name, table in tables.items()}


def _read_bucket(name: str, table: object, where: str) -> BucketSettings:
    if isinstance(table, BucketSettings):
        return table
    if not isinstance(table, Mapping):
        raise ConfigError(
            f"buckets.{name} in {where}: a table is needed, with kind, ttl, deletes, history or unready"
        )
    values: dict[str, object] = {}
    for key, given in table.items():
        if key not in BUCKET_READERS:
            raise ConfigError(
                _unknown(str(key), f"buckets.{name} in {where}", tuple(BUCKET_READERS))
            )
        try:
            values[key] = BUCKET_READERS[key](given)
        except UnreadableError as error:
            raise ConfigError(f"buckets.{name}.{key} in {where}: {error}") from None
    return BucketSettings(**values)  # type: ignore[arg-type]


def _read_file(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            table: dict[str, object] = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    if mode & _OTHERS_MAY_READ:
        if "cluster_key" in table:
            _warn(f"{path} holds a cluster_key and others may read it; run: chmod 600 {path}")
        if any(sign in str(table.get("store")) for sign in ("@", "password=")):
            _warn(f"{path} holds a store's password and others may read it; run: chmod 600 {path}")
    return table


def _environment() -> dict[str, object]:
    """The settings in the environment; a name that is none of ours is no reason not to start."""
    values: dict[str, object] = {}
    for variable, value in os.environ.items():
        if not variable.startswith(_PREFIX) or variable in _NO_SETTING:
            continue
        name = variable.removeprefix(_PREFIX).lower()
        if name in READERS and variable.isupper():
            values[name] = value
        else:
            _warn(
                _unknown(variable, "the environment", [_PREFIX + each.upper() for each in READERS])
            )
    return values


def _with_key(settings: Settings) -> Settings:
    """The settings with the key that `cluster_key_file` holds, checked: a wrong one is found at `open`."""
    path = settings.cluster_key_file
    if path is not None:
        settings = evolve(settings, cluster_key=_read_key(path))
    if settings.cluster_key is not None:
        derive_secrets(settings.cluster_key)
    return settings


def _read_key(path: Path) -> str:
    try:
        return read_secret(path).decode("ascii").strip()
    except FileNotFoundError as error:
        message = f"cluster_key_file {path} does not exist; make one with: gossipsync keygen"
        raise ConfigError(message) from error
    except UnicodeDecodeError:
        # Without the cause: it would carry the content into a traceback.
        raise ConfigError(f"cluster_key_file {path} holds no cluster key") from None


def _unknown(name: str, where: str, known: tuple[str, ...] | list[str]) -> str:
    nearest = get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(sorted(known))}"
    return f"unknown setting {name!r} in {where}; {hint}"


def _warn(message: str) -> None:
    # At the caller of gossipsync.open, seen from here: load_settings, its reader, this.
    warnings.warn(message, stacklevel=5)
