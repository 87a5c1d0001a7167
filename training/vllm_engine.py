"""vLLM's end of mode `process`: `python -m training.vllm_engine JOBS ANSWERS PARENT`, in the environment that has vLLM.

Reads JSON lines from one inherited pipe and answers each on the other: first the setup, then `sync` (a safetensors file
in, the checksum of the weights that vLLM then holds out) and `generate` (token ids in, token ids and their
log-probabilities out). It imports nothing of posttrain but two files that need no more than torch; what vLLM prints
goes to the rank's log. It dies with its parent and does not heed the signals that end a run.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from training.die_with_parent import die_with
from training.weight_checksum import weight_checksum


def main() -> int:
    """Serve until the parent closes the pipe."""
    jobs, answers, parent = (int(argument) for argument in sys.argv[1:])
    die_with(parent)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    with os.fdopen(jobs, "rb") as source, os.fdopen(answers, "wb") as sink:
        engine = None
        for line in source:
            job = json.loads(line)
            try:
                if engine is None:
                    engine = open_engine(job)
                    answer: dict[str, Any] = {"ready": True}
                else:
                    answer = JOBS[job.pop("job")](engine, **job)
            except Exception as error:  # Whatever vLLM raises: the parent says it in its own words.
                answer = {"failed": f"{type(error).__name__}: {error}"}
            sink.write(json.dumps(answer).encode() + b"\n")
            sink.flush()
    return 0


def open_engine(setup: dict[str, Any]) -> Any:
    """vLLM with random weights: the first `sync` brings the policy's."""
    from vllm import LLM

    multiply_with_the_weights_themselves()
    return LLM(
        load_format="dummy",
        skip_tokenizer_init=True,
        enforce_eager=True,  # a compiled graph would keep the weights it was compiled with
        logprobs_mode="processed_logprobs",  # of the distribution drawn from, after the temperature
        disable_log_stats=True,
        **setup,
    )


def multiply_with_the_weights_themselves() -> None:
    """Have a CPU use each matrix as it was loaded, not a copy packed for oneDNN, AMX or Zen.

    vLLM 0.32 drops the plain matrix once it is packed, so that nothing could be summed; and `reload_weights` does not
    pack a head tied to the embedding anew: it went on with the weights before (seen here, float32 on AVX2).
    """
    import torch
    from vllm.model_executor.layers import utils

    def plain(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear

    utils.dispatch_cpu_unquantized_gemm = plain


def sync(engine: Any, path: str) -> dict[str, Any]:
    """Load the file's weights as vLLM reloads them, and sum what it then holds."""
    started = time.monotonic()
    engine.collective_rpc(load, args=(path,))
    if not engine.reset_prefix_cache():
        raise RuntimeError("vLLM keeps keys and values of the weights before: its prefix cache could not be reset")
    (checksum,) = engine.collective_rpc(held_checksum)
    return {"checksum": checksum, "seconds": time.monotonic() - started}


def load(worker: Any, path: str) -> None:
    """Called in vLLM's worker."""
    worker.reload_weights(weights_iterator=tensors(path))


def held_checksum(worker: Any) -> str:
    """Called in vLLM's worker."""
    return weight_checksum(weight for _, weight in worker.model_runner.get_model().named_parameters())


def tensors(path: str) -> Iterator[tuple[str, Any]]:
    """The file's tensors, in their order."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 (safe_open is no mapping)
            yield name, file.get_tensor(name)


def generate(
    engine: Any, prompts: list[list[int]], seeds: list[int], temperature: float, max_tokens: int, stop: list[int]
) -> dict[str, Any]:
    """One completion for each prompt, from a seed of its own, ending in one of `stop` unless it was cut."""
    from vllm import SamplingParams

    started = time.monotonic()
    sampling = [
        SamplingParams(
            seed=seed,
            temperature=temperature,
            max_tokens=max_tokens,
            stop_token_ids=stop,
            logprobs=0,
            detokenize=False,
        )
        for seed in seeds
    ]
    outputs = engine.generate([{"prompt_token_ids": ids} for ids in prompts], sampling, use_tqdm=False)
    drawn = [output.outputs[0] for output in outputs]
    return {
        "completions": [list(one.token_ids) for one in drawn],
        "logprobs": [
            [place[token].logprob for token, place in zip(one.token_ids, one.logprobs, strict=True)] for one in drawn
        ],
        "seconds": time.monotonic() - started,
    }


JOBS: dict[str, Callable[..., dict[str, Any]]] = {"sync": sync, "generate": generate}


if __name__ == "__main__":
    sys.exit(main())
