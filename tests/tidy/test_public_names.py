"""The names of `import gossipsync` change on purpose only.

To accept a change:  UPDATE=1 scripts/test tests/tidy/test_public_names.py
"""

import ast
import os
from pathlib import Path

import gossipsync
from tests.tidy._rules import PACKAGE

SNAPSHOT = Path(__file__).with_name("public_names.txt")


def test_public_names_are_those_of_the_snapshot() -> None:
    names = "".join(f"{name}\n" for name in gossipsync.__all__)
    if os.environ.get("UPDATE"):
        SNAPSHOT.write_text(names, encoding="utf-8")
    assert names == SNAPSHOT.read_text(encoding="utf-8")


def test_public_names_exist_once() -> None:
    assert len(set(gossipsync.__all__)) == len(gossipsync.__all__)
    assert [name for name in gossipsync.__all__ if not hasattr(gossipsync, name)] == []


def test_every_all_is_a_literal() -> None:
    """So that ruff can sort it and type checkers can read it."""
    found = 0
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                    found += 1
                    assert isinstance(ast.literal_eval(value), list | tuple), path
                case ast.AugAssign(target=ast.Name(id="__all__")):
                    raise AssertionError(f"{path} adds to __all__")
    assert found >= 2
