"""Draw completions from a causal language model: shared prefixes run once, finished rows leave the batch.

One function serves GRPO rollouts, the `sample` stage and evaluation. It knows no trainer, no rewards and no text. The
random numbers of a row depend on the seed, the prompt's place and the draw alone, never on which rows share its batch.

Legend: P prompts, G draws a prompt, R = P x G rows, T tokens, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import DynamicCache, PreTrainedModel

from training.decode_cache import reserve
from training.finished_answers import FinishedBatches

COMPACT_WHEN_FINISHED = 1 / 8  # share of finished rows at which the cache is rebuilt without them

Observe = Callable[[list[int], torch.Tensor, torch.Tensor], None]


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn: `temperature` 0 takes the likeliest; `top_p` keeps the smallest nucleus of that mass."""

    max_completion_length: int
    temperature: float = 1.0
    top_p: float = 1.0

    @property
    def greedy(self) -> bool:
        """Whether the same prompt always gives the same completion."""
        return self.temperature == 0.0


def generate(
    model: PreTrainedModel,
    prompt_ids: list[list[int]],
    draws: int,
    sampling: Sampling,
    eos_ids: set[int],
    seed: int | Sequence[int],
    batch_size: int = 64,
    on_rows_done: Callable[[int], None] | None = None,
    observe: Observe | None = None,
    finished: FinishedBatches | None = None,
) -> list[list[int]]:
    """Return P x `draws` completions, prompt-major, each ending in an EOS token unless it was cut at the length limit.

    `seed` is one for all, or one for each prompt, whose draws then depend on nothing else. `batch_size` bounds the rows
    decoded together. `on_rows_done` hears the number of rows finished, for progress;
    `observe` every decoding step: the rows not yet finished, their logits [R, V] and the tokens [R] drawn from them.
    What `finished` has is not decoded again, and it hears of every batch.
    """
    uniforms_RT = _uniforms(len(prompt_ids), draws, sampling, seed)
    prompts_per_batch = max(1, batch_size // draws)
    alike = sorted(range(len(prompt_ids)), key=lambda index: prompt_ids[index])  # neighbours share long prefixes
    completions: list[list[int]] = [[] for _ in range(len(prompt_ids) * draws)]
    with _inference(model):
        for start in range(0, len(alike), prompts_per_batch):
            chosen = alike[start : start + prompts_per_batch]
            rows = [index * draws + draw for index in chosen for draw in range(draws)]
            uniforms = None if uniforms_RT is None else uniforms_RT[rows]
            batch = [prompt_ids[index] for index in chosen]
            heard = None if observe is None else _renumbered(observe, rows)
            decoded = None if finished is None else finished.get(chosen)
            if decoded is None:
                decoded = _decode(model, batch, draws, sampling, eos_ids, uniforms, heard)
                if finished is not None:
                    finished.add(chosen, decoded)
            for row, tokens in zip(rows, decoded, strict=True):
                completions[row] = tokens
            if on_rows_done is not None:
                on_rows_done(len(rows))
    return completions


def _renumbered(observe: Observe, numbers: list[int]) -> Observe:
    return lambda rows, logits_RV, tokens_R: observe([numbers[row] for row in rows], logits_RV, tokens_R)


@contextmanager
def _inference(model: PreTrainedModel) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def _uniforms(prompts: int, draws: int, sampling: Sampling, seed: int | Sequence[int]) -> torch.Tensor | None:
    if sampling.greedy:
        return None
    seeds, rows = ([seed], prompts * draws) if isinstance(seed, int) else (seed, draws)
    width = sampling.max_completion_length
    return torch.cat([torch.rand((rows, width), generator=torch.Generator().manual_seed(one)) for one in seeds])


def _decode(
    model: PreTrainedModel,
    prompts: list[list[int]],
    draws: int,
    sampling: Sampling,
    eos_ids: set[int],
    uniforms_RT: torch.Tensor | None,
    observe: Observe | None,
) -> list[list[int]]:
    device = next(model.parameters()).device
    cache, logits_RV, mask_RT = _prefill(model, prompts, draws, device)
    reserve(cache)
    completions: list[list[int]] = [[] for _ in range(len(prompts) * draws)]
    active = list(range(len(completions)))  # batch place -> row; finished rows stay until the next compaction
    finished: set[int] = set()
    eos = torch.tensor(sorted(eos_ids))
    for position in range(sampling.max_completion_length):
        uniforms_R = None if uniforms_RT is None else uniforms_RT[active, position].to(device)
        tokens_R = draw_tokens(logits_RV, sampling, uniforms_R)
        if observe is not None:
            places = [place for place, row in enumerate(active) if row not in finished]
            observe([active[place] for place in places], logits_RV[places], tokens_R[places])
        tokens = tokens_R.cpu()
        ended = torch.isin(tokens, eos)
        for place, (row, token) in enumerate(zip(active, tokens.tolist(), strict=True)):
            if row not in finished:
                completions[row].append(token)
                if ended[place]:
                    finished.add(row)
        if all(row in finished for row in active) or position == sampling.max_completion_length - 1:
            break
        active, tokens_R, mask_RT = _compact(cache, active, finished, tokens_R, mask_RT)
        mask_RT = torch.cat([mask_RT, mask_RT.new_ones((len(active), 1))], dim=1)
        output = model(
            input_ids=tokens_R[:, None],
            attention_mask=mask_RT,
            position_ids=mask_RT.sum(1, keepdim=True) - 1,
            past_key_values=cache,
            use_cache=True,
        )
        logits_RV = output.logits[:, -1]
    return completions


def _prefill(
    model: PreTrainedModel, prompts: list[list[int]], draws: int, device: torch.device
) -> tuple[DynamicCache, torch.Tensor, torch.Tensor]:
    """Run what all prompts share once, the rest of each prompt once, and repeat its cache for every draw.

    A prompt's columns are [shared][padding][rest]; padding is masked and takes no position.
    """
    shared = shared_prefix(prompts)
    cache = DynamicCache(config=model.config)
    if shared:
        model(
            input_ids=torch.tensor([prompts[0][:shared]], device=device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache.batch_repeat_interleave(len(prompts))
    longest = max(len(ids) for ids in prompts)
    ids_PT = torch.zeros((len(prompts), longest), dtype=torch.long)
    mask_PT = torch.zeros((len(prompts), longest), dtype=torch.long)
    mask_PT[:, :shared] = 1
    for place, ids in enumerate(prompts):
        start = longest - len(ids) + shared
        ids_PT[place, start:] = torch.tensor(ids[shared:])
        mask_PT[place, start:] = 1
    mask_PT = mask_PT.to(device)
    output = model(
        input_ids=ids_PT[:, shared:].to(device),
        attention_mask=mask_PT,
        position_ids=(mask_PT.cumsum(1) - 1).clamp(min=0)[:, shared:],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    cache.batch_repeat_interleave(draws)
    return cache, output.logits[:, -1].repeat_interleave(draws, 0), mask_PT.repeat_interleave(draws, 0)


def shared_prefix(prompts: list[list[int]]) -> int:
    """Tokens at the start that all prompts have in common, less than the shortest prompt; 0 for a single prompt."""
    if len(prompts) == 1:
        return 0
    first, last = min(prompts), max(prompts)
    common = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return min(common, min(len(ids) for ids in prompts) - 1)


def _compact(
    cache: DynamicCache, active: list[int], finished: set[int], tokens_R: torch.Tensor, mask_RT: torch.Tensor
) -> tuple[list[int], torch.Tensor, torch.Tensor]:
    keep = [place for place, row in enumerate(active) if row not in finished]
    if len(active) - len(keep) < max(1.0, COMPACT_WHEN_FINISHED * len(active)):
        return active, tokens_R, mask_RT
    places = torch.tensor(keep, device=tokens_R.device)
    cache.batch_select_indices(places)
    return [active[place] for place in keep], tokens_R[places], mask_RT[places]


def draw_tokens(logits_RV: torch.Tensor, sampling: Sampling, uniforms_R: torch.Tensor | None) -> torch.Tensor:
    """Draw one token a row by inverse CDF from one uniform number each (shape [R] in [0, 1)); greedy needs none."""
    if sampling.greedy or uniforms_R is None:
        return logits_RV.argmax(-1)
    device = logits_RV.device
    if device.type == "cuda" and torch.are_deterministic_algorithms_enabled():
        logits_RV, uniforms_R = logits_RV.cpu(), uniforms_R.cpu()  # CUDA's cumsum of floats is refused then
    probabilities_RV = torch.softmax(logits_RV.float() / sampling.temperature, dim=-1)
    if sampling.top_p < 1.0:
        probabilities_RV = _nucleus(probabilities_RV, sampling.top_p)
    cumulative_RV = probabilities_RV.cumsum(-1)
    thresholds_R = uniforms_R * cumulative_RV[:, -1]
    drawn_R = torch.searchsorted(cumulative_RV, thresholds_R[:, None], right=True)[:, 0]
    return drawn_R.clamp(max=logits_RV.size(-1) - 1).to(device)


def _nucleus(probabilities_RV: torch.Tensor, top_p: float) -> torch.Tensor:
    """Zero every token outside the smallest set whose mass reaches `top_p` (Holtzman 2020); the top token stays."""
    sorted_RV, order_RV = probabilities_RV.sort(descending=True)
    outside_RV = sorted_RV.cumsum(-1) - sorted_RV >= top_p
    return probabilities_RV.masked_fill(outside_RV.gather(-1, order_RV.argsort(-1)), 0.0)
