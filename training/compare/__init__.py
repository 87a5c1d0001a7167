"""Runs side by side: what was asked for, which rows, which answers, how they learned, where the seconds went.

The first run is the one the others are compared with. Everything is read from run folders, finished or not; what is
missing is said and the rest compared. `comparison` gathers, `page` draws HTML, `launch.compare_view` the terminal's
text. Nothing here trains, measures or changes a run.
"""
