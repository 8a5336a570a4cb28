"""ruff refuses clocks and entropy where time and randomness are arguments, and only there."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy._rules import ROOT


def _banned(path: str, code: str) -> bool:
    tool = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [tool, "check", "--no-cache", "--select=TID251", f"--stdin-filename={path}", "-"],
        cwd=ROOT,
        input=code,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in {0, 1}, done.stderr
    return "TID251" in done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.monotonic()\n",
        "from time import time_ns\n",
        "import datetime\ndatetime.datetime.now()\n",
        "import random\nrandom.choice([1])\n",
        "import random\nrandom.SystemRandom()\n",
        "import os\nos.urandom(8)\n",
        "import secrets\n",
        "import uuid\nuuid.uuid4()\n",
    ],
)
def test_clock_and_entropy_are_banned_in_core_stores_and_sim(code: str) -> None:
    for package in ("core/model", "core", "stores", "sim"):
        assert _banned(f"gossipsync/{package}/_planted.py", code)
    for package in ("runtime", "embed", "cli"):
        assert not _banned(f"gossipsync/{package}/_planted.py", code)


def test_a_seeded_generator_is_allowed() -> None:
    assert not _banned("gossipsync/sim/_planted.py", "import random\nrng = random.Random(7)\n")
