"""The command line: `gossipsync`, also `python -m gossipsync`.

It knows no more than any program on this machine could: it reads the settings and asks the local peer
over the control socket. Only `run` starts a peer, and only `init` and `join` write files.

Invariant: data goes to stdout, messages to stderr, and every failure ends as `_failures` says.
"""

import os
import sys
from collections.abc import Sequence

import click

from gossipsync.cli._failures import Exit, exit_code, failure_line
from gossipsync.cli._text import shown
from gossipsync.errors import GossipsyncError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Never raises for what a user, a peer or a pipe did."""
    _prepare_streams()
    try:
        code = _outcome(arguments)
        sys.stdout.flush()
    except (
        BrokenPipeError,
        SystemExit,
    ):  # click turns a broken pipe, and nothing else, into the latter
        # Whoever read us has seen enough. Python would complain once more while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FINE
    return code


def _outcome(arguments: Sequence[str] | None) -> int:
    from gossipsync.cli._app import app

    try:
        result = app.main(arguments, prog_name="gossipsync", standalone_mode=False)
    except click.UsageError as error:
        if error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
        command = error.ctx.command_path if error.ctx is not None else "gossipsync"
        return _fail(Exit.USAGE, "usage", f"{error.format_message()}; see {command} --help")
    except click.ClickException as error:
        return _fail(Exit.ERROR, "local", error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return _fail(Exit.ERROR, "interrupted", "interrupted")
    except BrokenPipeError:
        raise
    except GossipsyncError as error:
        return _fail(exit_code(error), error.code, str(error))
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        return _fail(Exit.ERROR, "local", f"{where}{error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - the last line of stderr is promised whatever happens
        import traceback

        for line in traceback.format_exc().splitlines():
            click.echo(shown(line), err=True)
        return _fail(Exit.ERROR, "internal", f"{type(error).__name__}: {error}")
    return result if isinstance(result, int) else Exit.FINE


def _fail(code: Exit, name: str, message: str) -> int:
    sys.stdout.flush()
    click.echo(failure_line(name, message), err=True)
    return code


def _prepare_streams() -> None:
    """Output never fails for a character the terminal lacks, and warnings read like messages."""
    import io
    import warnings

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def show(message: Warning | str, *_: object, **__: object) -> None:
        click.echo(f"warning: {shown(message)}", err=True)

    warnings.showwarning = show  # documented as replaceable
