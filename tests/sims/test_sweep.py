"""Sweeps: what runs, what is kept, and that an interrupted one goes on; on processes and on a Dask cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gossipsync.cli import main
from gossipsync.errors import ConfigError
from gossipsync.sim.scenarios import load
from gossipsync.sim.sweep import Archive, Job, jobs_of, run_job, sweep

SMALL = ("sim", "sweep", "--peers", "8,12", "--fanout", "1,2", "--seeds", "2")


class _Here:
    """A pool that runs here and counts."""

    def __init__(self, most: int = 1000) -> None:
        self.ran: list[Job] = []
        self._most = most

    def rows(self, jobs):
        for job in jobs:
            if len(self.ran) == self._most:
                raise KeyboardInterrupt
            self.ran.append(job)
            yield run_job(job, time.perf_counter)


def _jobs(**axes: list[object]) -> list[Job]:
    return jobs_of(load("one-update"), {"peers": [6, 8], **axes})


def test_every_combination_runs_once(tmp_path: Path) -> None:
    jobs = _jobs(fanout=[1, 2], seed=[1, 2, 2])
    assert len(jobs) == 8
    assert len({job.key for job in jobs}) == 8
    rows = list(sweep(jobs, Archive.opened(tmp_path), _Here()))
    assert {(row["peers"], row["fanout"], row["seed"]) for row in rows} == {
        (peers, fanout, seed) for peers in (6, 8) for fanout in (1, 2) for seed in (1, 2)
    }
    assert all(row["converged"] for row in rows)


def test_what_is_done_is_kept_when_it_is_interrupted(tmp_path: Path) -> None:
    jobs = _jobs(seed=[1, 2, 3])
    with pytest.raises(KeyboardInterrupt):
        list(sweep(jobs, Archive.opened(tmp_path), _Here(most=4)))
    pool = _Here()
    rows = list(sweep(jobs, Archive.opened(tmp_path), pool))
    assert len(pool.ran) == 2
    assert {row["run"] for row in rows} == {job.key for job in jobs}
    again = _Here()
    list(sweep(jobs, Archive.opened(tmp_path), again))
    assert again.ran == []


def test_a_torn_line_is_cut_off_and_run_again(tmp_path: Path) -> None:
    jobs = _jobs(seed=[1])
    list(sweep(jobs, Archive.opened(tmp_path), _Here()))
    path = tmp_path / "runs.ndjson"
    path.write_bytes(path.read_bytes()[:-20])
    pool = _Here()
    list(sweep(jobs, Archive.opened(tmp_path), pool))
    assert len(pool.ran) == 1
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 2


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs.ndjson").write_text('{"not": "a run"}\n')
    with pytest.raises(ConfigError, match="line 1"):
        Archive.opened(tmp_path)
    assert (tmp_path / "runs.ndjson").read_text() == '{"not": "a run"}\n'


def test_a_run_is_another_with_another_scenario_text() -> None:
    scenario = load("one-update")
    (job,) = jobs_of(scenario, {})
    assert Job(job.name, job.text + "#", job.options, job.version).key != job.key
    assert Job(job.name, job.text, job.options, "other").key != job.key


def test_a_worker_with_other_code_refuses() -> None:
    (job,) = jobs_of(load("one-update"), {})
    with pytest.raises(ConfigError, match="another version"):
        run_job(Job(job.name, job.text, job.options, "other"), time.perf_counter)


# -- the command ---------------------------------------------------------------------------------------------


def test_processes_give_the_tidy_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--out", str(tmp_path / "out"), "-j", "2", "-o", "csv"]) == 0
    shown = capsys.readouterr().out
    assert shown == (tmp_path / "out" / "table.csv").read_text(encoding="utf-8")
    heading, *lines = shown.splitlines()
    assert heading.startswith("run,scenario,peers,seed,")
    assert len(lines) == 8
    assert main([*SMALL, "--out", str(tmp_path / "out"), "-j", "1", "-o", "ndjson"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["run"] for row in rows] == [line.partition(",")[0] for line in lines]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["nothing"], 2, "there is no scenario"),
        (["--peers", "5,0"], 2, "--peers is 1 to"),
        (["--peers", "many"], 2, "whole number"),
        (["--push", "maybe"], 2, "on or off"),
        (["--partition", "5"], 2, "seconds:seconds:share"),
        (["--seeds", "x"], 2, "--seeds"),
        (["--seeds", "1-400", "--peers", ",".join(map(str, range(1, 400)))], 2, "at most"),
        (["--scheduler", "tcp://127.0.0.1:9", "--jobs", "2"], 2, "--jobs"),
        (["--scheduler", "tcp://127.0.0.1:9"], 1, "no Dask scheduler answers"),
        (["--scheduler", "what is this"], 1, "tcp://HOST:PORT"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    complaint: str,
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "gossipsync", "sim", "sweep", *arguments, "--out", str(out)]
    if "no Dask scheduler answers" in complaint:
        # In a process of its own: connecting leaves threads and loops of the library behind.
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        outcome, errors, shown = done.returncode, done.stderr, done.stdout
    else:
        outcome = main(command[3:])
        captured = capsys.readouterr()
        errors, shown = captured.err, captured.out
    assert outcome == code
    assert complaint in errors.splitlines()[-1]
    assert errors.splitlines()[-1].startswith("error[")
    assert shown == ""
    assert not out.exists()


def test_an_unwritable_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main([*SMALL, "--out", str(tmp_path / "file")]) == 1
    assert "name another --out" in capsys.readouterr().err


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def _living(group: int) -> list[str]:
    """Processes of a group that still run; who has ended and was not collected yet does not count."""
    living = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                living.append(stat.with_name("cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return living


def _is_gone(group: int) -> bool:
    """Has the group ended? The library's own tracker needs a moment after the parent."""
    deadline = time.monotonic() + 20
    while _living(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _living(group)


def test_ctrl_c_keeps_what_is_done_and_leaves_no_process(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "gossipsync", "sim", "sweep", "--peers", "50", "--seeds", "12"),
        *("-j", "2", "--out", str(tmp_path)),
    ]
    running = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    runs = tmp_path / "runs.ndjson"
    deadline = time.monotonic() + 60
    while not _lines(runs) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to everybody
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 1, errors
    assert "interrupted" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert _is_gone(running.pid)
    kept = runs.read_text()
    assert 0 < len(kept.splitlines()) < 12
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert runs.read_text().startswith(kept)
    assert _lines(runs) == 12


# -- Dask ----------------------------------------------------------------------------------------------------


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """A real scheduler with two workers, on loopback."""
    file = tmp_path / "scheduler.json"
    dask = (sys.executable, "-m", "dask")
    plain = ("--scheduler-file", str(file), "--no-dashboard")
    commands = [
        (*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *plain),
        *[(*dask, "worker", "--nthreads", "1", "--no-nanny", *plain)] * 2,
    ]
    log = (tmp_path / "dask.log").open("w")
    running = [
        subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path) for command in commands
    ]
    try:
        deadline = time.monotonic() + 60
        while not file.exists() or not file.read_text():
            assert time.monotonic() < deadline, (tmp_path / "dask.log").read_text()
            time.sleep(0.05)
        yield json.loads(file.read_text())["address"]
    finally:
        # Ours alone, and at once: workers would first look for a scheduler that is gone.
        for process in running:
            process.kill()
        for process in running:
            process.wait(30)
        log.close()


def test_a_dask_cluster_gives_the_same_rows(tmp_path: Path, scheduler: str) -> None:
    tables = []
    for where in (("--scheduler", scheduler), ("--jobs", "1")):
        out = tmp_path / where[0].strip("-")
        done = subprocess.run(
            [sys.executable, "-m", "gossipsync", *SMALL, *where, "--out", str(out), "-o", "json"],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)["runs"]
        tables.append([{**row, "wall_s": None} for row in rows])
    assert tables[0] == tables[1]
    assert len(tables[0]) == 8
