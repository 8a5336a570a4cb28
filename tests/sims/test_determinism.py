"""The same seed gives the same trace: twice here, under other hash seeds, and on every other Python that is at hand."""

import os
import shutil
import subprocess
import sys

import pytest

from gossipsync.sim import Result, run

WORLD = {
    "peers": 12,
    "seed": 7,
    "updates": 40,
    "writers": 3,
    "workload": "sessions",
    "rate": 10.0,
    "push": True,
    "membership": "on",
    "start": "cold",
    "spread": "wan",
    "loss": 0.1,
    "crashes": 3.0,
    "churn": 2.0,
    "skew": 500.0,
    "quiet": 5.0,
    "jitter": 0.2,
}
PROGRAM = f"from gossipsync.sim import run; print(run(**{WORLD!r}).trace_hash)"


@pytest.fixture(scope="module")
def first() -> Result:
    """The world as it came out the first time."""
    return run(**WORLD)


def test_twice_the_same(first: Result) -> None:
    second = run(**WORLD)
    assert first.document() == second.document()
    assert first.rows == second.rows
    assert first.is_fine


def test_another_seed_is_another_world() -> None:
    assert run(peers=20, seed=1).trace_hash != run(peers=20, seed=2).trace_hash


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_whatever_the_hash_seed(first: Result, hash_seed: str) -> None:
    assert _hash_of(sys.executable, hash_seed) == first.trace_hash


OTHERS = [
    path
    for name in ("python3.11", "python3.12", "python3.13", "python3.14")
    if (path := shutil.which(name)) and f"{sys.version_info[0]}.{sys.version_info[1]}" not in name
]


def test_on_every_other_python(first: Result) -> None:
    """Only those that have the libraries can say anything; none may disagree."""
    expected = first.trace_hash
    said = [_hash_of(python, "1", must=False) for python in OTHERS]
    assert {other for other in said if other} <= {expected}


def test_checking_changes_nothing(first: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipsync.sim.checkers.CHECKERS", ())
    assert run(**WORLD).trace_hash == first.trace_hash


def _hash_of(python: str, hash_seed: str, *, must: bool = True) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [python, "-c", PROGRAM], capture_output=True, text=True, env=environment, timeout=120
    )
    if must:
        assert done.returncode == 0, done.stderr
    return done.stdout.strip()
