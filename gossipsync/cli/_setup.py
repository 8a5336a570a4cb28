"""Making a network and getting into one: init, invite, join, keygen.

Invariant: a target folder is made whole or not touched, and a secret is printed only by the command
whose purpose it is.
"""

import json
import random
import sys
from pathlib import Path

import click

from gossipsync.cli._files import new_file
from gossipsync.cli._options import DURATION, Invocation, PeerCommand, SetupCommand
from gossipsync.cli._text import shown
from gossipsync.errors import ConfigError

__all__ = ["init", "invite", "join", "keygen"]

_CREDENTIALS_FOLDER = "credentials"
_CONFIG_FILE = "gossipsync.toml"
_PORTS = range(20_000, 30_000)
"""Below the ports that the kernel hands to outgoing connections, so a chosen one stays free."""


@click.command(cls=SetupCommand, epilog="Example: gossipsync init mynet --network shop")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--network", metavar="NAME", help="The network's name  [default: the folder's]")
@click.option(
    "--name", metavar="N", default="issuer", help="The first peer's name  [default: issuer]"
)
@click.option(
    "--listen", metavar="HOST:PORT", help="Where it listens  [default: a free port on 127.0.0.1]"
)
def init(folder: Path, network: str | None, name: str, listen: str | None) -> None:
    """Create a network in DIR.

    Writes its CA, the first peer's credentials and gossipsync.toml. The peer of DIR is the network's issuer: while it runs, `gossipsync invite` lets others in.
    """
    from gossipsync.runtime.trust import create_network

    _check_target(folder)
    network = network or folder.absolute().name
    text = _config_text(name, listen or _free_address(), ())
    create_network(folder / _CREDENTIALS_FOLDER, network, name)
    _write_config(folder, text)
    click.echo(f"network {shown(network)} made in {shown(folder)}", err=True)
    config = shown(folder / _CONFIG_FILE)
    click.echo(f"next: gossipsync run -c {config}, and gossipsync invite -c {config}", err=True)


@click.command(
    cls=PeerCommand,
    epilog="Example: gossipsync invite --name web2 --bucket 'sessions' --out web2.invite",
)
@click.option("--name", metavar="N", help="The new peer's name.")
@click.option(
    "--bucket",
    "buckets",
    metavar="GLOB",
    multiple=True,
    help="Buckets it may write; may be given again  [default: *]",
)
@click.option(
    "--uses",
    metavar="N",
    type=click.IntRange(1, 10_000),
    default=1,
    help="How many peers it lets in  [default: 1]",
)
@click.option(
    "--ttl", metavar="D", type=DURATION, default="1h", help="How long it is good for  [default: 1h]"
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write it here, mode 0600, instead of stdout.",
)
@click.pass_obj
def invite(
    invocation: Invocation,
    name: str | None,
    buckets: tuple[str, ...],
    uses: int,
    ttl: float,
    out: Path | None,
) -> None:
    """Make an invite at the running issuer.

    Prints it, and nothing else, on stdout. An invite is a secret until it is used or has expired.
    """
    with invocation.call() as caller:
        text = caller.ask("invite", name=name, buckets=list(buckets) or ["*"], uses=uses, ttl_s=ttl)
    if out is None:
        click.echo(text)
        return
    with new_file(out) as file:
        file.write(f"{text}\n".encode())


@click.command(cls=SetupCommand, epilog="Example: gossipsync join - web2 < web2.invite")
@click.argument("invite", metavar="INVITE")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--name", metavar="N", help="This peer's name  [default: the invite's, else the folder's]"
)
@click.option(
    "--listen", metavar="HOST:PORT", help="Where it listens  [default: a free port on 127.0.0.1]"
)
def join(invite: str, folder: Path, name: str | None, listen: str | None) -> None:
    """Become a member by an invite.

    Redeems INVITE (- reads it from stdin) at its issuer, which must be running. DIR gets credentials and a gossipsync.toml whose seeds are the issuer's addresses.
    """
    import trio

    from gossipsync.runtime.trust.invites import parse_invite
    from gossipsync.runtime.trust.redeem import redeem_invite

    text = sys.stdin.read() if invite == "-" else invite
    parsed = parse_invite(text)
    _check_target(folder)
    name = name or parsed.terms.name or folder.absolute().name
    config = _config_text(name, listen or _free_address(), parsed.addresses)
    trio.run(redeem_invite, text, folder / _CREDENTIALS_FOLDER)
    _write_config(folder, config)
    click.echo(
        f"joined as {shown(name)}; next: gossipsync run -c {shown(folder / _CONFIG_FILE)}", err=True
    )


@click.command(cls=SetupCommand, epilog="Example: (umask 077; gossipsync keygen > cluster.key)")
def keygen() -> None:
    """Print a new cluster key.

    Whoever holds it is a member and can let others in. Hand it to peers as cluster_key_file (mode 0600) or in GOSSIPSYNC_CLUSTER_KEY, never in an argument.
    """
    from gossipsync.runtime.trust import keygen as new_key

    click.echo(new_key())


def _check_target(folder: Path) -> None:
    """Raise ConfigError unless `folder` is absent or an empty folder."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise ConfigError(
            f"{folder} exists and is not an empty folder; choose another, or remove it"
        )


def _config_text(name: str, listen: str, seeds: tuple[str, ...]) -> str:
    """The settings file of a new peer. Raises ConfigError for a bad name or address."""
    from gossipsync.runtime.sources import load_settings

    load_settings(None, {"name": name, "listen": listen, "credentials": _CREDENTIALS_FOLDER})
    lines = [
        f"name = {_quoted(name)}",
        f"listen = {_quoted(listen)}      # where this peer listens",
        '# advertise = "host:port"      # what others dial, if that is another address',
        f'credentials = "{_CREDENTIALS_FOLDER}"',
        'data_dir = "data"',
    ]
    if seeds:
        lines.append(f"seeds = [{', '.join(map(_quoted, seeds))}]")
    lines += ["", "# [buckets.sessions]", '# kind = "map"', "# ttl = 1800", '# deletes = "final"']
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML string: what JSON writes between quotes, as long as no escape makes surrogates."""
    return json.dumps(text, ensure_ascii=False)


def _write_config(folder: Path, text: str) -> None:
    with new_file(folder / _CONFIG_FILE) as file:
        file.write(text.encode())


def _free_address() -> str:
    """A port on loopback that nobody has now: fixed in the settings, so that others find it again."""
    import socket

    for port in random.sample(_PORTS, 50):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return f"127.0.0.1:{port}"
    raise ConfigError("no free port found on 127.0.0.1; name one with --listen")
