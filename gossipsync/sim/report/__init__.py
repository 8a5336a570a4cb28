"""Reports: what a run looked like, measured from outside while it ran, drawn and put on one page; and many runs compared."""

from __future__ import annotations

from gossipsync.sim.report._samples import Sample, Samples

__all__ = ["Sample", "Samples"]
