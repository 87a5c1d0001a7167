"""A stand-in for vLLM's process: it speaks the same jobs and draws with transformers, from weights that nothing but
`sync` changes. In this process it takes the place of `EngineProcess`, run as a program that of `training.vllm_engine`.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class StandIn:
    """Draws like vLLM would. `corrupt` changes the tensors a sync brings, `shift` is added to every log-probability."""

    checksums: list[str]
    shift = 0.0

    def __init__(self, python: str, setup: dict[str, Any], threads: int) -> None:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        self.setup, self.checksums = setup, []
        with torch.random.fork_rng():
            torch.manual_seed(99)  # other weights than the policy's
            config = AutoConfig.from_pretrained(setup["model"])
            self.model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, setup["dtype"])).eval()

    def ask(self, job: str, **arguments: Any) -> dict[str, Any]:
        return getattr(self, job)(**arguments)

    def corrupt(self, weights: dict[str, Any]) -> None:
        """Nothing, unless a test says so."""

    def sync(self, path: str) -> dict[str, Any]:
        from safetensors.torch import load_file

        from training.weight_checksum import weight_checksum

        weights = load_file(path)
        self.corrupt(weights)
        report = self.model.load_state_dict(weights, strict=False)
        assert not report.unexpected_keys
        self.checksums.append(weight_checksum(weight for _, weight in self.model.named_parameters()))
        return {"checksum": self.checksums[-1]}

    def generate(
        self, prompts: list[list[int]], seeds: list[int], temperature: float, max_tokens: int, stop: list[int]
    ) -> dict[str, Any]:
        from training.parity import Observer
        from training.rollout import Sampling, generate

        observer = Observer(len(prompts), temperature)
        completions = generate(
            self.model, prompts, 1, Sampling(max_tokens, temperature), set(stop), seeds, observe=observer
        )
        logps = [[logp + self.shift for logp in observer.logps[row]] for row in range(len(prompts))]
        return {"completions": completions, "logprobs": logps}


def program(folder: Path) -> Path:
    """An executable that stands for the Python of vLLM's environment, with this file in the place of the engine."""
    path = folder / "python-of-vllm"
    path.write_text(
        f"#!/bin/sh\n"
        f'if [ "$1" = -c ]; then echo \'{{"vllm": "0.0.stand-in"}}\'; exit; fi\n'
        f'shift 2\nexec "{sys.executable}" -m tests.vllm_standin "$@"\n'
    )
    path.chmod(0o755)
    return path


def main() -> None:
    """The engine's loop, without vLLM."""
    jobs, answers = (int(number) for number in sys.argv[1:3])
    sys.path.insert(0, str(ROOT))
    engine: StandIn | None = None
    answer: Callable[[dict[str, Any]], dict[str, Any]] = lambda job: engine.ask(job.pop("job"), **job)  # noqa: E731
    with os.fdopen(jobs, "rb") as source, os.fdopen(answers, "wb", buffering=0) as sink:
        for line in source:
            job = json.loads(line)
            if engine is None:
                engine = StandIn("", job, 1)
                sink.write(b'{"ready": true}\n')
            else:
                sink.write(json.dumps(answer(job)).encode() + b"\n")


if __name__ == "__main__":
    main()
