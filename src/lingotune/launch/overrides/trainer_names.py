"""Names of the Hugging Face Trainer that are no settings here: why, and what is set in their place.

All fields of `TrainingArguments` from transformers 4.28 to 5.x are a setting, an alias of one (see
`keys`), or a row of this table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NotHere:
    """Reason why a name of another tool is no setting; instead: overrides that do what is meant, or ''."""

    because: str
    instead: str = ""


ROWS = {
    "optim_args optim_target_modules adam_beta1 adam_beta2 adam_epsilon": NotHere(
        "AdamW has betas 0.9 and 0.999 and epsilon 1e-8", "training.weight_decay=0.01"
    ),
    "adafactor": NotHere("one setting chooses the optimizer", "training.optimizer=adafactor"),
    "lr_scheduler_kwargs": NotHere(
        "what a schedule's shape needs is a setting",
        "training.schedule=polynomial training.schedule_power=2",
    ),
    "dataloader_num_workers dataloader_prefetch_factor dataloader_persistent_workers"
    " dataloader_pin_memory dataloader_multiprocessing_context dataloader_in_order": NotHere(
        "batches are cut from prepared, memory-mapped tokens ahead of the training, without processes"
        " that load them"
    ),
    "dataloader_drop_last": NotHere("every text is trained on once in each epoch"),
    "group_by_length length_column_name train_sampling_strategy": NotHere(
        "batching.mode says which texts make up an update", "batching.mode=window"
    ),
    "gradient_checkpointing_kwargs activation_checkpointing_kwargs": NotHere(
        "layers are computed again by PyTorch's checkpoints without reentrance",
        "training.gradient_checkpointing=true",
    ),
    "auto_find_batch_size": NotHere(
        "what fits is found without another update, and shown", "training.fit_memory=true"
    ),
    "torch_empty_cache_steps": NotHere(
        "a smaller part of a batch takes less memory", "per_device_bs=8 scaling.accumulation=4"
    ),
    "fp16_full_eval bf16_full_eval fp16_backend half_precision_backend fp16_opt_level": NotHere(
        "training and evaluation compute in one number format, by PyTorch's own autocast",
        "training.precision=auto",
    ),
    "tf32": NotHere("what stays in fp32 uses TF32 on GPUs that have it"),
    "no_cuda use_mps_device use_ipex xpu_backend jit_mode_eval": NotHere(
        "the cluster says what a job runs on", "cluster=local"
    ),
    "torch_compile_backend torch_compile_mode torchdynamo": NotHere(
        "one switch chooses what suits the device", "training.compile=true"
    ),
    "use_liger_kernel liger_kernel_config use_cache neftune_noise_alpha past_index": NotHere(
        "it is for models that generate text"
    ),
    "average_tokens_across_devices": NotHere("the gradient is the mean over the whole batch anyway"),
    "logging_strategy logging_first_step logging_nan_inf_filter": NotHere(
        "one setting says how often is logged", "training.logging_steps=10"
    ),
    "logging_dir log_on_each_node log_level log_level_replica disable_tqdm": NotHere(
        "logs and TensorBoard's events lie in the run folder", "runs_dir=runs"
    ),
    "include_num_input_tokens_seen include_tokens_per_second skip_memory_metrics": NotHere(
        "tokens, speed and memory are always measured, see metrics.json"
    ),
    "project trackio_space_id trackio_bucket_id trackio_static_space_id": NotHere(
        "trackers are configured by their own variables, such as TRACKIO_SPACE_ID",
        "'training.report_to=[trackio]'",
    ),
    "eval_delay eval_on_start": NotHere(
        "one setting says when is evaluated", "training.eval_strategy=epoch"
    ),
    "prediction_loss_only eval_do_concat_batches eval_use_gather_object eval_accumulation_steps"
    " include_for_metrics include_inputs_for_metrics batch_eval_metrics"
    " use_legacy_prediction_loop": NotHere(
        "the scores are always those by class and by language; only their batch can be set",
        "evaluation.per_device_bs=64",
    ),
    "save_strategy save_only_model save_on_each_node save_safetensors enable_jit_checkpoint": NotHere(
        "checkpoints are whole safetensors files, at each evaluation and every training.save_steps",
        "training.save_steps=500",
    ),
    "load_best_model_at_end greater_is_better": NotHere(
        "the best checkpoint becomes the model, by the metric that is selected",
        "evaluation.select=macro_f1",
    ),
    "resume_from_checkpoint ignore_data_skip restore_callback_states_from_checkpoint"
    " overwrite_output_dir": NotHere(
        "each run has a new folder, and a killed one resumes by --job RUN/job.yaml --run-dir RUN"
    ),
    "hub_strategy hub_always_push": NotHere(
        "each checkpoint is pushed in the background, and the best one at the end", "hub=private"
    ),
    "hub_revision": NotHere("the main branch is published to", "hub=private"),
    "push_to_hub_organization": NotHere(
        "the repository's name has its owner", "hub=private hub.repo=owner/name"
    ),
    "full_determinism": NotHere("a seed gives the same run on the same machine", "seed=42"),
    "remove_unused_columns label_names": NotHere(
        "columns are named for the source", "data.columns.label=label"
    ),
    "do_train do_eval do_predict": NotHere(
        "a run trains, validates and tests; `evaluate` and `predict` are commands of their own"
    ),
    "fsdp fsdp_config fsdp_min_num_params fsdp_transformer_layer_cls_to_wrap deepspeed sharded_ddp"
    " parallelism_config": NotHere("one switch cuts the model for all GPUs", "training.shard=true"),
    "ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend"
    " ddp_timeout accelerator_config dispatch_batches split_batches": NotHere(
        "processes exchange gradients in the way that suits the cluster",
        "cluster.distribution=torch_distributed",
    ),
    "local_rank _n_gpu ray_scope mp_parameters": NotHere(
        "the cluster says how many processes there are", "cluster=p4d_24xl"
    ),
    "tpu_num_cores tpu_metrics_debug debug": NotHere(
        "jobs run on GPUs and CPUs, and a rehearsal is the way to look into one"
    ),
}  # fmt: skip
