"""One rank of TRL's side: the library's trainer as its documentation starts it, with one callback more.

python -m benchmarks.against_trl.trl_side SPEC.json

SPEC has `kind`, `model` (a folder), `rows` (a JSON-lines file in TRL's own columns), `arguments` of the TRL config,
and `reward` (a name in `benchmarks.against_trl.signals`).
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.against_trl import signals
from benchmarks.against_trl.turns import Turns, time_reference


def build(spec: dict[str, Any], rows: Any) -> Any:
    """The trainer, given the model by name: TRL 1.16 loads its float32 weights itself."""
    import trl

    if spec["kind"] == "sft":
        return trl.SFTTrainer(spec["model"], trl.SFTConfig(**spec["arguments"]), train_dataset=rows)
    if spec["kind"] == "dpo":
        return trl.DPOTrainer(spec["model"], args=trl.DPOConfig(**spec["arguments"]), train_dataset=rows)
    reward = getattr(signals, spec["reward"])
    return trl.GRPOTrainer(spec["model"], reward, trl.GRPOConfig(**spec["arguments"]), train_dataset=rows)


def main() -> None:
    """Train until the conductor ends this process."""
    from datasets import Dataset

    spec = json.loads(Path(sys.argv[1]).read_text())
    rows = Dataset.from_list([json.loads(line) for line in Path(spec["rows"]).read_text().splitlines()])
    time_reference()
    trainer = build(spec, rows)
    trainer.add_callback(Turns(trainer))
    trainer.train()


if __name__ == "__main__":
    main()
