"""Reports: what a run looked like, measured from outside while it ran, drawn and put on one page; and many runs compared."""

from __future__ import annotations

from gossipsync.sim.report._page import check_place, write_page
from gossipsync.sim.report._pictures import draw_comparison
from gossipsync.sim.report._samples import Sample, Samples
from gossipsync.sim.report._tables import as_csv, figures, grouped, read_runs, varying

__all__ = [
    "Sample",
    "Samples",
    "as_csv",
    "check_place",
    "draw_comparison",
    "figures",
    "grouped",
    "read_runs",
    "varying",
    "write_page",
]
