"""`gossipsync run`: one peer in the foreground.

Invariant: stdout carries the one line that says the peer serves, written after it does; everything
else goes to stderr. The first SIGTERM or SIGINT closes the peer, whatever it was doing.
"""

import logging
import signal
import sys
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

import click

from gossipsync.cli._options import Invocation, SetupCommand
from gossipsync.cli._text import shown
from gossipsync.errors import InternalError

if TYPE_CHECKING:
    from gossipsync.runtime.engine import Engine
    from gossipsync.runtime.settings import Settings

__all__ = ["run"]

_CLOSE_S: Final = 3.0
"""The engine ends within two seconds; the rest is for a machine under load."""


@click.command(
    cls=SetupCommand,
    epilog="Example: GOSSIPSYNC_CLUSTER_KEY_FILE=cluster.key gossipsync run --name a --data-dir a",
)
@click.option("--name", metavar="N", help="This peer's name.")
@click.option("--listen", metavar="HOST:PORT", help="Where to listen.")
@click.option("--advertise", metavar="HOST:PORT", help="What others are to dial instead.")
@click.option(
    "--seed", "seeds", metavar="HOST:PORT", multiple=True, help="Whom to dial first; repeatable."
)
@click.option(
    "--data-dir", metavar="DIR", type=click.Path(path_type=Path), help="Where to keep data."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What to say on stderr.",
)
@click.pass_obj
def run(
    invocation: Invocation,
    name: str | None,
    listen: str | None,
    advertise: str | None,
    seeds: tuple[str, ...],
    data_dir: Path | None,
    log_level: str,
) -> None:
    """Run a peer in the foreground.

    It ends at SIGTERM or Ctrl-C, within two seconds. Prints `ready name=… address=… peer_id=…` when it serves. Options win over the environment, and
    that over the settings file; the cluster key comes from the latter two only.
    """
    from attrs import evolve

    from gossipsync.cli._settings import settings_of
    from gossipsync.runtime.control_protocol import socket_path

    _log_to_stderr(log_level)
    given = {"name": name, "listen": listen, "advertise": advertise, "data_dir": data_dir}
    settings = settings_of(
        invocation.config, **given, seeds=list(seeds) or None, socket=invocation.socket
    )
    # Named outright, so that a peer nobody could ask for its state does not start.
    _serve(evolve(settings, socket=socket_path(settings)))


def _serve(settings: "Settings") -> None:
    """Run the peer until a signal, or `gossipsync leave`. Raises what keeps it from serving."""
    from gossipsync.embed._start import build_engine
    from gossipsync.runtime.clock import SystemClock
    from gossipsync.runtime.host import EngineThread

    # SimpleQueue because a signal may interrupt a put, and its put may be entered again.
    moments: SimpleQueue[str] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: moments.put("stop"))
    thread = EngineThread(lambda: build_engine(settings, SystemClock()))
    thread.when_started(lambda: moments.put("started"))
    thread.when_ended(lambda: moments.put("ended"))
    thread.start()
    if moments.get() == "stop":
        return  # while the store is read: nothing has been promised yet, and the thread dies with us
    if thread.engine is not None:
        _say_ready(thread.engine)
        if moments.get() == "stop":
            thread.engine.request_close()
    if not thread.join(_CLOSE_S):
        raise InternalError("the peer did not close in time")
    if thread.error is not None:
        raise thread.error


def _say_ready(engine: "Engine") -> None:
    from gossipsync.core.model.ids import peer_text

    address = engine.addresses[0] if engine.addresses else "-"
    name, peer_id = shown(engine.settings.name), peer_text(engine.peer.peer_id)
    click.echo(f"ready name={name} address={address} peer_id={peer_id}")
    sys.stdout.flush()


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Escaping("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("gossipsync")
    logger.addHandler(handler)
    logger.setLevel(level.upper())


class _Escaping(logging.Formatter):
    """Whatever an error quotes, a traceback's included, stays printable; its own line breaks stay."""

    def format(self, line: logging.LogRecord) -> str:
        return "\n".join(map(shown, super().format(line).splitlines()))
