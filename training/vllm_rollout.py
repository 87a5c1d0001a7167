"""Rollouts of a grpo stage by vLLM: TRL's own VLLMGeneration on GPUs, or a child process with the same interface.

TRL syncs weights when the step has changed, takes the sampler's log-probabilities into its importance correction and
logs `sampling/*`; that is the same in every mode. In mode `process` three methods of TRL 1.16's VLLMGeneration are
replaced, since its own reach vLLM's weights over NCCL or inside a CUDA process only (docs/rollout_backends.md says
where): `_init_vllm`, `sync_weights`, `generate`. Walking over the weights (ZeRO-3, adapters) stays TRL's.
"""

from collections.abc import Callable
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, gather_object
from safetensors import SafetensorError
from safetensors.torch import save_file
from trl.generation.vllm_generation import VLLMGeneration

from training.context import StageContext
from training.grpo_trainer import GrpoTrainer
from training.identity import derived_seed
from training.rounds import rounds_begun
from training.stopped import Stopped
from training.tokens import rendered_prompts
from training.vllm_environment import vllm_python
from training.vllm_process import EngineFailed, EngineProcess
from training.weight_checksum import weight_checksum
from training.world import others_wait

WEIGHTS = "weights_for_vllm.safetensors"
"""In the stage's folder while weights are on their way."""


def rollout(prompts: list[Any], trainer: GrpoTrainer) -> dict[str, Any]:
    """Draw this rank's completions with vLLM, which has the step's weights; TRL's `rollout_func`."""
    prompt_ids = rendered_prompts(prompts, trainer.processing_class)
    _, completion_ids, places, _ = trainer.vllm_generation.generate(
        prompts=prompt_ids, images=None, num_generations=trainer.num_generations
    )
    logps = [[place[0] for place in row] for row in places]
    trainer.on_rows_done(len(completion_ids))
    observer = trainer.parity.heard(trainer, logps)
    if observer is not None:
        trainer.parity.check(trainer, observer, prompt_ids, completion_ids)
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": logps}


def attach(context: StageContext, trainer: GrpoTrainer) -> None:
    """Give the trainer vLLM in a process of its own; in the other modes TRL has done it by itself."""
    block = context.pipeline.runtime.vllm
    assert block is not None
    if block.mode == "process":
        trainer.vllm_generation = ProcessGeneration(context, trainer)
        trainer.use_vllm, trainer._last_loaded_step = True, -1


class ProcessGeneration(VLLMGeneration):
    """vLLM as a child of rank 0: prompts of all ranks go there together, weights through a file."""

    engine: EngineProcess

    def __init__(self, context: StageContext, trainer: GrpoTrainer):
        self.context, self.trainer = context, trainer
        args = trainer.args
        self.dtype = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else torch.float32
        super().__init__(
            trainer.model,
            trainer.accelerator,
            trainer.processing_class,
            mode="process",
            max_model_length=args.vllm_max_model_length,
            gpu_memory_utilization=args.vllm_gpu_memory_utilization,
            max_num_seqs=min(args.generation_batch_size, 256),
            temperature=args.temperature,
            max_completion_length=args.max_completion_length,
        )

    def _init_vllm(self) -> None:
        runtime = self.context.pipeline.runtime
        setup = {
            "model": str(self.context.training_parent.resolve()),
            "dtype": str(self.dtype).removeprefix("torch."),
            "max_model_len": self.max_model_length,
            "max_num_seqs": self.max_num_seqs,
            "gpu_memory_utilization": self.gpu_memory_utilization,
            "seed": 0,  # every completion has its own
        }
        threads = torch.get_num_threads() * (runtime.processes // runtime.nodes)

        def start() -> None:
            self.engine = EngineProcess(vllm_python(runtime.vllm), setup, threads)

        self._on_main_rank(start)

    def sync_weights(self) -> None:
        """Send the policy's weights and compare what vLLM then holds with what was sent; Stopped where they differ."""
        main = self.accelerator.is_main_process
        weights: dict[str, torch.Tensor] = {}
        for name, weight in self._iter_named_params():  # gathering is a collective: every rank walks
            if main:
                weights[name] = weight.detach().to("cpu", self.dtype, copy=True)
        self._on_main_rank(lambda: self._send(weights))

    def _send(self, weights: dict[str, torch.Tensor]) -> None:
        path = self.context.folder / WEIGHTS
        try:
            save_file({name: weight.contiguous() for name, weight in weights.items()}, path)
            held = self.engine.ask("sync", path=str(path.resolve()))["checksum"]
        finally:
            path.unlink(missing_ok=True)
        sent = weight_checksum(weights.values())
        if held != sent:
            raise Stopped(
                f"weights at step {self.trainer.state.global_step + 1}: vLLM holds {held}, the trainer sent {sent} "
                f"(checksums over {len(weights)} tensors); completions would be another policy's"
            )

    def generate(
        self, prompts: list[list[int]], images: Any, num_generations: int, profiler: Any = None
    ) -> tuple[list[list[int]], list[list[int]], list[list[list[float]]], list[list[list[int]]]]:
        """TRL's signature. A completion's random numbers follow from (seed, round, row), so a resumed run draws it
        again; the row counts over all ranks."""
        work = self.prepare(prompts, str(rounds_begun(self.trainer)))
        completions, logps = self.settle(lambda: work(None))
        return (
            prompts,
            completions,
            [[[logp] for logp in row] for row in logps],
            [[[token] for token in row] for row in completions],
        )

    def prepare(self, prompt_ids: list[list[int]], name: str) -> Callable[[Any], dict[str, Any] | None]:
        """As `one_step_off.Sampler` has it: rank 0's work asks vLLM for the prompts of all ranks."""
        everyone = gather_object(prompt_ids)
        seed = self.trainer.args.seed
        job = {
            "prompts": everyone,
            "seeds": [derived_seed(seed, f"rollout:{name}:{row}") for row in range(len(everyone))],
            "temperature": self.temperature,
            "max_tokens": self.max_completion_length,
            "stop": sorted(self.trainer.eos_token_ids),
        }
        return lambda draw: self.engine.ask("generate", **job) if self.accelerator.is_main_process else None

    def settle(self, result: Callable[[], Any]) -> tuple[list[list[int]], list[list[float]]]:
        """This rank's share of what vLLM drew: as many rows as every other's."""
        drawn: dict[str, Any] = self._on_main_rank(result)
        count = len(drawn["completions"]) // self.accelerator.num_processes
        mine = slice(self.accelerator.process_index * count, (self.accelerator.process_index + 1) * count)
        return drawn["completions"][mine], drawn["logprobs"][mine]

    def _on_main_rank(self, work: Callable[[], Any]) -> Any:
        """What rank 0's work returned, on every rank; what it raised ends every rank alike."""
        outcome: list[Any] = [None, None]
        with others_wait(self.context.world):
            if self.accelerator.is_main_process:
                try:
                    outcome[0] = work()
                except (EngineFailed, Stopped) as error:
                    outcome[1] = error
                except (OSError, SafetensorError) as error:  # a full disk, a Python that does not start
                    outcome[1] = EngineFailed(f"{type(error).__name__}: {error}")
        broadcast_object_list(outcome, from_process=0)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]
