"""The command group: which commands there are, and what `gossipsync --help` says.

Command modules import click and little else at their top; trio, rich and cryptography are imported
where a command first needs them, so that the shell's completion and `--help` stay quick.
"""

import click

from gossipsync.cli import _data, _diff, _dumps, _kinds, _mesh, _setup
from gossipsync.cli._demo import demo
from gossipsync.cli._options import Invocation, add_common
from gossipsync.cli._run import run
from gossipsync.cli._sim import sim

__all__ = ["app"]

_SECTIONS = (
    ("Set up", ("init", "invite", "join", "keygen", "run", "demo")),
    (
        "Read and write",
        ("get", "put", "del", "keys", "history", "watch", "incr", "sadd", "srem", "dump", "load"),
    ),
    ("Watch over", ("status", "members", "gossipinfo", "diff", "wait", "leave", "forget")),
    ("Study", ("sim",)),
)
_COMMANDS = (
    *(_setup.init, _setup.invite, _setup.join, _setup.keygen, run, demo),
    *(_data.get, _data.put, _data.delete, _data.keys, _data.history, _data.watch),
    *(_kinds.incr, _kinds.sadd, _kinds.srem, _dumps.dump, _dumps.load),
    *(
        _mesh.status,
        _mesh.members,
        _mesh.gossipinfo,
        _diff.diff,
        _mesh.wait,
        _mesh.leave,
        _mesh.forget,
    ),
    sim,
)


class _Sections(click.Group):
    """Lists the commands by what they are for, in the order in which one meets them."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        for title, names in _SECTIONS:
            with formatter.section(title):
                rows = [(name, self.commands[name].get_short_help_str(80)) for name in names]
                formatter.write_dl(rows)


@click.group(
    cls=_Sections,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start here: gossipsync demo. Then: gossipsync init mynet; gossipsync run -c mynet/gossipsync.toml",
)
@click.version_option(package_name="gossipsync", message="%(prog)s %(version)s")
@click.pass_context
def app(ctx: click.Context) -> None:
    """A gossip peer mesh: shared buckets in every process's memory, signed and kept equal.

    Most commands ask the peer that runs here (gossipsync run, or a service that embeds one).

    Exit codes: 0 fine, 1 error, 2 usage, 3 no peer answers, 4 unhealthy, 5 timed out.
    """
    ctx.ensure_object(Invocation)


add_common(app)
for _command in _COMMANDS:
    app.add_command(_command)
