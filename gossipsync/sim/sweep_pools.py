"""Where the runs of a sweep happen: processes of this machine, or a Dask cluster.

Invariant: whoever leaves the loop over `rows`, by Ctrl-C too, leaves no process of a local pool behind.
"""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Final

from attrs import frozen

from gossipsync.errors import ConfigError, GossipsyncError, TransportError
from gossipsync.sim.run import Clock
from gossipsync.sim.sweep import Job, Row, run_job

if TYPE_CHECKING:
    from distributed import Client, Future

_DIAL_S: Final = 5
_STOP_S: Final = 2.0
_ADDRESS: Final = re.compile(r"(tcp|tls|ws|wss|ucx)://[^\s/]+:[0-9]{1,5}")


@frozen
class ProcessPool:
    """Processes of this machine; with one, this process itself."""

    processes: int
    clock: Clock

    def rows(self, jobs: Sequence[Job]) -> Generator[Row, None, None]:
        """The rows of jobs in the order in which they finish."""
        if self.processes == 1 or len(jobs) < 2:
            yield from (run_job(job, self.clock) for job in jobs)
            return
        from multiprocessing import active_children

        before = set(active_children())
        # Not forked from this process, which may have threads of a progress bar.
        context = get_context("spawn")
        executor = ProcessPoolExecutor(
            min(self.processes, len(jobs)), context, initializer=_leave_ctrl_c_to_the_parent
        )
        try:
            futures = [executor.submit(run_job, job, self.clock) for job in jobs]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise ConfigError(
                "a worker process died, out of memory perhaps; run it again with fewer --jobs:"
                " what is done is kept"
            ) from error
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
            _stop([child for child in active_children() if child not in before])


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _stop(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(_STOP_S)


@frozen
class DaskPool:
    """The workers of a Dask cluster."""

    scheduler: str
    clock: Clock
    cluster: Client

    @classmethod
    def connected(cls, scheduler: str, clock: Clock) -> DaskPool:
        """A pool for one sweep. Raises TransportError where no scheduler answers."""
        return cls(scheduler, clock, _cluster(scheduler))

    def rows(self, jobs: Sequence[Job]) -> Generator[Row, None, None]:
        """The rows of jobs in the order in which they finish; hangs up in the end."""
        try:
            yield from self._rows(self.cluster, jobs)
        finally:
            self.cluster.close(timeout=_STOP_S)

    def _rows(self, cluster: Client, jobs: Sequence[Job]) -> Generator[Row, None, None]:
        from distributed import as_completed as as_done

        futures: list[Future[Row]] = [
            cluster.submit(run_job, job, self.clock, key=f"gossipsync-{job.key}", pure=False)
            for job in jobs
        ]
        try:
            for future in as_done(futures, loop=cluster.loop):
                yield future.result()
        except GossipsyncError:
            raise
        except Exception as error:
            raise TransportError(
                f"the cluster at {self.scheduler} failed: {type(error).__name__}: {error};"
                " have this version of gossipsync on all workers: what is done is kept"
            ) from error
        finally:
            cluster.cancel(futures)


def _cluster(scheduler: str) -> Client:
    if not _ADDRESS.fullmatch(scheduler):
        raise ConfigError(
            f"{scheduler!r} is no scheduler's address; write --scheduler as tcp://HOST:PORT"
        )
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(
            "--scheduler needs Dask: pip install 'gossipsync[dask]', or leave it out"
        ) from error
    # What it has to say about lost connections is said in one line, by whoever catches the error.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        return Client(scheduler, timeout=_DIAL_S, set_as_default=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise TransportError(
            f"no Dask scheduler answers at {scheduler}; start one with `dask scheduler`,"
            " correct --scheduler, or leave it out to use this machine"
        ) from error
