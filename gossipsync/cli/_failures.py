"""From an error to what the shell sees: the last line of stderr, and an exit code.

Invariant: every failure ends stderr with one line `error[CODE]: what, and what to do next`, escaped, and
every exit code is one that the contract names.
"""

from enum import IntEnum
from typing import ClassVar

from gossipsync.cli._text import shown
from gossipsync.errors import GossipsyncError, TransportError, WaitTimeoutError

__all__ = ["Exit", "NoPeerError", "UnhealthyError", "exit_code", "failure_line"]


class Exit(IntEnum):
    """What an exit code says."""

    FINE = 0
    ERROR = 1
    USAGE = 2
    NO_PEER = 3
    UNHEALTHY = 4
    TIMED_OUT = 5


class NoPeerError(TransportError):
    """No peer answers on the control socket.

    Fault: no peer runs with these settings, or it is stuck. State: nothing was asked. Next: start one
    with `gossipsync run`, or name its socket.
    """

    code: ClassVar[str] = "no-peer"


class UnhealthyError(GossipsyncError):
    """`status --check` found this peer unfit to serve.

    Fault: as the message says. State: nothing was changed. Next: see the warnings of `status`.
    """

    code: ClassVar[str] = "unhealthy"


def exit_code(error: GossipsyncError) -> Exit:
    """The exit code that tells a script what kind of failure this was."""
    match error:
        case NoPeerError():
            return Exit.NO_PEER
        case UnhealthyError():
            return Exit.UNHEALTHY
        case WaitTimeoutError():
            return Exit.TIMED_OUT
        case _:
            return Exit.ERROR


def failure_line(code: str, message: str) -> str:
    """The last line of stderr. Where the message names no next step, the code's own is added."""
    text = shown(" ".join(message.split())).rstrip(".")
    step = _NEXT_STEPS.get(code)
    if step is None or ";" in text:
        return f"error[{code}]: {text}"
    return f"error[{code}]: {text}; {step}"


# A message that names its own next step does so after a semicolon; these serve the others.
_NEXT_STEPS = {
    "absent": "put the whole value first",
    "ack-timeout": "the write stays and spreads; look at `gossipsync members`, or wait longer",
    "bucket-kind": "use the command for the bucket's kind, or another bucket",
    "closed": "start the peer again with `gossipsync run`",
    "config": "correct that setting and try again",
    "cursor": "watch again without --since",
    "ended-key": "use a new key, as for a new session",
    "interrupted": "run it again when you are ready",
    "hand-over": "write again from another process, and see that a seed answers",
    "internal": "restart the peer and report this with the whole message",
    "key-too-long": "use a shorter key, or a hash of the long one",
    "no-peer": "start a peer with `gossipsync run`, or name its socket with --socket",
    "not-permitted": "run it as the peer's own user, or ask the network's operator for the right",
    "not-ready": "try again in a moment, or look at `gossipsync status` if it lasts",
    "overloaded": "wait a moment and try again",
    "remote": "look at `gossipsync status` and at the other peer's version",
    "store": "repair the cause, then start the peer again",
    "store-corrupt": "move the file aside and start again; the mesh gives back what it holds",
    "store-full": "make room, then start the peer again",
    "store-locked": "stop the other process, or give this one its own data_dir",
    "timeout": "wait longer with --timeout, or look at `gossipsync status`",
    "token": "use a token of this mesh, as `put -o json` prints it",
    "transport": "check the address, the network and the credentials",
    "unhealthy": "look at the warnings and members of `gossipsync status`",
    "usage": "see --help",
    "value-too-large": "store less, or keep the bulk elsewhere and share a reference",
    "value-type": "store JSON, text, or --bytes",
}
