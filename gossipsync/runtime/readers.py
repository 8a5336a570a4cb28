"""How each kind of setting is read: from Python, from TOML and from text in the environment.

A reader takes whatever was given and returns the one form that the rest of the code uses, or raises
`UnreadableError` with what is wrong; whoever calls it knows the setting's name and where it came from.

Invariant: a reader's result is a fixed point: reading it again gives the same.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gossipsync.core.model.address import split_address
from gossipsync.core.model.bucket import Deletes, Kind
from gossipsync.core.model.text import MAX_NAME_BYTES, is_clean_text
from gossipsync.runtime.durations import UnreadableError, parse_duration, parse_pause

__all__ = [
    "UnreadableError",
    "choice",
    "parse_duration",
    "parse_pause",
    "read_address",
    "read_addresses",
    "read_deletes",
    "read_kind",
    "read_name",
    "read_path",
    "read_positive_int",
    "read_secret_text",
    "read_store",
    "read_text",
]

_MAX_INT_DIGITS: Final = 9


def read_text(given: object) -> str:
    """Any text."""
    if not isinstance(given, str):
        raise UnreadableError(f"text is needed, not {type(given).__name__}")
    return given


def read_name(given: object) -> str:
    """A name or zone that every peer can show: printable, not empty, 128 bytes at most."""
    text = read_text(given)
    if not text.isprintable() or not is_clean_text(text, MAX_NAME_BYTES):
        raise UnreadableError(f"1 to {MAX_NAME_BYTES} bytes of printable text are needed")
    return text


def read_secret_text(given: object) -> str:
    """A secret: errors must not quote it."""
    if not isinstance(given, str) or not given.strip():
        raise UnreadableError("the key as text is needed")
    return given.strip()


def read_path(given: object) -> Path:
    """A path; `~` stands for the home folder."""
    if not isinstance(given, (str, os.PathLike)) or not str(given):
        raise UnreadableError("a path is needed")
    return home_expanded(Path(given))


def home_expanded(path: Path) -> Path:
    """The path with `~` replaced by the home folder. Raises UnreadableError where this process has none."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UnreadableError(
            f"{str(path)!r} begins with ~, and this process has no home folder: set HOME, or write the whole path"
        ) from error


def read_address(given: object) -> str:
    """One "host:port", a name with letters beyond ASCII in its IDNA form; port 0 stands for a free one."""
    text = read_text(given).strip()
    try:
        if not text.isascii():
            host, _, port = text.rpartition(":")
            text = f"{host.encode('idna').decode()}:{port}"
        split_address(text)
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    return text


def read_addresses(given: object) -> tuple[str, ...]:
    """Addresses to dial: a list, or text with commas between them."""
    if isinstance(given, str):
        parts: list[object] = [part for part in given.split(",") if part.strip()]
    elif isinstance(given, (list, tuple)):
        parts = list(given)
    else:
        raise UnreadableError('a list of "host:port" is needed')
    addresses = tuple(dict.fromkeys(read_address(part) for part in parts))
    for address in addresses:
        if split_address(address)[1] == 0:
            raise UnreadableError(f"{address!r} names no port to dial")
    return addresses


def read_positive_int(given: object) -> int:
    """An integer of at least one."""
    if isinstance(given, str) and given.strip().isdecimal() and len(given) <= _MAX_INT_DIGITS:
        given = int(given)
    if type(given) is not int or not 0 < given < 10**_MAX_INT_DIGITS:
        raise UnreadableError("a whole number of at least 1 is needed")
    return given


_STORE_SCHEMES: Final = ("redis", "rediss", "unix", "postgresql", "postgres")


def choice(*allowed: str) -> Callable[[object], str]:
    """A reader for one of these words."""

    def read(given: object) -> str:
        if given not in allowed:
            raise UnreadableError(f"{given!r} is not one of {', '.join(map(repr, allowed))}")
        return str(given)

    return read


def read_store(given: object) -> str:
    """A local store's word, or a server's address, which is not repeated: it may hold a password."""
    if isinstance(given, str) and given.partition("://")[0] in _STORE_SCHEMES and "://" in given:
        return given
    if isinstance(given, str) and "://" in given:
        raise UnreadableError(
            f"this kind of address is none of {', '.join(f'{scheme}://' for scheme in _STORE_SCHEMES)}"
        )
    return choice("memory", "sqlite")(given)


def read_kind(given: object) -> Kind:
    """A bucket's kind by its name."""
    if isinstance(given, Kind):
        return given
    return Kind[choice(*(kind.name.lower() for kind in Kind))(given).upper()]


def read_deletes(given: object) -> Deletes:
    """How a bucket deletes, by name."""
    if isinstance(given, Deletes):
        return given
    return Deletes[choice(*(deletes.name.lower() for deletes in Deletes))(given).upper()]
