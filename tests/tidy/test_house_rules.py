"""The house rules of `_rules.py`, over the whole package, and over violations planted here."""

from collections.abc import Callable, Iterator

import pytest

from tests.tidy._rules import (
    MAX_FUNCTION_LINES,
    MAX_MODULE_LINES,
    ROOT,
    RULES,
    Module,
    banned_words,
    bare_any,
    function_length,
    module_docstring,
    module_length,
    package_modules,
    unfinished,
    unseeded_random,
)

Rule = Callable[[Module], Iterator[str]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_package_keeps_the_rule(rule: Rule) -> None:
    modules = package_modules()
    assert "errors.py" in {module.path for module in modules}
    complaints = [line for module in modules for line in rule(module)]
    assert not complaints, "\n" + "\n".join(complaints)


def test_nothing_unfinished_outside_the_package() -> None:
    folders = ("tests", "scripts", "sims", "docs", ".ci")
    files = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix in {"", ".py", ".md"}
    ]
    assert len(files) > 10
    complaints = [
        line
        for path in files
        for line in unfinished(
            Module(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
        )
    ]
    assert not complaints, "\n" + "\n".join(complaints)


def _function(lines: int, docstring: str = "") -> str:
    return "\n".join(
        ["def f():", *([docstring] if docstring else []), *["    x = 1"] * (lines - 1)]
    )


PLANTED: list[tuple[Rule, str, str]] = [
    (module_length, "x = 1\n" * (MAX_MODULE_LINES + 1), "x = 1\n" * MAX_MODULE_LINES),
    (
        function_length,
        _function(MAX_FUNCTION_LINES + 1),
        _function(MAX_FUNCTION_LINES, '    "doc"'),
    ),
    (module_docstring, "x = 1\n", '"""What it is."""\n'),
    (banned_words, "class LinkManager: ...", "class Link: ..."),
    (banned_words, "def put(item_count): ...", "popitem = itemgetter(0)"),
    (banned_words, "self.HTTPServer = 1", "import http.server"),
    (banned_words, "from x import y as client", "wrap(server_side=True, client=peer)"),
    (banned_words, "for record in log: ...", "def items(self): ..."),
    (bare_any, "def f(x: dict[str, Any]): ...", "def f(x: dict[str, object]): ..."),
    (bare_any, "x: typing.Any = 1", "any([])"),
    (unseeded_random, "rng = random.Random()", "rng = random.Random(7)"),
    (unseeded_random, "rng = Random()", "rng = Random(seed)"),
    (unfinished, "# TO" + "DO: later", "# all done"),
]


@pytest.mark.parametrize(("rule", "bad", "good"), PLANTED)
def test_the_rule_catches_a_planted_violation(rule: Rule, bad: str, good: str) -> None:
    assert list(rule(Module("core/_planted.py", bad)))
    assert not list(rule(Module("core/_planted.py", good)))


def test_every_rule_has_a_planted_violation() -> None:
    assert {rule for rule, _, _ in PLANTED} == set(RULES)


def test_module_names_follow_the_glossary() -> None:
    assert list(banned_words(Module("core/_utils.py", "")))
