"""One update in the core beside the ideal epidemic: are the core's rounds within one of it?

First let the core spread it (that takes a while, and goes on where it was interrupted), then compare:

    gossipsync sim sweep one-update --out sweep-one-update
    python sims/one_update.py sweep-one-update

Each line stands for all seeds of one combination: mean rounds of the core, of the ideal, and the difference. Ends with exit code
1 if a difference exceeds one round.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from ideal_epidemic import mean_rounds

from gossipsync.sim.report import grouped, read_runs

SHARES = ("50", "99", "100")
ALLOWED_ROUNDS = 1.0


def main() -> int:
    """Print the comparison; 1 if the core is off."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sweep", type=Path, help="the folder of a sweep of one-update")
    parser.add_argument("--trials", type=int, default=40)
    given = parser.parse_args()
    is_off = False
    print(f"{'peers':>6} {'fanout':>6} {'loss':>5} {'runs':>5}   rounds to 50 / 99 / 100 %")
    for group in grouped(read_runs(given.sweep), ["peers", "fanout", "loss"]):
        peers, fanout, loss = int(group["peers"]), int(group["fanout"]), float(group["loss"])
        core = [float(group[f"rounds_to_{share}"]) for share in SHARES]
        ideal = mean_rounds(peers, fanout, loss, given.trials, seed=1)
        worst = max(abs(ours - theirs) for ours, theirs in zip(core, ideal, strict=True))
        is_off |= worst > ALLOWED_ROUNDS
        print(
            f"{peers:>6} {fanout:>6} {loss:>5g} {group['runs']:>5}   core "
            + " / ".join(f"{rounds:.1f}" for rounds in core)
            + "   ideal "
            + " / ".join(f"{rounds:.1f}" for rounds in ideal)
            + f"   off by {worst:.2f} at most"
        )
    print("some are off by more than a round" if is_off else "all within one round of the ideal")
    return int(is_off)


if __name__ == "__main__":
    sys.exit(main())
