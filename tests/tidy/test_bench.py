"""The benchmarks run, at small sizes, and report what docs/performance.md shows. How fast is no test's business."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.tidy._rules import ROOT

PAGE = ROOT / "docs" / "performance.md"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "_bench", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_list_names_all_that_there_is() -> None:
    listed = bench("--list")
    assert listed.returncode == 0, listed.stderr
    names = [line.split()[0] for line in listed.stdout.splitlines()]
    assert len(set(names)) == len(names) == 12
    assert all(f"`{name}`" in PAGE.read_text(encoding="utf-8") for name in names)


def test_small_sizes_of_each_sort_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    head = "# T\n\n<!-- figures: written by scripts/bench -->\nold\n<!-- /figures -->\nkept\n"
    page.write_text(head, encoding="utf-8")
    only = ["--only", "local", "--only", "catch-up", "--only", "latency"]
    done = bench("--quick", *only, "-o", "json", "--write", str(page))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == 1
    assert {figure["benchmark"] for figure in report["figures"]} == {"local", "catch-up", "latency"}
    assert all(figure["value"] > 0 for figure in report["figures"])
    assert all(figure["target"] is None for figure in report["figures"])
    written = page.read_text(encoding="utf-8")
    assert "| get |" in written
    assert "old" not in written
    assert written.endswith("kept\n")


def test_a_page_without_a_place_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# T\n", encoding="utf-8")
    done = bench("--only", "local", "--quick", "--write", str(page))
    assert done.returncode == 2
    assert "no place for figures" in done.stderr
    assert page.read_text(encoding="utf-8") == "# T\n"
