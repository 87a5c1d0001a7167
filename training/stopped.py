"""How a detector ends the ranks of a stage: for good, or to be started again from an earlier checkpoint."""


class Stopped(RuntimeError):
    """A detector stopped the run: exit code 4."""


class RolledBack(RuntimeError):
    """The stage goes on from an earlier checkpoint: exit code 76, on which the runner starts its ranks again."""
