"""Under CI a skipped test fails the run, unless the platform is the reason."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("source", "ci", "exit_code"),
    [
        ("def test_it(): pass", "true", 0),
        ("def test_it(): pytest.skip('no time')", "", 0),
        ("def test_it(): pytest.skip('no time')", "true", 1),
        ("def test_it(): pytest.skip('not on this platform: no fork')", "true", 0),
        ("pytest.skip('no docker', allow_module_level=True)", "true", 1),
        ("nothing = pytest.importorskip('nothing_of_that_name')\ndef test_it(): pass", "1", 1),
        ("@pytest.mark.xfail\ndef test_it(): assert False", "true", 0),
    ],
)
def test_ci_refuses_skips(tmp_path: Path, source: str, ci: str, exit_code: int) -> None:
    shutil.copy(Path(__file__).parents[1] / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "test_planted.py").write_text(
        f"import pytest\n{source}\ndef test_other(): pass\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert ("counts as failure" in done.stdout) == (exit_code == 1)
