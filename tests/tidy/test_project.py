"""What the files of the project promise one another."""

import os
import re
import subprocess
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest

from gossipsync.runtime.version import VERSION
from tests.tidy._rules import ROOT


def _project() -> dict[str, str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _changelog_agrees(changelog: str, project_version: str) -> bool:
    """The version is the newest released one, or the one that Unreleased works towards."""
    released = re.findall(r"^## \[(\d[^\]]*)\]", changelog, flags=re.MULTILINE)
    if released and released[0] == project_version:
        return True
    unreleased = changelog.partition("## [Unreleased]")[2].partition("\n## [")[0]
    return f"Working towards {project_version}" in unreleased


def test_version_is_the_same_everywhere() -> None:
    assert version("gossipsync") == VERSION
    assert _changelog_agrees((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), VERSION)


def test_a_forgotten_changelog_is_noticed() -> None:
    released = "## [Unreleased]\n\n## [0.2.0] – 2027-01-01\n\n## [0.1.0] – 2026-12-01\n"
    assert _changelog_agrees(released, "0.2.0")
    assert not _changelog_agrees(released, "0.1.0")
    assert not _changelog_agrees(released, "0.3.0")
    assert _changelog_agrees("## [Unreleased]\n\nWorking towards 0.3.0.\n" + released, "0.3.0")


def _scripts() -> list[Path]:
    folders = (ROOT / "scripts", ROOT / ".ci")
    return [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]


def _script_fault(path: Path) -> str | None:
    """A leading underscore marks a file that is sourced; a suffix, one that is imported."""
    if path.name.startswith("_") or path.suffix:
        return None
    if not os.access(path, os.X_OK):
        return f"{path.name}: not executable (git update-index --chmod=+x)"
    if not path.read_text(encoding="utf-8").startswith("#!/usr/bin/env "):
        return f"{path.name}: begins without #!/usr/bin/env"
    return None


def test_scripts_can_be_run() -> None:
    scripts = _scripts()
    assert {"run", "demo", "lint", "pin", "test"} <= {path.name for path in scripts}
    assert [fault for path in scripts if (fault := _script_fault(path))] == []


def test_scripts_parse() -> None:
    for path in _scripts():
        text = path.read_text(encoding="utf-8")
        if "bash" in text.partition("\n")[0] or path.name == "_venv":
            done = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


def test_an_unrunnable_script_is_noticed(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/env bash\n", encoding="utf-8")
    assert _script_fault(script)
    script.chmod(0o755)
    assert _script_fault(script) is None
    script.write_text("echo\n", encoding="utf-8")
    assert _script_fault(script)


def _unpinned(requirements: list[str], constraints: str) -> list[str]:
    pins = {line.partition("==")[0].lower() for line in constraints.splitlines() if "==" in line}
    names = [
        re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0] for requirement in requirements
    ]
    return [name for name in names if name.lower() not in pins]


def test_every_dependency_is_pinned() -> None:
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    requirements = requires("gossipsync") or []
    assert len(requirements) > 10
    assert _unpinned(requirements, constraints) == []
    assert _unpinned(["trio>=0.35", "nothing>=1"], constraints) == ["nothing"]


@pytest.mark.parametrize("line", (ROOT / "constraints.txt").read_text("utf-8").splitlines()[1:])
def test_pins_are_exact(line: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)
