"""What the commands share: the options every one of them takes, and the types of their arguments.

`-c` and `--socket` may stand before or after the command's name; the one after it wins.
"""

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click
from attrs import define, frozen

from gossipsync.errors import ConfigError

if TYPE_CHECKING:
    from gossipsync.cli._caller import Caller

__all__ = [
    "ACK",
    "DURATION",
    "NEVER",
    "SECONDS",
    "Invocation",
    "PeerCommand",
    "SetupCommand",
    "Terms",
    "add_common",
    "output_option",
    "repeat_option",
    "write_options",
]

F = TypeVar("F", bound=Callable[..., object])
NEVER: Final = -1
"""A life without end, as the core spells it."""


@define
class Invocation:
    """Which settings, and which peer, this call of the command line is about."""

    config: Path | None = None
    socket: Path | None = None

    def socket_path(self) -> Path:
        """Where the local peer listens. Raises ConfigError for settings that cannot be read."""
        if self.socket is not None:
            return self.socket
        from gossipsync.cli._settings import settings_of
        from gossipsync.runtime.control_protocol import socket_path

        return socket_path(settings_of(self.config))

    def call(self) -> "Caller":
        """A connection to the local peer. Raises NoPeerError."""
        from gossipsync.cli._caller import Caller

        return Caller(self.socket_path())


class _Duration(click.ParamType[float]):
    """A span: a number of seconds, or 20ms, 30s, 10m, 1h, 7d; given to commands in seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        from gossipsync.cli._settings import seconds_of

        try:
            return seconds_of(str(value))
        except ConfigError as error:
            self.fail(str(error), param, ctx)


class _Ack(click.ParamType[int | str]):
    """How many other members must have stored a write: a number, or a word."""

    name = "ack"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        from gossipsync.core.model.acks import ACK_WORDS

        text = str(value)
        if text in ACK_WORDS:
            return text
        if not re.fullmatch(r"[0-9]{1,6}", text):
            words = ", ".join(ACK_WORDS)
            self.fail(f"{text!r} is none of: a number of members, {words}", param, ctx)
        return int(text)


DURATION: Final = _Duration()
ACK: Final = _Ack()
SECONDS: Final = click.FloatRange(min=0, max=1e9)


def _remember(attribute: str) -> Callable[[click.Context, click.Parameter, Path | None], None]:
    def remember(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
        invocation = ctx.ensure_object(Invocation)
        if value is not None:
            setattr(invocation, attribute, value)

    return remember


def _config_option() -> click.Option:
    return click.Option(
        ["-c", "--config"],
        metavar="FILE",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_remember("config"),
        help="Settings file  [default: $GOSSIPSYNC_CONFIG, else ./gossipsync.toml]",
    )


def _socket_option() -> click.Option:
    return click.Option(
        ["--socket"],
        metavar="PATH",
        type=click.Path(path_type=Path),
        envvar="GOSSIPSYNC_SOCKET",
        expose_value=False,
        callback=_remember("socket"),
        help="The local peer's control socket  [default: from the settings]",
    )


def add_common(group: click.Group) -> None:
    """Let `-c` and `--socket` stand before the command's name too."""
    group.params += [_config_option(), _socket_option()]


class SetupCommand(click.Command):
    """A command that takes `-c FILE`."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click's own, untouched
        self.params.append(_config_option())


class PeerCommand(SetupCommand):
    """A command that asks the local peer: it takes `--socket PATH` too."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(_socket_option())


def output_option(function: F) -> F:
    """`-o`: how to print what a command lists or reports."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "ndjson"]),
        default="table",
        help="table for people, json for programs, ndjson for one JSON line a row.",
    )(function)


def repeat_option(function: F) -> F:
    """`-w`: print again and again, until interrupted."""
    return click.option(
        "-w",
        "--watch",
        "every_s",
        metavar="SECS",
        type=click.FloatRange(min=0.1),
        help="Print again every SECS seconds, until Ctrl-C.",
    )(function)


@frozen
class Terms:
    """On what terms a write is made."""

    ack: int | str
    timeout_s: float | None
    after: str | None


def write_options(function: Callable[..., None]) -> Callable[..., None]:
    """`--ack`, `--timeout` and `--after` of everything that writes, as one argument `terms`."""

    @wraps(function)
    def with_terms(
        *args: object, ack: int | str, timeout_s: float | None, after: str | None, **more: object
    ) -> None:
        function(*args, terms=Terms(ack, timeout_s, after), **more)

    wrapped = click.option(
        "--after",
        metavar="TOKEN",
        help="Order this write after all that TOKEN stands for, whatever the clocks say.",
    )(with_terms)
    wrapped = click.option(
        "--timeout",
        "timeout_s",
        metavar="S",
        type=SECONDS,
        help="Seconds to wait for --ack  [default: the peer's ack_timeout, 5]",
    )(wrapped)
    return click.option(
        "--ack",
        type=ACK,
        default="self",
        help="Wait until it is stored by N other members, or by: self, majority, all, zones  [default: self]",
    )(wrapped)
