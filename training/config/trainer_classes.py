"""How each field of trl's SFTConfig, DPOConfig, GRPOConfig and RewardConfig is treated in a stage's `trainer:` block.

identity: part of the experiment, a change makes another artifact. neutral: says how the work is done or shown, a change
redoes nothing. Refused: posttrain sets it, or it would be ignored; the reason says what to write instead. A test fails
when the installed TRL has a field that is not listed here, or no longer has one that is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Refused:
    """A field that `trainer:` does not take, and what to do instead."""

    reason: str


Treatment = Literal["identity", "neutral"] | Refused

_IDENTITY = (
    # length and optimiser
    "num_train_epochs max_steps learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps optim optim_args "
    "weight_decay adam_beta1 adam_beta2 adam_epsilon optim_target_modules max_grad_norm label_smoothing_factor "
    # precision and kernels
    "bf16 fp16 tf32 torch_compile torch_compile_backend torch_compile_mode use_liger_kernel liger_kernel_config "
    # regularisation and loss
    "neftune_noise_alpha router_aux_loss_coef disable_dropout loss_type "
    # sft
    "max_length truncation_mode shuffle_dataset packing packing_strategy padding_free completion_only_loss "
    "assistant_only_loss "
    # dpo
    "loss_weights ld_alpha f_divergence_type f_alpha_divergence_coef label_smoothing beta use_weighting discopop_tau "
    # reward_model
    "center_rewards_coefficient "
    # grpo: rollouts
    "num_generations generation_batch_size max_completion_length temperature top_p cast_lm_head_to_fp32 "
    "max_tool_calling_iterations "
    # grpo: advantages and loss
    "num_iterations epsilon epsilon_high delta sapo_temperature_neg sapo_temperature_pos vespo_k_pos vespo_lambda_pos "
    "vespo_k_neg vespo_lambda_neg importance_sampling_level multi_objective_aggregation scale_rewards "
    "mask_truncated_completions top_entropy_quantile entropy_coef use_adaptive_entropy entropy_coef_min "
    "entropy_coef_max entropy_coef_delta entropy_target off_policy_mask_threshold use_bias_correction_kl "
    "vllm_importance_sampling_correction vllm_importance_sampling_mode vllm_importance_sampling_clip_max "
    "vllm_importance_sampling_clip_min vllm_max_model_length"
)

_NEUTRAL = (
    # memory against time
    "activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing gradient_checkpointing_kwargs "
    "activation_offloading torch_empty_cache_steps use_cache pad_to_multiple_of "
    "precompute_ref_log_probs precompute_ref_batch_size ds3_gather_for_generation full_determinism "
    # logging
    "log_on_each_node logging_nan_inf_filter "
    "include_num_input_tokens_seen log_level log_level_replica disable_tqdm debug skip_memory_metrics "
    # workers and communication
    "dataset_num_proc dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers "
    "dataloader_prefetch_factor dataloader_multiprocessing_context ddp_find_unused_parameters ddp_bucket_cap_mb "
    "ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout "
    # grpo: how vllm runs
    "vllm_model_impl vllm_enable_sleep_mode vllm_gpu_memory_utilization "
    "vllm_tensor_parallel_size vllm_server_timeout vllm_group_port"
)

_REFUSED_GROUPS = {
    "no checkpoint holds a reference that moves, so a resumed stage would compare with another model; two stages, one "
    "after the other, move it once": "sync_ref_model ref_model_mixup_alpha ref_model_sync_steps",
    "it is derived; write the stage's batch_size and runtime.micro_batch_size": (
        "per_device_train_batch_size gradient_accumulation_steps"
    ),
    "it would change runtime.micro_batch_size in silence; set that to what fits": "auto_find_batch_size",
    "it is derived from batch_size; write generation_batch_size (completions per rollout round)": (
        "steps_per_generation"
    ),
    "stages write into the run folder; choose its place with runtime.runs_dir": "output_dir",
    "a stage always goes on from its newest complete checkpoint": (
        "resume_from_checkpoint ignore_data_skip restore_callback_states_from_checkpoint"
    ),
    "checkpoints are written by posttrain; write runtime.checkpoint_every and runtime.keep_checkpoints": (
        "save_strategy save_steps save_total_limit save_only_model save_on_each_node enable_jit_checkpoint"
    ),
    "metrics.jsonl has one line per optimizer step": "logging_strategy logging_steps logging_first_step",
    "write the stage's seed": "seed data_seed",
    "the tracker is chosen with runtime.tracker and runtime.tracker_mode": (
        "report_to run_name project trackio_space_id trackio_bucket_id trackio_static_space_id"
    ),
    "completions are logged by posttrain; write runtime.log_completions": (
        "log_completions log_multimodal num_completions_to_print log_unique_prompts log_completions_hub_repo"
    ),
    "nothing is uploaded from a stage": (
        "push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision"
    ),
    "models are measured by stages of kind evaluate (the top level's evaluate block), the loss on held-out rows by "
    "data.validation": (
        "eval_strategy eval_steps eval_delay per_device_eval_batch_size prediction_loss_only eval_on_start "
        "eval_do_concat_batches eval_use_gather_object eval_accumulation_steps include_for_metrics batch_eval_metrics "
        "bf16_full_eval fp16_full_eval load_best_model_at_end metric_for_best_model greater_is_better eval_packing "
        "num_generations_eval do_eval do_predict"
    ),
    "a stage of this kind always trains": "do_train",
    "the device follows from the machine; hide GPUs with CUDA_VISIBLE_DEVICES": "use_cpu",
    "the rank comes from the launcher": "local_rank",
    "DeepSpeed is chosen with runtime.zero_stage and runtime.deepspeed_config": "deepspeed",
    "sharding is chosen with runtime.zero_stage": "fsdp fsdp_config parallelism_config",
    "how batches are split over ranks is derived, so that any number of ranks trains the same rows": (
        "accelerator_config average_tokens_across_devices dataloader_in_order"
    ),
    "rows are drawn by posttrain's own sampler, a new shuffle in each epoch that resumes exactly": (
        "train_sampling_strategy length_column_name dataloader_drop_last"
    ),
    "the columns a trainer sees are chosen by posttrain; write data.columns": (
        "remove_unused_columns label_names dataset_text_field dataset_kwargs"
    ),
    "write the stage's chat_template": "chat_template_path",
    "special tokens belong to the base model's tokenizer, and a change would break the chain of stages": (
        "eos_token pad_token"
    ),
    "the model is loaded by posttrain; write the top level's model, the stage's attention, save_dtype and lora": (
        "model_init_kwargs trust_remote_code"
    ),
    "weights of rewards are written in rewards, as {name: ..., weight: ...}": "reward_weights",
    "completions are drawn from temperature and top_p alone": (
        "top_k min_p repetition_penalty generation_kwargs chat_template_kwargs cache_implementation "
        "vllm_structured_outputs_regex"
    ),
    "completions are drawn by posttrain's own rollout, or by vLLM with the stage's rollout: vllm": (
        "use_vllm use_transformers_continuous_batching transformers_continuous_batching_config use_transformers_paged"
    ),
    "where vLLM runs is no part of the experiment; write runtime.vllm": (
        "vllm_mode vllm_server_base_url vllm_server_host vllm_server_port"
    ),
    "TRL calls it vllm_importance_sampling_clip_max now": "vllm_importance_sampling_cap",
}

CLASSES: dict[str, Treatment] = {
    **dict.fromkeys(_IDENTITY.split(), "identity"),
    **dict.fromkeys(_NEUTRAL.split(), "neutral"),
    **{name: Refused(reason) for reason, names in _REFUSED_GROUPS.items() for name in names.split()},
}
