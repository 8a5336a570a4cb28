"""The house rules that can be read off the source, each a function from a module to complaints.

`test_house_rules.py` runs every rule over the package and over a planted violation.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "gossipsync"

MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 70

# Each has a word of ours instead: entry, bucket, peer, what the thing really does.
BANNED_WORDS = {
    *("record", "records", "item", "items", "namespace", "namespaces"),
    *("server", "servers", "client", "clients", "alice", "bob"),
    *("manager", "managers", "helper", "helpers", "util", "utils"),
}
ALLOWED_IDENTIFIERS = {
    "items": "the mapping protocol calls it so",
    "server_side": "an argument of ssl.SSLContext.wrap_*",
    "server_hostname": "an argument of ssl.SSLContext.wrap_*",
    "CLIENT_AUTH": "ssl.Purpose and x509 extended key usage",
    "SERVER_AUTH": "ssl.Purpose and x509 extended key usage",
}

# Where outside bytes become typed values, the type is not known before it is checked.
ANY_ALLOWED = {"core/wire/_codec.py"}

# These may make their own entropy; everywhere else `random.Random()` without a seed hides it.
ENTROPY_ALLOWED = ("runtime/", "embed/", "cli/")


@dataclass(frozen=True)
class Module:
    path: str  # relative to gossipsync/
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)


def package_modules() -> list[Module]:
    return [
        Module(path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def module_length(module: Module) -> Iterator[str]:
    lines = len(module.text.splitlines())
    if lines > MAX_MODULE_LINES:
        yield f"{module.path}: {lines} lines; split it (at most {MAX_MODULE_LINES})"


def function_length(module: Module) -> Iterator[str]:
    """The docstring is not counted: nobody should save on it."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        first = node.body[0]
        if ast.get_docstring(node) is not None:
            lines -= (first.end_lineno or first.lineno) - first.lineno + 1
        if lines > MAX_FUNCTION_LINES:
            yield (
                f"{module.path}:{node.lineno}: {node.name} has {lines} lines"
                f" (at most {MAX_FUNCTION_LINES})"
            )


def module_docstring(module: Module) -> Iterator[str]:
    if not ast.get_docstring(module.tree):
        yield f"{module.path}: no docstring; say what, why, and the invariant it keeps"


def banned_words(module: Module) -> Iterator[str]:
    """Only names we give are checked; what a library calls its own is not ours to choose."""
    given = [*_names_given(module.tree), *((0, part) for part in Path(module.path).parts)]
    for line, name in given:
        if name in ALLOWED_IDENTIFIERS:
            continue
        for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name):
            if word.lower() in BANNED_WORDS:
                yield f"{module.path}:{line}: {name!r} says {word!r}; see docs/glossary.md"


def _names_given(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(value=ast.Name(id="self" | "cls"), ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.Import() | ast.ImportFrom():
                yield from ((node.lineno, alias.asname) for alias in node.names if alias.asname)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield node.lineno, name


def bare_any(module: Module) -> Iterator[str]:
    if module.path in ANY_ALLOWED:
        return
    for node in ast.walk(module.tree):
        match node:
            case ast.Name(id="Any") | ast.Attribute(value=ast.Name(id="typing"), attr="Any"):
                yield f"{module.path}:{node.lineno}: Any; say `object`, or what it really is"


def unseeded_random(module: Module) -> Iterator[str]:
    if module.path.startswith(ENTROPY_ALLOWED):
        return
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(
                func=ast.Name(id="Random") | ast.Attribute(attr="Random"), args=[], keywords=[]
            ):
                yield f"{module.path}:{node.lineno}: Random() without a seed reads entropy"


_MARKS = "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3))


def unfinished(module: Module) -> Iterator[str]:
    for number, line in enumerate(module.text.splitlines(), start=1):
        if found := re.search(rf"\b(?:{_MARKS})\b", line):
            yield f"{module.path}:{number}: {found[0]}; finish it, or open an issue and drop it"


RULES = (
    module_length,
    function_length,
    module_docstring,
    banned_words,
    bare_any,
    unseeded_random,
    unfinished,
)
