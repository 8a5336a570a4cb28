"""Frozen values that everything else in the core is written in terms of: no behaviour over time, no I/O."""
