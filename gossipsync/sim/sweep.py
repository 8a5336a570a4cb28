"""Sweeps: one scenario over every combination of some options' values and seeds, each run once and kept.

A run is named by a hash of the scenario's text, its options and the source of core and simulator, so that a sweep that was interrupted goes on where it
stopped, a wider one uses what a narrower one has done, and a changed scenario or core never passes for the old one. Runs are
kept as one JSON line each, written whole when they finish. Invariant: a line in the file is a finished run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Final, Protocol

from attrs import define, field, frozen

from gossipsync.errors import ConfigError
from gossipsync.sim.options import Options
from gossipsync.sim.result import Result
from gossipsync.sim.run import Clock
from gossipsync.sim.scenarios import Scenario
from gossipsync.sim.scenarios._loading import loaded

Row = dict[str, object]
"""One finished run: options and figures by name, plain JSON values."""
MAX_JOBS: Final = 100_000
_RUNS_FILE: Final = "runs.ndjson"
_COLUMNS: Final = (
    *("virtual_s", "wall_s", "exchanges", "messages", "bytes_total", "bytes_per_peer"),
    *("digest_bytes", "delta_bytes", "payload_bytes"),
)


@frozen
class Job:
    """One world to run, complete in itself: it can be sent to another process or machine."""

    name: str
    text: str = field(repr=False)
    options: Options
    version: str
    """`code_version()` where it was made."""

    @property
    def key(self) -> str:
        """The same for the same run, whenever and wherever it is made."""
        what = json.dumps(
            [self.name, self.text, self.options.shown(), self.version], sort_keys=True
        )
        return sha256(what.encode()).hexdigest()[:16]


@cache
def code_version() -> str:
    """A hash over the source of core and simulator: what else a run depends on."""
    total = sha256()
    for part in ("core", "sim"):
        root = Path(str(files("gossipsync").joinpath(part)))
        for path in sorted(root.rglob("*.py")):
            total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


class Pool(Protocol):
    """Somewhere to run jobs."""

    def rows(self, jobs: Sequence[Job]) -> Generator[Row, None, None]:
        """The rows of jobs in the order in which they finish."""
        ...


def jobs_of(scenario: Scenario, axes: Mapping[str, Sequence[object]]) -> list[Job]:
    """A job for each combination of the axes' values. Raises ConfigError for impossible ones, before anything runs."""
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MAX_JOBS:
        raise ConfigError(f"that is {count:,} runs; a sweep has at most {MAX_JOBS:,}")
    jobs: dict[str, Job] = {}
    version = code_version()
    for values in product(*axes.values()):
        options = scenario.options(**dict(zip(axes, values, strict=True)))
        job = Job(scenario.name, scenario.text, options, version)
        jobs.setdefault(job.key, job)
    return list(jobs.values())


def run_job(job: Job, clock: Clock) -> Row:
    """Run one job, here. Raises ConfigError where this is not the code that the job was made for."""
    if job.version != code_version():
        raise ConfigError("a worker has another version of gossipsync; install the same everywhere")
    scenario = loaded(job.name, job.text)
    return row_of(job, scenario.run(job.options, clock=clock))


def row_of(job: Job, result: Result) -> Row:
    """A finished run as one flat row: options first, then what came out."""
    document = result.document()
    return {
        "run": job.key,
        "scenario": job.name,
        **job.options.shown(),
        "converged": result.converged,
        **{f"rounds_to_{share}": rounds for share, rounds in result.rounds_to.items()},
        **{name: document[name] for name in _COLUMNS},
        "violations": len(result.violations),
        "trace_hash": result.trace_hash,
        **result.figures,
    }


@define
class Archive:
    """The finished runs of a folder. Raises ConfigError where the folder cannot be used."""

    folder: Path
    rows: dict[str, Row] = field(factory=dict)

    @classmethod
    def opened(cls, folder: Path) -> Archive:
        """The archive in a folder, which is made if missing; what an interrupted write left behind is cut off."""
        archive = cls(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / _RUNS_FILE).open("a+b") as file:
                file.seek(0)
                archive._read(file.read(), file.truncate)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot keep the runs: {error.strerror or error}; name another --out"
            ) from error
        return archive

    def _read(self, data: bytes, truncate: Callable[[int], int]) -> None:
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            truncate(whole)
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            try:
                row = json.loads(line)
                self.rows[row["run"]] = row
            except (ValueError, TypeError, KeyError) as error:
                raise ConfigError(
                    f"{self.folder / _RUNS_FILE}, line {number}, is no run; name another --out"
                ) from error

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """The jobs that no run is kept of."""
        return [job for job in jobs if job.key not in self.rows]

    def keep(self, row: Row) -> None:
        """Keep one finished run, at once."""
        line = json.dumps(row, ensure_ascii=True) + "\n"
        with (self.folder / _RUNS_FILE).open("ab") as file:
            file.write(line.encode())
        self.rows[str(row["run"])] = row


def sweep(jobs: Sequence[Job], archive: Archive, pool: Pool) -> Generator[Row, None, None]:
    """Run what is missing and keep each run as it finishes; the rows one by one, kept ones first."""
    for job in jobs:
        if job.key in archive.rows:
            yield archive.rows[job.key]
    with closing(pool.rows(archive.missing(jobs))) as rows:
        for row in rows:
            archive.keep(row)
            yield row
