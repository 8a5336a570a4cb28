"""Benchmarks: what gossipsync costs, with real processes, real TLS and real stores where those matter.

A benchmark is a function from a `Scale` to figures. It measures and judges nothing; `_report.py` compares each
figure with its target. Nothing here is a test: how long something took never fails a build.
"""
