"""Benchmarks that users run on their own data: recall against speed, ours beside its peers.

`run.run_ann` measures every method in one process, in turns; `run.run_scaling` follows ours over
sizes; `charts.draw` makes pictures of what either wrote. No figure is written down in this room:
each comes from a run.
"""
