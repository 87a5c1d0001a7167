"""The torture test: a tiny pipeline killed at random points and restarted until it is done, against one left alone.

`python -m benchmarks.torture --help`. docs/resume.md has the report. Seeded: the same seed plans the same kills.
"""
