"""Names of other tools that are no settings here: why, and what is set in their place.

Those that only have another name here are in `keys.ALIASES`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from lingotune.launch.overrides.trainer_names import ROWS as TRAINER
from lingotune.launch.overrides.trainer_names import NotHere

_HUB = NotHere(
    "a token is never a setting; it is read from HF_TOKEN, or from a secret of AWS",
    "hub=private hub.token_secret=NAME",
)
_ROWS = {
    # run_classification.py and its kin
    "max_train_samples max_eval_samples max_predict_samples train_size max_samples": NotHere(
        "rows are read whole; fewer steps are a shorter run", "training.max_steps=100"
    ),
    "pad_to_max_length padding truncation truncation_side padding_side": NotHere(
        "texts are cut at data.max_length and padded to the longest of their batch",
        "data.max_length=128",
    ),
    "do_regression problem_type is_regression": NotHere(
        "a model chooses one of its classes", "'data.labels=[negative, positive]'"
    ),
    "num_labels num_classes n_classes id2label label2id": NotHere(
        "the classes say how many there are", "data.labels=auto"
    ),
    "cache_dir": NotHere("the libraries' own variable says where downloads lie: HF_HOME"),
    "config_name tokenizer_name tokenizer use_fast_tokenizer use_fast tokenizer_name_or_path"
    " tokenizer_type": NotHere("a model comes with its own configuration and tokenizer",
                               "model=pretrained model.name_or_path=xlm-roberta-base"),
    "ignore_mismatched_sizes": NotHere(
        "a head is taken over class by class, by name, and made anew for other classes"
    ),
    "trust_remote_code": NotHere("code of a repository runs at a commit that is typed for the run",
                                 "model.remote_code=COMMIT"),
    "use_auth_token token hf_token api_key": _HUB,
    "metric_name compute_metrics": NotHere(
        "all scores are always computed; one of them selects the best checkpoint",
        "evaluation.select=macro_f1",
    ),
    "preprocessing_num_workers num_proc overwrite_cache dataset_num_proc dataset_prepared_path"
    " use_multiprocessing use_multiprocessing_for_evaluation process_count"
    " multiprocessing_chunksize": NotHere("data is prepared once, on all cores, and found again",
                                          "prepared_dir=prepared"),
    "shuffle shuffle_train_dataset shuffle_seed": NotHere(
        "every epoch has an order of its own, which the seed gives", "seed=42"
    ),
    "streaming": NotHere("sources are read piece by piece anyway, in bounded memory"),
    "text_column_delimiter sep": NotHere("it is read from the file",
                                                   "data.separator=semicolon"),
    "dataset_config_name dataset_config subset": NotHere(
        "a subset is part of the path", "data=files data.path=hf://datasets/OWNER/NAME"
    ),
    "train_split_name validation_split_name test_split_name train_split split validation_split"
    " test_split val_split": NotHere(
        "splits are files of their own, or shares of one source",
        "data.validation_share=0.1 data.test_share=0.1",
    ),
    # workers, optimizers, early stopping
    "num_workers n_workers workers pin_memory persistent_workers prefetch_factor": NotHere(
        "batches are cut from prepared, memory-mapped tokens ahead of the training, without processes"
        " that load them"
    ),
    "optimizer_name optimizer_params optimizer_type optimizer_class optimizers": NotHere(
        "one setting chooses the optimizer, with its usual parameters", "training.optimizer=adamw"
    ),
    "betas adam_betas eps momentum lr_betas": NotHere(
        "AdamW has betas 0.9 and 0.999 and epsilon 1e-8", "training.weight_decay=0.01"
    ),
    "early_stopping use_early_stopping early_stopping_consider_epochs": NotHere(
        "a training ends early by the evaluations without a better score", "training.patience=3"
    ),
    "verbose verbosity silent quiet progress_bar enable_progress_bar logging_level": NotHere(
        "the log says a line for each logged step", "training.logging_steps=10"
    ),
    "hidden_size num_hidden_layers num_attention_heads hidden_dropout_prob"
    " attention_probs_dropout_prob": NotHere(
        "only a model from scratch has sizes of its own; a pretrained one has those it came with",
        "model=tiny model.scratch.dim=128",
    ),
    "class_weights class_weight weights weight loss_weights": NotHere(
        "rare classes weigh more on request, by their share of the rows", "data.balance=weights"
    ),
    "loss loss_fn loss_type loss_class criterion label_smoothing_loss": NotHere(
        "the loss is cross-entropy; a model builder of your own may have another",
        "training.label_smoothing=0.1",
    ),
    "lr_decay lr_end min_lr lr_min min_lr_ratio polynomial_decay_schedule_lr_end"
    " cosine_min_lr_ratio": NotHere(
        "the schedules end at 0", "training.schedule=cosine"
    ),
    # LoRA and other adapters, quantisation, attention
    "peft peft_config use_peft adapter adapter_name r lora_target_linear lora_modules_to_save"
    " modules_to_save finetuning_type qlora": NotHere(
        "a rank turns LoRA on, beside all linear layers; the head is trained, too",
        "training.lora.rank=8",
    ),
    "load_in_8bit load_in_4bit bnb_4bit_quant_type bnb_4bit_compute_dtype quantization_bit"
    " quantization quantize quantized_model": NotHere(
        "weights are not quantised; a number format of 16 bits halves the memory",
        "training.precision=bf16",
    ),
    "flash_attention flash_attn flash_attn_2 use_flash_attention_2 attn_implementation sdp_attention"
    " xformers_attention eager_attention": NotHere(
        "attention is PyTorch's own, which chooses its kernel; padding costs nothing by this",
        "batching.padding_free=true",
    ),
    "torch_dtype dtype": NotHere("one setting chooses the number format",
                                 "training.precision=bf16"),
    "device_map low_cpu_mem_usage device": NotHere("the cluster says what a job runs on",
                                                   "cluster=local"),
    "sample_packing eval_sample_packing pad_to_sequence_len packing group_texts": NotHere(
        "texts of a batch are put one behind the other, each on its own", "batching.padding_free=true"
    ),
    "chat_template template special_tokens train_on_inputs datasets.type prompt_template": NotHere(
        "it is for models that generate text"
    ),
    "base_model_config model_type tokenizer_config is_llama_derived_model type_of_model"
    " model_class": NotHere("a model's own files say what it is",
                            "model=pretrained model.name_or_path=xlm-roberta-base"),
    "freeze freeze_encoder freeze_base freeze_body unfrozen_parameters train_custom_parameters_only"
    " num_layers_to_freeze": NotHere(
        "the first layers and the embeddings can be left as they are",
        "training.freeze_layers=6 training.freeze_embeddings=true",
    ),
    "head_learning_rate body_learning_rate body_train_layers encoder_lr discriminative_lr"
    " layerwise_lr_decay layer_lr": NotHere(
        "the layers' rates follow from one and its decay from layer to layer",
        "lr=2e-5 training.layer_decay=0.9",
    ),
    "num_iterations sampling_strategy end_to_end max_pairs": NotHere(
        "it is for training by pairs of texts; here each text is trained on with its class"
    ),
    # trackers
    "wandb_project wandb_entity wandb_name wandb_run_id wandb_watch wandb_log_model wandb_kwargs"
    " wandb wandb_mode": NotHere(
        "trackers are configured by their own variables, such as WANDB_PROJECT",
        "'training.report_to=[wandb]'",
    ),
    "mlflow_tracking_uri mlflow_experiment_name comet_project comet": NotHere(
        "trackers are configured by their own variables, such as MLFLOW_TRACKING_URI",
        "'training.report_to=[mlflow]'",
    ),
    "logger loggers tensorboard_dir log_dir": NotHere(
        "logs and TensorBoard's events lie in the run folder", "runs_dir=runs"
    ),
    # PyTorch Lightning
    "devices accelerator gpus auto_select_gpus n_gpu cuda_device": NotHere(
        "the cluster says what a job runs on, and how many processes there are", "cluster=p4d_24xl"
    ),
    "strategy plugins sync_batchnorm use_distributed_sampler": NotHere(
        "processes exchange gradients in the way that suits the cluster",
        "cluster.distribution=torch_distributed",
    ),
    "val_check_interval check_val_every_n_epoch limit_train_batches limit_val_batches"
    " limit_test_batches num_sanity_val_steps evaluate_during_training evaluate_during_training_steps"
    " evaluate_each_epoch eval_every": NotHere(
        "one setting says when is evaluated", "training.eval_strategy=epoch"
    ),
    "fast_dev_run overfit_batches dry_run": NotHere(
        "a rehearsal runs the job's very request on this machine",
        "cluster=p4d_24xl action=rehearse rehearsal.model=tiny",
    ),
    "enable_checkpointing default_root_dir checkpoint_callback save_model_every_epoch"
    " save_eval_checkpoints save_best_model best_model_dir no_save no_cache": NotHere(
        "checkpoints are whole safetensors files, at each evaluation and every training.save_steps",
        "training.save_steps=500",
    ),
    "deterministic benchmark cudnn_deterministic": NotHere(
        "a seed gives the same run on the same machine", "seed=42"
    ),
    "min_epochs min_steps": NotHere("a run has a number of epochs, or of steps",
                                    "training.max_steps=1000"),
    "max_time max_train_time time_limit": NotHere(
        "a training ends with its best weights after a number of hours", "training.max_hours=2"
    ),
    # DeepSpeed and Accelerate
    "zero_optimization zero_stage zero offload_optimizer offload_param offload_optimizer_device"
    " offload_param_device deepspeed_config deepspeed_config_file deepspeed_plugin fsdp_plugin"
    " fsdp_sharding_strategy fsdp_offload_params zero3_init_flag zero3_save_16bit_model"
    " megatron_lm_config use_fsdp use_deepspeed tensor_parallel_size"
    " pipeline_parallel_size": NotHere("one switch cuts the model for all GPUs",
                                       "training.shard=true"),
    "distributed_type machine_rank main_process_ip main_process_port rdzv_backend rdzv_endpoint"
    " num_machines num_gpus_per_node master_addr master_port node_rank same_network gpu_ids"
    " downcast_bf16 dynamo_config dynamo_backend compute_environment main_training_function"
    " master_port": NotHere("the cluster says how many processes there are, and they find each other",
                            "cluster=p4d_24xl cluster.nodes=2"),
    # simpletransformers
    "reprocess_input_data use_cached_eval_features sliding_window stride tie_value do_lower_case"
    " lazy_loading lazy_delimiter": NotHere("a source is read, cleaned and cut in one way",
                                            "data.max_length=128"),
    # the SageMaker SDKs
    "entry_point source_dir dependencies git_config code_location source_code"
    " train_script": NotHere("the code travels by itself, as one bundle; own code is a file of yours",
                             "code.file=..."),
    "hyperparameters sagemaker_program": NotHere("the job travels as one file, with every setting"),
    "metric_definitions enable_sagemaker_metrics": NotHere(
        "the metrics of the log are defined by the plan"
    ),
    "compiler_config debugger_hook_config debugger_rule_configs rules profiler_config"
    " tensorboard_s3_uri enable_infra_check": NotHere(
        "SageMaker's debugger and compiler are switched off", "cluster=p4d_24xl cluster.profiler=true"
    ),
    "sagemaker_session boto_session session logs log": NotHere(
        "an action says what is done, and the submit shows the commands that follow",
        "action=submit",
    ),
    "model_uri model_channel_name inputs input_data_config train_channel training_channel": NotHere(
        "data and model become channels by themselves",
        "data=files data.path=s3://BUCKET/reviews.jsonl",
    ),
    "instance_groups": NotHere("all machines of a job are of one type", "cluster=p4d_24xl"),
    "container_log_level container_entry_point container_arguments": NotHere(
        "the container starts as AWS's images do"
    ),
    "account account_id vpc vpc_id vpc_config": NotHere(
        "the role and the subnets say which account and network it is", "'aws.subnets=[subnet-ID]'"
    ),
    "ckpt_path checkpoint_path checkpoint checkpoint_dir checkpoints_dir resume_from"
    " load_checkpoint": NotHere(
        "each run has a new folder, and a killed one goes on by --job RUN/job.yaml --run-dir RUN",
        "resume=required",
    ),
    "cuda gpu cpu use_gpu use_cuda": NotHere("the cluster says what a job runs on", "cluster=local"),
    "task task_name notes group_name job_type run_id tracking experiment_tracking": NotHere(
        "a run has a name, and trackers their own variables", "name=my-run"
    ),
    "evals_per_epoch saves_per_epoch eval_interval evaluate_every eval_freq save_interval"
    " save_freq": NotHere("steps are counted from one evaluation or checkpoint to the next",
                          "training.eval_strategy=steps training.eval_steps=500"),
    "detect_anomaly inference_mode barebones wall_clock_breakdown steps_per_print"
    " communication_data_type reload_dataloaders_every_n_epochs": NotHere(
        "it is a switch of another tool's loop"
    ),
    "credentials aws_access_key_id aws_secret_access_key aws_session_token aws_profile"
    " profile_name": NotHere("AWS's own variables and files say who you are: AWS_PROFILE=NAME"),
    # Hydra's own
    "_target_ _partial_ _args_ _recursive_ _convert_": NotHere(
        "files hold settings and build no objects; own code is a file of yours",
        "code.file=...",
    ),
    "_self_ _global_": NotHere("it has a meaning only in a defaults list or a package line"),
}  # fmt: skip


@functools.cache
def not_here() -> Mapping[str, NotHere]:
    """Map each name to its row; of a name in two tables the Trainer's."""
    rows = [*_ROWS.items(), *TRAINER.items()]
    return {name: row for names, row in rows for name in names.split()}
