"""samples.jsonl of a stage that trains on given rows: those of each optimizer step that a detector has named.

Which rows a step held follows from the sampler, so nothing is kept until there is an alarm. Then all rows of the step
are written with their places in the source; which of them are to blame no detector knows.
"""

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data.accounting import Rows
from training.context import StageContext
from training.json_lines import Appender, whole_lines
from training.metrics import cut_back
from training.samples import SAMPLES
from training.tokens import ROW, token_columns


class StepRows(TrainerCallback):
    """Stands in the place of `samples.RoundLog` where rows are not drawn; rank 0 alone writes."""

    def __init__(self, context: StageContext, trainer: Any, usable: Rows):
        self.context, self.trainer, self.usable = context, trainer, usable
        self.path = context.folder / SAMPLES
        self._file = Appender(self.path)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """On resume, drop the rows of steps that are to be trained again."""
        if self.context.world.is_main:
            cut_back(self.path, state.global_step)

    def lines(self, chosen: Callable[[list[dict[str, Any]]], list[int]]) -> list[int]:
        """The lines of samples.jsonl, counted from 1, of the rows of the present step; they are written once.

        `chosen` picks among completions and has no say here.
        """
        step = self.trainer.state.global_step
        written = [row["step"] for row in whole_lines(self.path)]
        if step not in written:
            rows = [self._row(place, step) for place in self.trainer.epoch_sampler.step_rows(step)]
            for row in rows:
                self._file.add(row)
            written += [step] * len(rows)
        return [number for number, of in enumerate(written, start=1) if of == step]

    def _row(self, place: int, step: int) -> dict[str, Any]:
        """A row as the stage has it; what packing joined is known by its text alone."""
        trained = self.trainer.train_dataset[place]
        if ROW not in trained:
            return {"step": step, "text": self.trainer.processing_class.decode(trained["input_ids"])}
        own = trained[ROW]
        number = self.usable.numbers[own]
        where = self.usable.account.origin.where(number)
        return {
            "step": step,
            "row": number,
            "where": where,
            **token_columns(self.usable.rows[own], self.context.planned.kind),
        }
