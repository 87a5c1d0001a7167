"""One rank of posttrain's side: the stage process that `posttrain run` starts, with one callback more.

python -m benchmarks.against_trl.our_side CONFIG --stage NAME ...
"""

import sys
from typing import Any

from benchmarks.against_trl.turns import Turns, time_reference
from training import run_stage


def take_turns() -> None:
    """Let the trainer wait for its turn, and time DPO's reference pass."""
    import training.train as train

    attach = train.attach

    def attached(context: Any, trainer: Any, *more: Any) -> Any:
        result = attach(context, trainer, *more)
        trainer.add_callback(Turns(trainer))
        return result

    train.attach = attached
    time_reference()


if __name__ == "__main__":
    take_turns()
    sys.exit(run_stage.main(process_ends=True))
