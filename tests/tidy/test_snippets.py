"""README and docs: what they show runs. How to write snippets: the top of `_snippets.py`."""

from pathlib import Path

import pytest

from tests.tidy._rules import ROOT
from tests.tidy._snippets import faults

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_the_page_shows_runs(page: Path, tmp_path: Path) -> None:
    found = list(faults(page.read_text(encoding="utf-8"), tmp_path))
    name = page.relative_to(ROOT)
    assert not found, "\n".join(f"{name}:{fault}" for fault in found)


def _page(text: str) -> str:
    return text.replace("'''", "```")


def test_what_runs_is_accepted(tmp_path: Path) -> None:
    page = """
<!-- file: conf/a.toml -->
'''toml
x = 1
'''

'''python
from pathlib import Path
import gossipsync
assert Path("conf/a.toml").read_text() == "x = 1\\n"
n = 1
'''

<!-- continues -->
'''python
assert n == 1
'''

- in a list:
  '''console
  $ echo made \\
  >   > made
  no command
  $ test -e made
  '''

  <!-- continues -->
  '''bash
  test -e made
  '''

<!-- not executed: it needs three machines -->
'''bash
false
'''
"""
    assert list(faults(_page(page), tmp_path)) == []


@pytest.mark.parametrize(
    "page",
    [
        "'''python\nraise SystemExit(1)\n'''",
        "'''python\nimport warnings; warnings.warn('old')\n'''",
        "'''python\ngossipsync\n'''",
        "'''bash\nfalse\ntrue\n'''",
        "'''console\n$ false\n'''",
        "'''python\nn = 1\n'''\n\n'''python\nn\n'''",
        "'''\nno language\n'''",
        "'''sh\ntrue\n'''",
        "<!-- not executed -->\n'''bash\nfalse\n'''",
        "<!-- not executed: -->\n'''bash\nfalse\n'''",
    ],
)
def test_what_does_not_run_is_noticed(page: str, tmp_path: Path) -> None:
    found = list(faults(_page(page), tmp_path))
    assert len(found) == 1, found
