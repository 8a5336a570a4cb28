"""How a worker process is told what to do: a line of JSON for each command on standard input, one for each answer.

Invariant: `obey` returns when standard input ends.
"""

import json
import sys
from collections.abc import Callable, Iterator
from threading import Thread

__all__ = ["obey"]


def obey(commands: object) -> None:
    """Say that everything is imported, then call what is named and answer what it returns; of an iterator, each of its items."""
    _answer(None)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        command: Callable[..., object] = getattr(commands, name)
        answer = command(**arguments)
        if isinstance(answer, Iterator):
            Thread(target=_answer_all, args=(answer,), daemon=True).start()
        else:
            _answer(answer)


def _answer_all(answers: Iterator[object]) -> None:
    for answer in answers:
        _answer(answer)


def _answer(answer: object) -> None:
    print(json.dumps(answer), flush=True)
