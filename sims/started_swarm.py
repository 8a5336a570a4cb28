"""Worlds of the swarm, as many as asked for, one line a failing seed: started_swarm.py FIRST COUNT [--draw NAME] [--seconds S].

Each line names the checker that failed and the command that replays the world; the last line is the rate. The exit code is 1 if a
world failed.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

from gossipsync.sim import run
from gossipsync.sim.swarm import DRAWS


def main() -> int:
    """Run the seeds; 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--draw", choices=tuple(DRAWS), default="started")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    chosen = parser.parse_args()
    began, done = time.monotonic(), 0
    failed: Counter[str] = Counter()
    for seed in range(chosen.first, chosen.first + chosen.count):
        if time.monotonic() - began > chosen.seconds:
            break
        done += 1
        fault, command = _fault(chosen.draw, seed)
        if fault is not None:
            failed[fault.partition(":")[0]] += 1
            print(f"seed {seed} failed: {fault}; replay: {command}", flush=True)
    total = failed.total()
    print(f"{total} of {done} worlds failed {dict(failed)}; {time.monotonic() - began:.0f} s")
    return 1 if total else 0


def _fault(draw: str, seed: int) -> tuple[str | None, str]:
    options = DRAWS[draw](seed)
    try:
        result = run(options)
    except Exception as error:  # noqa: BLE001 - a world that raises is one more failing seed
        return f"raised: {type(error).__name__}: {error}", options.command()
    for violation in result.violations:
        where = "" if violation.peer is None else f"peer {violation.peer} "
        return f"{violation.checker}: {where}{violation.detail}", options.command()
    return (None if result.is_fine else "not converged"), options.command()


if __name__ == "__main__":
    raise SystemExit(main())
