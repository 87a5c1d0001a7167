"""Held-out probes: accuracy on suites while a stage trains, and what follows from it: keep the best, stop early.

A probe asks questions that the suite's evaluation does not ask, so that choosing by it leaves the evaluation clean. It
is judged as every evaluation is. The best so far is read from metrics.jsonl, so nothing is lost on resume.
"""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.models.utils import unwrap_model_for_generation

from training.best_model import UNFINISHED, drop_surpassed, keep_best, restore_best
from training.context import StageContext
from training.decode import messages, mine
from training.estimates import wilson_interval
from training.evaluate import judge
from training.json_lines import whole_lines
from training.masters import save_artifact
from training.metrics import MetricsCallback
from training.models import eos_ids, load_tokenizer
from training.questions import probe_questions
from training.rollout import Sampling, generate
from training.tokens import rendered_prompts
from training.tool_turns import Draw, ToolTurns
from training.tools import load_tools, tokenizer_for_tools
from training.world import gather

DECODED_TOGETHER = 64


class ProbeCallback(TrainerCallback):
    """Stands behind MetricsCallback and adds `probe/*` to the line it is about to write."""

    def __init__(self, context: StageContext, trainer: Any, metrics: MetricsCallback):
        self.context, self.trainer, self.metrics = context, trainer, metrics
        self.probe = context.stage.probe
        name = f"{context.planned.name}.probe"
        self.tools = load_tools(self.probe.tools, name)
        self.parsing = tokenizer_for_tools(trainer.processing_class, name) if self.tools else None
        self.items: list[dict[str, Any]] = []
        self.best: tuple[float, int] | None = None  # accuracy, step
        self.since_best = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draw the questions; read the probes made up to the checkpoint."""
        self.items = probe_questions(self.context, self.context.planned.name, self.probe, self.probe.suites)
        found = self._probes_so_far() if self.context.world.is_main else []
        for step, accuracy in gather(self.context.world, found)[0]:
            self._judge(accuracy, step)
        control.should_training_stop = self._is_over()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Probe when it is time; every rank decodes its share."""
        if state.global_step % self.probe.every and state.global_step < state.max_steps:
            return
        with self.context.ledger.timing("evaluate"):
            measured = self.measure()
            self.metrics.pending |= measured
            if self.probe.keep_best is None:
                return
            if self._judge(measured[f"probe/{self.probe.keep_best}/accuracy"], state.global_step):
                self._keep(state.global_step)
        if self._is_over() and self.best is not None:
            accuracy, step = self.best
            self.context.say(
                f"stopped early at step {state.global_step}: {self.since_best} probes of {self.probe.keep_best} "
                f"without one better than {accuracy:.3f} at step {step}"
            )
            control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The checkpoint is committed: a resume begins at it or at another one that is still there."""
        if self.context.world.is_main:
            drop_surpassed(self.context.folder)

    def _is_over(self) -> bool:
        return self.probe.patience is not None and self.since_best >= self.probe.patience

    def _judge(self, accuracy: float, step: int) -> bool:
        """Note a probe; returns whether it is the best so far."""
        if self.best is None or accuracy > self.best[0]:
            self.best, self.since_best = (accuracy, step), 0
            return True
        self.since_best += 1
        return False

    def _keep(self, step: int) -> None:
        folder, world, parent = self.context.folder, self.context.world, self.context.parent_model
        tokenizer = load_tokenizer(parent, self.context.chat_template)  # with tools the trainer's is a copy that parses
        save_artifact(self.trainer, self.context.stage, parent, tokenizer, folder / UNFINISHED, world)
        if world.is_main:
            keep_best(folder, step)

    def _probes_so_far(self) -> list[tuple[int, float]]:
        """(step, accuracy) from the best probe on whose model is kept, up to the checkpoint."""
        name = f"probe/{self.probe.keep_best}/accuracy"
        found = [(row["step"], row[name]) for row in whole_lines(self.metrics.path) if name in row]
        return restore_best(self.context.folder, found)

    def measure(self) -> dict[str, float]:
        """Answer the probe's questions on all ranks; returns `probe/*`."""
        world = self.context.world
        own = mine(self.items, world.rank, world.size)
        correct = judge("answer", self._answers(own), own)
        mine_by_suite = [(item["suite"], right) for item, right in zip(own, correct, strict=True)]
        everyone = [pair for rank in gather(world, mine_by_suite) for pair in rank]
        metrics: dict[str, float] = {}
        for suite in self.probe.suites:
            found = [right for name, right in everyone if name == suite]
            low, high = wilson_interval(sum(found), len(found))
            metrics[f"probe/{suite}/accuracy"] = sum(found) / len(found)
            metrics |= {f"probe/{suite}/ci95_low": low, f"probe/{suite}/ci95_high": high}
        return metrics

    def _answers(self, items: list[dict[str, Any]]) -> list[str]:
        """The model's greedy answers."""
        trainer, tokenizer = self.trainer, self.trainer.processing_class
        prompts = [messages(item["prompt"], self.context.system) for item in items]
        encoded = rendered_prompts(prompts, tokenizer) if prompts else []
        sampling = Sampling(self.probe.max_completion_length, 0.0)
        with unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model:
            eos = eos_ids(model, tokenizer)

            def draw(before: list[list[int]], turn: int) -> list[list[int]]:
                return generate(model, before, 1, sampling, eos, 0, DECODED_TOGETHER, self.context.state.rows_done)

            with trainer.accelerator.autocast():
                if self.probe.tools and prompts:  # no turn is a collective: ranks may take different numbers of them
                    return self._last_turns(model, prompts, draw)
                ids = draw(encoded, 0)
        answers: list[str] = tokenizer.batch_decode(ids, skip_special_tokens=True)
        return answers

    def _last_turns(self, model: Any, prompts: list[Any], draw: Draw) -> list[str]:
        """What the model says last, where it may call tools."""
        most, rounds = self.probe.max_completion_length, self.probe.max_tool_calling_iterations
        turns = ToolTurns(self.tools, self.parsing, model, most, rounds)
        encoded = turns.rendered(prompts)
        return [each.text for each in turns.complete(prompts, encoded, draw(encoded, 0), draw)]


def probe_hooks(context: StageContext, trainer: Any, metrics: MetricsCallback) -> list[ProbeCallback]:
    """The callback of the stage's probe, if it has one."""
    asked = getattr(context.stage, "probe", None) is not None
    return [ProbeCallback(context, trainer, metrics)] if asked else []
