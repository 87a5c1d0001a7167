"""What the exit codes of `posttrain` and of a rank mean; 0 is done. Docs, scripts and schedulers rely on them."""

FAILED = 1
USER_ERROR = 2
"""The user can fix it."""
GATE_NOT_MET = 3
STOPPED = 4
"""A detector stopped the run."""
PREEMPTED = 75
"""Checkpointed; requeue me (EX_TEMPFAIL)."""
ROLLED_BACK = 76
"""Of a rank only: a detector put the stage back to an earlier checkpoint; the runner starts its ranks again."""
INTERRUPTED = 130
"""Ctrl-C."""
