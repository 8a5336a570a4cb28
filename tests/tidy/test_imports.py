"""The import contracts of pyproject.toml hold, and would notice if they did not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy._rules import ROOT


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [tool, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120
    )


def test_contracts_hold() -> None:
    done = _lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("core.wire._frames", "import gossipsync.core.membership._members"),
        ("core.wire._frames", "import gossipsync.core._peer"),
        ("core.model._ids", "import gossipsync.core.ports"),
        ("core.model._ids", "import time"),
        ("core._peer", "import trio"),
        ("core.model._ids", "import gossipsync.embed"),
        ("sim._world", "import gossipsync.runtime"),
        ("sim._world", "from time import monotonic"),
        ("stores._memory", "import gossipsync.runtime"),
        ("embed._mesh", "import gossipsync.cli"),
        ("errors", "import gossipsync.core"),
        ("undeclared._x", "import json"),
    ],
)
def test_contracts_catch_a_planted_import(tmp_path: Path, module: str, statement: str) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    package = tmp_path / "gossipsync"
    for name in ("cli", "integrations", "embed", "runtime", "stores", "sim"):
        _write(package / name / "__init__.py")
    for name in ("replication", "membership", "wire", "model"):
        _write(package / "core" / name / "__init__.py")
    for name in ("__init__", "errors", "core/__init__", "core/ports", "core/_peer"):
        _write(package / f"{name}.py")
    _write(package / "core/membership/_members.py")
    _write(package / "sim/_world.py")
    assert _lint_imports(tmp_path).returncode == 0

    planted = package / (module.replace(".", "/") + ".py")
    _write(planted.parent / "__init__.py")
    _write(planted, statement)
    done = _lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr


def _write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
