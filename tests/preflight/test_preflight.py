"""Every check of the preflight: what triggers it, and the suggested fix, which does not."""

from __future__ import annotations

import random
import re
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest
from conftest import CONF, ROOT, compose
from described import on_clusters
from results import manifest_of

from lingotune.catalog.hardware import Image, images, version
from lingotune.config.jobfile import job_digest, job_of
from lingotune.config.problems import Problem, Severity, errors_only
from lingotune.config.schema import ClusterConfig, CodeConfig
from lingotune.config.typed_json import from_json
from lingotune.data.prepared.manifest import Manifest
from lingotune.data.prepared.shards import READERS
from lingotune.estimate.batch import plan_batches, plan_steps
from lingotune.launch.checks.architectures import ARCHITECTURES
from lingotune.launch.checks.lanes import lane_pins
from lingotune.launch.checks.prepared_data import PREPARED, DataForImage
from lingotune.launch.checks.rehearsal import REHEARSAL, UNUSED
from lingotune.launch.checks.request import CODE, REQUEST, SETTINGS
from lingotune.launch.checks.sagemaker import SAGEMAKER
from lingotune.launch.checks.steps import STEPS, JobWithSteps
from lingotune.launch.overrides.keys import config_groups
from lingotune.launch.render.bundle import Bundle, build_bundle
from lingotune.launch.render.request import to_request
from lingotune.launch.render.training_job import Digests, describe
from lingotune.preflight import TABLES, check_job, check_secrets

CLOUD = "cluster=p3_16xl"
GROUP_ARN = "arn:aws:sagemaker:us-east-1:111122223333:model-package-group/reviews"
MLFLOW_ARN = "arn:aws:sagemaker:us-east-1:111122223333:mlflow-tracking-server/team"
TOLD = [f"aws.mlflow='{MLFLOW_ARN}'", "training.report_to=[mlflow]"]
DISTIL = "model=distilbert_multilingual"
PUBLISH = ["hub=private", "hub.token_secret=hf-token"]
FILES = ["data=files", "data.path=reviews.jsonl"]
LOOPBACK = "cluster.backend=loopback"
TOPICS = "data=sample_topics"
SHARDED = ["cluster=p4d_24xl", "training.shard=true"]
OWN_IMAGE = "111122223333.dkr.ecr.us-east-1.amazonaws.com/mine:1"
ISOLATED = [
    "aws.network_isolation=true",
    "cluster.image.lane=pinned",
    f"cluster.image.uri={OWN_IMAGE}",
]
TEACHER = ["distillation.teacher=gone", f"distillation.sha256='{'0' * 64}'"]
LISTED = [CLOUD, "cluster.fallback=[g5_48xl]", "aws.sdk=boto3"]
PLAN = "cluster.training_plan='arn:aws:sagemaker:us-east-1:111122223333:training-plan/x'"
A = "{name: a, values: [1]}"
LABELS = "data.labels=[{name: a, values: [1]}, {name: b, values: [2]}]"


def pinned(transformers: str, pytorch: str, python: str) -> list[str]:
    return [
        "cluster.image.lane=pinned",
        f"cluster.image.transformers='{transformers}'",
        f"cluster.image.pytorch='{pytorch}'",
        f"cluster.image.python={python}",
    ]


# check, overrides that trip it, where it is told, a part of what is told, a part of what works,
# and the overrides after which the check is silent
Trip = tuple[str, list[str], str, str, str, list[str]]
TRIPS: list[Trip] = [
    ("name-characters", ["name=under_score"], "name=under_score", "letters, digits",
     "name=under-score", ["name=under-score"]),
    ("name-length", [f"name={'x' * 50}"], f"name={'x' * 50}", "at most 45", f"name={'x' * 45}",
     [f"name={'x' * 45}"]),
    ("out-of-range", ["lr=0"], "lr=0", "out of range", "above 0", ["lr=1e-6"]),
    ("out-of-range", ["lr=nan"], "lr=nan", "out of range", "above 0", ["lr=1"]),
    ("out-of-range", ["lr=inf"], "lr=inf", "out of range", "above 0", ["lr=0.1"]),
    ("out-of-range", ["per_device_bs=0"], "per_device_bs=0", "out of range", "from 1",
     ["per_device_bs=1"]),
    ("out-of-range", ["epochs=0"], "epochs=0", "out of range", "from 0.001", ["epochs=1"]),
    ("out-of-range", ["data.max_length=2"], "data.max_length=2", "out of range", "8 to 8192",
     ["data.max_length=8"]),
    ("out-of-range", ["data.test_share=1"], "data.test_share=1", "out of range", "0 to 0.9",
     ["data.test_share=0.2"]),
    ("out-of-range", ["cluster.nodes=0"], "cluster.nodes=0", "out of range", "from 1",
     ["cluster.nodes=1"]),
    ("out-of-range", [CLOUD, "cluster.max_run=9999999"], "cluster.max_run=1e+07", "out of",
     "28 days", [CLOUD, "cluster.max_run=2419200"]),
    ("out-of-range", [CLOUD, "cluster.keep_alive=0"], "cluster.keep_alive=0", "out of", "from 1",
     [CLOUD, "cluster.keep_alive=1"]),
    ("out-of-range", [CLOUD, "cluster.retries=0"], "cluster.retries=0", "out of", "from 1",
     [CLOUD, "cluster.retries=1"]),
    ("lr-for-model", [DISTIL, "lr=1e-3"], "lr=0.001", "of base size learns at 2e-06 to 0.0002",
     "lr=3e-05", [DISTIL, "lr=2e-4"]),
    ("lr-for-model", ["lr=2e-5"], "lr=2e-05", "from scratch learns at 0.0001 to 0.005", "lr=0.001",
     ["lr=2e-4"]),
    ("lr-destroys", [DISTIL, "lr=1"], "lr=1", "never above 0.01", "lr=3e-05", [DISTIL, "lr=0.01"]),
    ("lr-destroys", ["lr=0.2"], "lr=0.2", "never above 0.1", "lr=0.001", ["lr=0.1"]),
    ("secret-in-config", ["hub=private", "hub.repo=hf_abcdefghijklmnopqrstuvwx"], "hub.repo",
     "looks like an access token", "HF_TOKEN", ["hub=private", "hub.repo=hf-model"]),
    ("secret-in-config", [CLOUD, "cluster.environment.A=AKIAABCDEFGHIJKLMNOP"],
     "cluster.environment.A", "looks like an access token", "HF_TOKEN",
     [CLOUD, "cluster.environment.A=b"]),
    ("out-of-range", ["batching.window=0"], "batching.window=0", "out of range", "from 1",
     ["batching.window=1"]),
    ("text-pair-twice", [*FILES, "data.columns.text_pair=review_body"],
     "data.columns.text_pair=review_body", "is data.columns.text as well", "data.columns.text_pair=null",
     [*FILES, "data.columns.text_pair=answer"]),
    ("labels-not-ordered", ["data=sample_stars", "data.labels=[1,3,2]"], "data.labels_mode=ordinal",
     "do not ascend in data.labels: 1 (1), 3 (3), 2 (2)", "'data.labels=[1, 2, 3]'",
     ["data=sample_stars", "data.labels=[low,middle,high]"]),
    ("labels-not-ordered", ["data.labels_mode=ordinal", LABELS], "data.labels_mode=ordinal",
     "no effect on two classes", "data.labels_mode=single", ["data.labels_mode=ordinal"]),
    ("scale-unused", ["evaluation.select=quadratic_kappa"], "evaluation.select=quadratic_kappa",
     "needs ordered classes", "data.labels_mode=ordinal",
     ["evaluation.select=quadratic_kappa", "data.labels_mode=ordinal"]),
    ("scale-unused", ["evaluation.decide=median"], "evaluation.decide=median", "needs ordered classes",
     "data.labels_mode=ordinal", ["evaluation.decide=median", "data.labels_mode=ordinal"]),
    ("scale-unused", [TOPICS, "evaluation.select=quadratic_kappa"], "evaluation.select=quadratic_kappa",
     "needs ordered classes, and data.labels_mode=multi", "evaluation.select=macro_f1",
     [TOPICS, "evaluation.select=macro_f1"]),
    ("labels-mode-columns", ["data.labels_mode=soft"], "data.columns.stars=stars",
     "no effect with data.labels_mode=soft", "data.columns.stars=null",
     ["data.labels_mode=soft", "data.columns.stars=null"]),
    ("labels-mode-columns", [*FILES, "data.labels_mode=soft", "data.labels=auto"], "data.labels=auto",
     "shares, which name no classes", "data.labels=[", [*FILES, "data.labels_mode=soft"]),
    ("label-separator-unused", ["data.label_separator=pipe"], "data.label_separator=pipe",
     "no effect with data.labels_mode=single", "data.label_separator=auto",
     [TOPICS, "data.label_separator=pipe"]),
    ("labels-mode-balance", [TOPICS, "data.balance=resample"], "data.balance=resample",
     "drawn with all of its classes", "data.balance=weights", [TOPICS, "data.balance=weights"]),
    ("labels-mode-balance", ["data.labels_mode=soft", "data.balance=weights"], "data.balance=weights",
     "a share of every class", "data.balance=none", ["data.labels_mode=soft"]),
    ("micro-f1-unused", ["evaluation.select=micro_f1"], "evaluation.select=micro_f1", "is the accuracy",
     "evaluation.select=accuracy", [TOPICS, "evaluation.select=micro_f1"]),
    ("label-smoothing-several", [TOPICS, "training.label_smoothing=0.1"], "training.label_smoothing=0.1",
     "a question of its own", "training.label_smoothing=0", ["training.label_smoothing=0.1"]),
    ("window-unused", ["batching.mode=random", "batching.window=4"], "batching.window=4",
     "no effect with batching.mode=random", "batching.mode=window", ["batching.window=4"]),
    ("compact-not-exact", ["training.compact_vocabulary=true", "training.weight_decay=0.01"],
     "training.compact_vocabulary=true", "weight_decay=0.01", "training.weight_decay=0",
     ["training.compact_vocabulary=true"]),
    ("compression-unused", ["training.compress_gradients=true"], "training.compress_gradients=true",
     "no effect on one process", "training.compress_gradients=false", [CLOUD]),
    ("compression-unused", ["training.compress_gradients=true", "cluster.processes=2"],
     "training.compress_gradients=true", "no effect on CPUs", "training.compress_gradients=false", []),
    ("compression-unused", [CLOUD, "training.compress_gradients=true", "training.precision=fp32"],
     "training.compress_gradients=true", "no effect with training.precision=fp32",
     "training.precision=auto", [CLOUD, "training.compress_gradients=true"]),
    ("exchange-unused", ["training.sparse_exchange=true"], "training.sparse_exchange=true",
     "no effect on one process", "training.sparse_exchange=false",
     [CLOUD, "training.sparse_exchange=true"]),
    ("exchange-unused",
     [CLOUD, "training.sparse_exchange=true", "training.freeze_embeddings=true"],
     "training.sparse_exchange=true", "no effect with training.freeze", "training.sparse_exchange=false",
     [CLOUD, "training.freeze_embeddings=true"]),
    ("exchange-unused", ["training.row_exchange=true"], "training.row_exchange=true",
     "no effect on one process", "training.row_exchange=null", [CLOUD, "training.row_exchange=true"]),
    ("exchange-twice", [CLOUD, "training.sparse_exchange=true", "training.row_exchange=false"],
     "training.sparse_exchange=true", "the opposite of", "training.sparse_exchange=false",
     [CLOUD, "training.row_exchange=false"]),
    ("exchange-compiled", [CLOUD, "training.row_exchange=true", "training.compile=true",
     "batching.mode=random"], "training.row_exchange=true", "does not work with training.compile=true",
     "training.row_exchange=null", [CLOUD, "training.row_exchange=true"]),
    ("shard-alone", ["training.shard=true"], "training.shard=true", "no effect on one process",
     "training.shard=false", ["training.shard=true", "cluster.processes=2"]),
    ("shard-compact",
     ["training.shard=true", "cluster.processes=2", "training.compact_vocabulary=true"],
     "training.compact_vocabulary=true", "does not work with training.shard=true",
     "training.compact_vocabulary=null", ["training.shard=true", "cluster.processes=2"]),
    ("shard-exchange", [*SHARDED, "training.sparse_exchange=true"], "training.sparse_exchange=true",
     "does not work with training.shard=true", "training.sparse_exchange=false", SHARDED),
    ("shard-exchange", [*SHARDED, "training.row_exchange=true"], "training.row_exchange=true",
     "does not work with training.shard=true", "training.row_exchange=null", SHARDED),
    ("shard-exchange", [*SHARDED, "training.compress_gradients=true"],
     "training.compress_gradients=true", "does not work with training.shard=true",
     "training.compress_gradients=false", ["cluster=p4d_24xl", "training.compress_gradients=true"]),
    ("smdistributed-shard", [*SHARDED, "cluster.distribution=smdistributed"], "training.shard=true",
     "does not work with cluster.distribution=smdistributed", "torch_distributed", SHARDED),
    ("shard-fp16", ["cluster=g4dn_12xl", "training.shard=true"], "training.shard=true",
     "fp16, which the T4 takes", "training.precision=fp32",
     ["cluster=g4dn_12xl", "training.shard=true", "training.precision=fp32"]),
    ("shard-fp16",
     ["cluster.gpus_per_node=2", "training.shard=true", "training.precision=fp16"],
     "training.shard=true", "does not work with fp16", "training.precision=fp32",
     ["cluster.gpus_per_node=2", "training.shard=true"]),
    ("shard-needs-image", [CLOUD, "training.shard=true", "training.precision=fp32"],
     "training.shard=true", "needs accelerate 1.10; the job's image has accelerate 1.4.0",
     "transformers 4.56", SHARDED),
    ("compact-frozen", ["training.compact_vocabulary=true", "training.freeze_embeddings=true"],
     "training.compact_vocabulary=true", "no effect", "training.compact_vocabulary=null",
     ["training.freeze_embeddings=true"]),
    ("padding-free-whole", ["batching.padding_free=true", "training.first_token_only=false"],
     "batching.padding_free=true", "does not work with training.first_token_only=false",
     "training.first_token_only=null", ["batching.padding_free=true"]),
    ("padding-free-architecture", ["model=mmbert_small", "batching.padding_free=true"],
     "batching.padding_free=true", "not known for the layers of modernbert",
     "batching.padding_free=false", ["model=e5_small", "batching.padding_free=true"]),
    ("padding-free-architecture", ["model=eurobert_210m", "training.first_token_only=true"],
     "training.first_token_only=true", "layers of eurobert", "training.first_token_only=null",
     ["training.first_token_only=true"]),
    ("pooling-unknown", [DISTIL, "model.pooling=mean"], "model.pooling=mean", "first token alone",
     "model.pooling=first", [DISTIL, "model.pooling=first"]),
    ("pooling-unknown", ["model.pooling=mean"], "model.pooling=mean", "of the architecture distilbert",
     "model.pooling=first", ["model=mmbert_small", "model.pooling=mean"]),
    ("text-longer-than-model", ["model=xlmr_base", "data.max_length=513"], "data.max_length=513",
     "positions for 512 tokens", "data.max_length=512", ["model=mmbert_base", "data.max_length=513"]),
    ("distillation-unused", ["distillation.alpha=0.3"], "distillation", "no effect without a teacher",
     "distillation.teacher=RUN", [*TEACHER, "distillation.alpha=0.3"]),
    ("distillation-alpha", [*TEACHER, "distillation.alpha=1.5"], "distillation.alpha=1.5",
     "no share from 0 to 1", "distillation.alpha=0.5", [*TEACHER, "distillation.alpha=0.5"]),
    ("distillation-alpha", [*TEACHER, "distillation.alpha=nan"], "distillation.alpha=nan",
     "no share from 0 to 1", "distillation.alpha=0.5", [*TEACHER, "distillation.alpha=0"]),
    ("distillation-alpha", [*TEACHER, "distillation.alpha=1"], "distillation.alpha=1",
     "nothing to the teacher", "distillation.teacher=null", [*TEACHER, "distillation.alpha=0.9"]),
    ("distillation-temperature", [*TEACHER, "distillation.temperature=0"],
     "distillation.temperature=0", "from 0.1 to 100", "distillation.temperature=2",
     [*TEACHER, "distillation.temperature=4"]),
    ("distillation-labels-unused",
     [*TEACHER, "distillation.alpha=0", "training.label_smoothing=0.1"],
     "training.label_smoothing=0.1", "a loss without labels", "training.label_smoothing=0",
     [*TEACHER, "distillation.alpha=0.1", "training.label_smoothing=0.1"]),
    ("distillation-labels-unused", [*TEACHER, "distillation.alpha=0", "data.balance=weights"],
     "data.balance=weights", "a loss without labels", "data.balance=none",
     [*TEACHER, "data.balance=weights"]),
    ("distillation-labels-mode", [*TEACHER, *FILES, "data.columns.label=tags", "data.labels_mode=multi"],
     "data.labels_mode=multi", "one class a text", "distillation.teacher=null",
     [*FILES, "data.columns.label=tags", "data.labels_mode=multi"]),
    ("distillation-text-pair", [*TEACHER, *FILES, "data.columns.text_pair=answer"],
     "data.columns.text_pair=answer", "asked about single texts", "distillation.teacher=null",
     [*FILES, "data.columns.text_pair=answer"]),
    ("distillation-texts", [*TEACHER, "distillation.texts=a.txt", "data.balance=resample"],
     "data.balance=resample", "counts rows by class", "data.balance=none",
     [*TEACHER, "distillation.texts=a.txt"]),
    ("distillation-text-pair", [*TEACHER, *FILES, "data.columns.text_pair=answer"],
     "data.columns.text_pair=answer", "asked about single texts", "distillation.teacher=null",
     [*FILES, "data.columns.text_pair=answer"]),
    ("distillation-texts", [*TEACHER, "distillation.texts=a.txt", "data.max_rows=9"],
     "data.max_rows=9", "chooses rows by class", "data.max_rows=null",
     [*TEACHER, "data.max_rows=9"]),
    ("lora-unused", ["training.lora.alpha=8"], "training.lora", "without a rank",
     "training.lora.rank=8", [DISTIL, "training.lora.alpha=8", "training.lora.rank=8"]),
    ("lora-from-scratch", ["training.lora.rank=8"], "training.lora.rank=8", "random weights",
     "training.lora.rank=null", [DISTIL, "training.lora.rank=8"]),
    ("lora-twice", [DISTIL, "training.lora.rank=8", "training.freeze_embeddings=true"],
     "training.freeze_embeddings=true", "word embeddings are not trained",
     "training.freeze_embeddings=false", [DISTIL, "training.lora.rank=8"]),
    ("lora-twice", [DISTIL, "training.lora.rank=8", "training.compact_vocabulary=true"],
     "training.compact_vocabulary=true", "has no effect with training.lora.rank=8",
     "training.compact_vocabulary=null", [DISTIL, "training.compact_vocabulary=true"]),
    ("lora-twice", [DISTIL, "training.lora.rank=8", "training.row_exchange=true", "cluster.processes=2"],
     "training.row_exchange=true", "has no effect with training.lora.rank=8",
     "training.row_exchange=null", [DISTIL, "training.lora.rank=8", "cluster.processes=2"]),
    ("lora-shard", [DISTIL, "cluster.processes=2", "training.lora.rank=8", "training.shard=true"],
     "training.shard=true", "does not work with training.lora.rank=8", "training.shard=false",
     [DISTIL, "training.lora.rank=8", "cluster.processes=2"]),
    ("lora-targets", [DISTIL, "training.lora.rank=8", "training.lora.targets=[query,value]"],
     "training.lora.targets=[query,value]", "no linear layer", "attention.q_lin",
     [DISTIL, "training.lora.rank=8", "training.lora.targets=[q_lin,ffn.lin1]"]),
    ("lora-rank", [DISTIL, "training.lora.rank=512"], "training.lora.rank=512", "half the hidden size",
     "training.lora.rank=8", [DISTIL, "training.lora.rank=384"]),
    ("lr-for-model", [DISTIL, "training.lora.rank=8"], "lr=3e-05", "by LoRA, learns at 9e-05 to 0.002",
     "lr=0.0003", [DISTIL, "training.lora.rank=8", "lr=3e-4"]),
    ("padding-free-multiple", ["batching.padding_free=true", "batching.pad_to_multiple_of=8"],
     "batching.pad_to_multiple_of=8", "no effect with batching.padding_free=true",
     "batching.pad_to_multiple_of=null", ["batching.padding_free=true"]),
    ("shard-compile", ["training.shard=true", "training.compile=true", "cluster.processes=2",
     "batching.mode=random"], "training.compile=true", "does not work with training.shard=true",
     "training.compile=false", ["training.shard=true", "cluster.processes=2"]),
    ("compiled-shapes", ["training.compile=true", "batching.padding_free=true"],
     "training.compile=true", "compile anew for nearly every batch", "batching.padding_free=false",
     ["training.compile=true"]),
    ("compiled-shapes", ["training.compile=true", "cluster.processes=2"], "training.compile=true",
     "batching.mode=window cuts updates into, for 2 parts each", "batching.mode=random",
     ["training.compile=true", "cluster.processes=2", "batching.mode=random"]),
    ("compiled-shapes", ["training.compile=true", "scaling=fixed_global", "scaling.global_batch=64",
     "batching.mode=global"], "training.compile=true", "for 2 parts each", "batching.mode=random",
     ["training.compile=true", "scaling=fixed_global", "scaling.global_batch=32"]),
    ("revision-without-model", ["model.revision=main"], "model.revision=main", "no effect", "null",
     [DISTIL, "model.revision=main"]),
    ("heads-do-not-divide", ["model.scratch.heads=3"], "model.scratch.heads=3", "does not split",
     "dim=63", ["model.scratch.heads=3", "model.scratch.dim=63"]),
    ("scratch-of-pretrained", [DISTIL, "model.scratch.dim=32"], "model.scratch",
     "brings its own architecture", "model=tiny", ["model=tiny", "model.scratch.dim=32"]),
    ("labels-too-few", [f"data.labels=[{A}]"], "data.labels", "a classifier needs two",
     "data.labels=", [LABELS]),
    ("labels-not-distinct", [f"data.labels=[{A}, {{name: a, values: [2]}}]"], "data.labels",
     "'a' 2 times", "data.labels=", [LABELS]),
    ("labels-not-distinct", [f"data.labels=[{A}, {{name: ' ', values: [2]}}]"], "data.labels",
     "without a name", "data.labels=", [LABELS]),
    ("label-values-overlap", [f"data.labels=[{A}, {{name: b, values: [1]}}]"], "data.labels",
     "maps the raw value '1' to 2 classes", "data.labels=", [LABELS]),
    ("languages-repeated", ["data.languages=[de,de,fr]"], "data.languages", "'de' 2 times",
     "'data.languages=[de,fr]'", ["data.languages=[de,fr]"]),
    ("default-language", ["data.languages=[de]", "data.default_language=fr"], "data.default_language=fr",
     "is not among data.languages=[de]", "data.default_language=de", ["data.default_language=de"]),
    ("language-map-unused", ["data.columns.language=null", "data.language_map={xx: de}"],
     "data.language_map", "has no effect", "data.language_map={}", ["data.language_map={}"]),
    ("out-of-range", ["data.language_alpha=2"], "data.language_alpha=2", "out of range", "0 (all alike)",
     ["data.language_alpha=0.5"]),
    ("out-of-range", ["data.on_error=skip", "data.max_rejected=5"], "data.max_rejected=5", "out of range",
     "0 to 1", ["data.on_error=skip", "data.max_rejected=0.5"]),
    ("rejected-limit-unused", ["data.max_rejected=0.2"], "data.max_rejected=0.2", "has no effect",
     "data.on_error=skip", ["data.on_error=skip", "data.max_rejected=0.2"]),
    ("carving-unused", ["data.validation_share=0.3"], "data.validation_share=0.3",
     "no effect: data=sample generates", "data.validation_share=0.1", []),
    ("carving-unused", ["data.split_seed=7"], "data.split_seed=7", "no effect: data=sample",
     "data.split_seed=42", [*FILES, "data.split_seed=7", "data.test_share=0.3"]),
    ("carving-unused", ["data=files", "data.train=a.csv", "data.test=b.csv", "data.test_share=0.2"],
     "data.test_share=0.2", "no effect: data.test is given", "data.test_share=0.1",
     ["data=files", "data.train=a.csv", "data.validation=b.csv", "data.test_share=0.2"]),
    ("pool-unused", ["data=files", "data.train=a.csv", "data.pool=true"], "data.pool=true",
     "no effect without data.path", "data.pool=false", [*FILES, "data.pool=true"]),
    ("skipped-unused", ["training.max_skipped=5"], "training.max_skipped=5", "no effect on CPUs",
     "training.max_skipped=20", [CLOUD, "training.max_skipped=5"]),
    ("skipped-unused", [CLOUD, "training.max_skipped=5", "training.precision=fp32"],
     "training.max_skipped=5", "no effect with training.precision=fp32", "training.max_skipped=20",
     [CLOUD, "training.max_skipped=5", "training.precision=fp16"]),
    ("one-language", ["data.language_alpha=0.5", "data.languages=[de]"], "data.language_alpha=0.5",
     "one language", "null", ["data.language_alpha=0.5", "data.languages=[de,en]"]),
    ("one-language", ["data.language_alpha=0.5", "data.train_languages=[de]"], "data.language_alpha=0.5",
     "one language", "null", ["data.language_alpha=0.5", "data.train_languages=[de,en]"]),
    ("shares-too-large", ["data.test_share=0.6", "data.validation_share=0.5"],
     "data.validation_share", "add up to 1.1", "0.1", ["data.test_share=0.6"]),
    ("split-missing", ["data=files", "data.train=a.csv", "data.validation_share=0"],
     "data.validation_share=0", "no validation split", "data.validation=FILE",
     ["data=files", "data.train=a.csv", "data.validation=b.csv", "data.validation_share=0"]),
    ("test-not-scored", ["data=files", "data.train=hf://datasets/o/n/a.csv", "data.test_share=0"],
     "data.test_share=0", "no test split", "data.test_share=0.1",
     ["data=files", "data.train=hf://datasets/o/n/a.csv", "data.test_share=0.1"]),
    ("files-for-sample", ["data.path=x.csv"], "data.path", "no effect", "data=files data.path=",
     ["data=files", "data.path=x.csv"]),
    ("sample-for-files", [*FILES, "data.sample.seed=1"], "data.sample", "no effect", "data=sample",
     ["data.sample.seed=1"]),
    ("data-files", ["data=files"], "data.path", "no file is named", "data.path=...",
     FILES),
    ("data-files", ["data=files", "data.path=a", "data.train=b"], "data.path=a", "both set",
     "data.path=null", ["data=files", "data.path=null", "data.train=b"]),
    ("data-files", ["data=files", "data.test=b"], "data.train", "no file is named", "train=",
     ["data=files", "data.test=b", "data.train=a"]),
    ("data-files", ["data.languages=[de,xx]"], "data.languages", "the sample has no 'xx'",
     "'data.languages=[de]'", ["data.languages=[de]"]),
    ("rows-unused", ["data.rows.train=5"], "data.rows", "no effect", "amazon_reviews_multi",
     ["data=amazon_reviews_multi", "data.rows.train=5"]),
    ("nodes-on-this-machine", ["cluster.nodes=2"], "cluster.nodes=2", "one machine",
     "processes=2", ["cluster.processes=2"]),
    ("processes-beside-gpus", ["cluster.gpus_per_node=1", "cluster.processes=2"],
     "cluster.processes=2", "no effect", "gpus_per_node=0", ["cluster.processes=2"]),
    ("image-on-this-machine", ["cluster.image.lane=pinned"], "cluster.image", "has no image",
     "cluster=", [CLOUD]),
    ("distribution-on-this-machine", ["cluster.distribution=smdistributed"],
     "cluster.distribution=smdistributed", "torchrun", "torch_distributed",
     ["cluster.distribution=torch_distributed"]),
    ("sagemaker-setting-on-this-machine", ["cluster.spot=true"], "cluster.spot=true", "no effect",
     "cluster=p4d_24xl", [CLOUD, "cluster.spot=true"]),
    ("service-arn", [CLOUD, "aws.model_group=reviews"], "aws.model_group=reviews", "is no such ARN",
     "aws.model_group=arn:", [CLOUD, f"aws.model_group='{GROUP_ARN}'"]),
    ("service-with-sdk", [CLOUD, f"aws.model_group='{GROUP_ARN}'", "aws.sdk=v2"], "aws.sdk=v2",
     "cannot ask for aws.model_group", "aws.sdk=boto3",
     [CLOUD, f"aws.model_group='{GROUP_ARN}'", "aws.sdk=v3"]),
    ("service-with-sdk", [CLOUD, *TOLD, "aws.sdk=v3"], "aws.sdk=v3", "cannot ask for aws.mlflow",
     "aws.sdk=boto3", [CLOUD, *TOLD]),
    ("mlflow-unused", [CLOUD, TOLD[0], "training.report_to=[wandb]"], f"aws.mlflow={MLFLOW_ARN}",
     "no tracker", "'training.report_to=[wandb,mlflow]'", [CLOUD, *TOLD]),
    ("mlflow-twice", [CLOUD, *TOLD, "cluster.environment.MLFLOW_TRACKING_URI=x"],
     "cluster.environment.MLFLOW_TRACKING_URI", "beside aws.mlflow", "aws.mlflow=null", [CLOUD, *TOLD]),
    ("queue-shares", [CLOUD, "aws.queue=q", "aws.queue_share=a", "aws.queue_quota_share=b"],
     "aws.queue_quota_share=b", "fair shares", "aws.queue_share=null",
     [CLOUD, "aws.queue=q", "aws.queue_quota_share=b"]),
    ("remote-code", ["model=pretrained", "model.name_or_path=me/own", "model.remote_code=main"],
     "model.remote_code=main", "is no commit", "40 hexadecimal digits",
     ["model=pretrained", "model.name_or_path=me/own", f"model.remote_code={'a1' * 20}"]),
    ("unfit-instance", ["cluster=sagemaker", "cluster.instance_type=ml.trn1.32xlarge"],
     "cluster.instance_type=ml.trn1.32xlarge", "Neuron SDK", "cluster.instance_type=ml.p4d.24xlarge",
     ["cluster=sagemaker", "cluster.instance_type=ml.p4d.24xlarge"]),
    ("nodes-without-gpus", ["cluster=c7i_xl", "cluster.nodes=2"], "cluster.nodes=2",
     "has no GPU", "cluster.nodes=1", ["cluster=c7i_xl"]),
    ("distribution-without-gpus", ["cluster=c7i_xl", "cluster.distribution=torch_distributed"],
     "cluster.distribution=torch_distributed", "runs one process", "cluster.distribution=none",
     ["cluster=c7i_xl", "cluster.distribution=none"]),
    ("instance-not-sold", [CLOUD], "cluster.instance_type=ml.p3.16xlarge", "EC2 has not listed p3",
     "cluster=g5_48xl", ["cluster=g5_48xl"]),
    ("instance-not-sold", ["cluster=sagemaker", "cluster.instance_type=ml.p3.2xlarge"],
     "cluster.instance_type=ml.p3.2xlarge", "EC2", "cluster.instance_type=ml.g5.2xlarge",
     ["cluster=sagemaker", "cluster.instance_type=ml.g5.2xlarge"]),
    ("instance-not-sold", [CLOUD, "cluster.distribution=smdistributed"],
     "cluster.instance_type=ml.p3.16xlarge", "EC2", "cluster=p4d_24xl",
     ["cluster=p4d_24xl", "cluster.distribution=smdistributed"]),
    ("unknown-instance", [CLOUD, "cluster.instance_type=ml.p3.16large"],
     "cluster.instance_type=ml.p3.16large", "did you mean ml.p3.16xlarge?", "ml.p3.16xlarge",
     [CLOUD, "cluster.instance_type=ml.p3.16xlarge"]),
    ("processes-on-sagemaker", [CLOUD, "cluster.processes=4"], "cluster.processes=4", "no effect",
     "=1", [CLOUD, "cluster.processes=1"]),
    ("processes-on-sagemaker", [CLOUD, "cluster.gpus_per_node=4"], "cluster.gpus_per_node=4", "has 8",
     "cluster.gpus_per_node=8", [CLOUD, "cluster.gpus_per_node=8"]),
    ("no-distribution", ["cluster=p3_2xl", "cluster.nodes=2", "cluster.distribution=none"],
     "cluster.distribution=none", "one process, but there are 2 GPUs", "torch_distributed",
     ["cluster=p3_2xl", "cluster.distribution=none"]),
    ("smdistributed-instance", ["cluster=g5_12xl", "cluster.distribution=smdistributed"],
     "cluster.distribution=smdistributed", "does not run on ml.g5.12xlarge", "torch_distributed",
     ["cluster=p4d_24xl", "cluster.distribution=smdistributed"]),
    ("smdistributed-ends-on-p3", [CLOUD, "cluster.distribution=smdistributed"],
     "cluster.distribution=smdistributed", "reached its end on p3", "torch_distributed",
     [CLOUD, "cluster.distribution=torch_distributed"]),
    ("image-versions-unpinned", [CLOUD, "cluster.image.pytorch=2.0.0"], "cluster.image",
     "no effect while the lane is auto", "lane=pinned", [CLOUD, *pinned("4.28.1", "2.0.0", "py310")]),
    ("unknown-image", [CLOUD, *pinned("9.9", "2.0.0", "py310")], "cluster.image",
     "no such image: 9.9, 2.0.0, py310", "4.28.1, 2.0.0, py310",
     [CLOUD, *pinned("4.28.1", "2.0.0", "py310")]),
    ("image-misfit", [CLOUD, *pinned("4.56.2", "2.8.0", "py312")], "cluster.image",
     "no kernels for the V100", "4.49.0", [CLOUD, *pinned("4.49.0", "2.5.1", "py311")]),
    ("image-misfit",
     [CLOUD, "cluster.distribution=smdistributed", *pinned("4.36.0", "2.1.0", "py310")],
     "cluster.image", "refuses p3", "4.28.1",
     [CLOUD, "cluster.distribution=smdistributed", *pinned("4.28.1", "2.0.0", "py310")]),
    ("image-misfit", ["cluster=p5_48xl", *pinned("4.26.0", "1.13.1", "py39")], "cluster.image",
     "CUDA 11.7 is too old for the H100", "5.3.0",
     ["cluster=p5_48xl", *pinned("5.3.0", "2.9.0", "py312")]),
    ("image-version-short", ["cluster=g5_12xl", *pinned("4.56.2", "2.8", "py312")],
     "cluster.image.pytorch=2.8", "written in full", "cluster.image.pytorch=2.8.0",
     ["cluster=g5_12xl", *pinned("4.56.2", "2.8.0", "py312")]),
    ("image-uri-and-versions",
     [CLOUD, *pinned("4.28.1", "2.0.0", "py310"), f"cluster.image.uri={OWN_IMAGE}"],
     f"cluster.image.uri={OWN_IMAGE}", "one of them decides", "cluster.image.uri=null",
     [CLOUD, *pinned("4.28.1", "2.0.0", "py310")]),
    ("bf16-unsupported", [CLOUD, "training.precision=bf16"], "training.precision=bf16",
     "V100 has no bf16", "fp16", [CLOUD, "training.precision=fp16"]),
    ("fp16-on-cpu", ["training.precision=fp16"], "training.precision=fp16", "needs a GPU", "fp32",
     ["training.precision=fp32"]),
    ("base-batch-missing", ["scaling=linear", "scaling.base_batch=null"], "scaling.base_batch",
     "needs the global batch", "scaling.base_batch=16", ["scaling=linear", "scaling.base_batch=16"]),
    ("base-batch-unused", ["scaling.base_batch=16"], "scaling.base_batch=16", "no effect",
     "scaling=linear", ["scaling=linear", "scaling.base_batch=16"]),
    ("global-batch-missing", ["scaling=fixed_global", "scaling.global_batch=null"],
     "scaling.global_batch", "needs the global batch", "128",
     ["scaling=fixed_global", "scaling.global_batch=128"]),
    ("global-batch-unused", ["scaling.global_batch=64"], "scaling.global_batch=64", "no effect",
     "fixed_global", ["scaling=fixed_global", "scaling.global_batch=64"]),
    ("accumulation-derived", ["scaling=fixed_global", "scaling.accumulation=2"],
     "scaling.accumulation=2", "is derived", "null", ["scaling=linear", "scaling.accumulation=2"]),
    ("batch-split", ["scaling=fixed_global", "scaling.global_batch=100"],
     "scaling.global_batch=100", "cannot be split evenly",
     "scaling.global_batch=96 or scaling.global_batch=128",
     ["scaling=fixed_global", "scaling.global_batch=96"]),
    ("eval-steps-missing", ["training.eval_strategy=steps"], "training.eval_steps",
     "needs the updates", "training.eval_steps=500",
     ["training.eval_strategy=steps", "training.eval_steps=500"]),
    ("patience-unused", ["training.patience=2", "training.eval_strategy=none"], "training.patience=2",
     "nothing is scored", "training.eval_strategy=epoch", ["training.patience=2"]),
    ("patience-unused", ["training.min_delta=0.1"], "training.min_delta=0.1",
     "has no effect without training.patience", "training.patience=3",
     ["training.min_delta=0.1", "training.patience=3"]),
    ("train-languages", ["data.languages=[de,en]", "data.train_languages=[en,fr]"],
     "data.train_languages=[en,fr]", "fr: not among data.languages=[de,en]",
     "'data.train_languages=[en]'", ["data.languages=[de,en]", "data.train_languages=[en]"]),
    ("train-languages", ["data.train_languages=[en,English]"], "data.train_languages=[en,en]",
     "names a language twice", "'data.train_languages=[en]'", ["data.train_languages=[en]"]),
    ("select-zero-shot", ["evaluation.select=unseen_macro_f1"], "evaluation.select=unseen_macro_f1",
     "data.train_languages is empty", "'data.train_languages=[en]'",
     ["evaluation.select=unseen_macro_f1", "data.train_languages=[en]"]),
    ("select-zero-shot",
     ["evaluation.select=seen_macro_f1", "data.languages=[de,en]", "data.train_languages=[en,de]"],
     "evaluation.select=seen_macro_f1", "all languages are trained on", "evaluation.select=macro_f1",
     ["data.languages=[de,en]", "data.train_languages=[en,de]"]),
    ("eval-steps-unused", ["training.eval_steps=5"], "training.eval_steps=5", "no effect",
     "eval_strategy=steps", ["training.eval_strategy=steps", "training.eval_steps=5"]),
    ("select-unused", ["training.eval_strategy=none", "evaluation.select=loss"],
     "evaluation.select=loss", "no effect", "epoch", ["evaluation.select=loss"]),
    ("warmup-twice", ["training.warmup_steps=5", "training.warmup_ratio=0.2"],
     "training.warmup_ratio=0.2", "has no effect", "training.warmup_steps=null",
     ["training.warmup_ratio=0.2"]),
    ("hub-setting-unused", ["hub.repo=x"], "hub.repo=x", "no effect", "hub=private",
     ["hub=private", "hub.repo=x"]),
    ("hub-setting-unused", ["hub.token_secret=x"], "hub.token_secret=x", "no effect",
     "hub=private", ["hub=private", "hub.token_secret=x"]),
    ("hub-setting-unused", ["hub.timeout=60"], "hub.timeout=60", "no effect with hub=none",
     "hub.timeout=3600", ["hub=private", "hub.timeout=60"]),
    ("hub-repo-form", ["hub=private", "hub.repo='my model/a/b'"], "hub.repo=my model/a/b",
     "not a valid repository name", "hub.repo=a/b", ["hub=private", "hub.repo=a/b"]),
    # --- on SageMaker
    ("needs-newer-torch",
     [CLOUD, "training.sparse_exchange=true", "cluster.image.lane=pinned",
      "cluster.image.transformers=4.28.1", "cluster.image.pytorch=2.0.0", "cluster.image.python=py310"],
     "training.sparse_exchange=true", "PyTorch 2.0.0", "a newer image",
     [CLOUD, "training.sparse_exchange=true"]),
    ("needs-newer-torch",
     [CLOUD, "training.row_exchange=true", "cluster.image.lane=pinned",
      "cluster.image.transformers=4.28.1", "cluster.image.pytorch=2.0.0", "cluster.image.python=py310"],
     "training.row_exchange=true", "PyTorch 2.0.0", "a newer image",
     [CLOUD, "training.row_exchange=true"]),
    ("detect-on-worker", ["data=amazon_reviews_multi", "data.columns.language=detect",
      "cluster=p3_16xl"], "data.columns.language=detect", "cannot detect languages", "data.prepared=FOLDER",
     ["data=amazon_reviews_multi", "cluster=p3_16xl"]),
    ("image-too-old", ["experiment=blog"], "cluster.image", "has Python 3.8", "4.28.1",
     ["experiment=blog", *pinned("4.28.1", "2.0.0", "py310")]),
    ("image-uri-unchecked", [CLOUD, "cluster.image.lane=pinned", f"cluster.image.uri={OWN_IMAGE}"],
     "cluster.image.uri", "is not checked", "Python 3.10", [CLOUD]),
    ("hub-setting-unused", ["hub.license=mit"], "hub.license=mit", "no effect", "hub=private",
     ["hub=private", "hub.license=mit"]),
    ("tracker-twice", ["training.report_to=[mlflow,wandb,mlflow]"],
     "training.report_to=[mlflow,wandb,mlflow]", "names a tracker twice",
     "training.report_to=[mlflow,wandb]", ["training.report_to=[mlflow,wandb]"]),
    ("hub-license-form", ["hub=private", "hub.license='Apache 2.0'"], "hub.license=Apache 2.0",
     "is not a licence", "hub.license=apache-2.0", ["hub=private", "hub.license=apache-2.0"]),
    ("hub-token-on-workers", [CLOUD, "hub=private"], "hub.token_secret", "finds no token",
     "hub.token_secret=NAME", [CLOUD, *PUBLISH]),
    ("token-unused",
     [CLOUD, "model=pretrained", "model.name_or_path=s3://theirs/mine", "hub.token_secret=t"],
     "hub.token_secret=t", "model and data are your own", "hub.token_secret=null",
     [CLOUD, "model=pretrained", "model.name_or_path=me/mine", "hub.token_secret=t"]),
    ("model-in-s3-on-this-machine", ["model=pretrained", "model.name_or_path=s3://b/mine"],
     "model.name_or_path=s3://b/mine", "cluster=local reads models from folders",
     "aws s3 cp --recursive s3://b/mine FOLDER",
     [CLOUD, "model=pretrained", "model.name_or_path=s3://b/mine"]),
    ("arn-form", [CLOUD, "aws.queue='arn:aws:sqs:us-east-1:111122223333:q'"],
     "aws.queue=arn:aws:sqs:us-east-1:111122223333:q", "is of sqs, not of batch", "job-queue/NAME",
     [CLOUD, "aws.queue='arn:aws:batch:us-east-1:111122223333:job-queue/q'"]),
    ("arn-form", [CLOUD, "aws.kms_key='arn:aws:kms:us-east-1'"], "aws.kms_key=arn:aws:kms:us-east-1",
     "is no ARN", "aws.kms_key=arn:aws:kms:us-east-1:111122223333:key/ID", [CLOUD, "aws.kms_key=1234abcd"]),
    ("arn-form", [CLOUD, "aws.role='arn:aws:iam::123:role/x'"], "aws.role=arn:aws:iam::123:role/x",
     "names no account", "arn:aws:iam::111122223333:role/SageMakerRole",
     [CLOUD, "aws.role='arn:aws:iam::111122223333:role/x'"]),
    ("other-partition", [CLOUD, "aws.region=cn-north-1", "aws.role='arn:aws:iam::111122223333:role/x'"],
     "aws.role=arn:aws:iam::111122223333:role/x", "partition aws, aws.region=cn-north-1 of aws-cn",
     "partition aws-cn",
     [CLOUD, "aws.region=cn-north-1", "aws.role='arn:aws-cn:iam::111122223333:role/x'"]),
    ("other-partition", [CLOUD, "aws.role='arn:aws-us-gov:iam::111122223333:role/x'",
                         "aws.kms_key='arn:aws:kms:us-east-1:111122223333:key/k'"],
     "aws.kms_key=arn:aws:kms:us-east-1:111122223333:key/k", "aws.role of aws-us-gov",
     "partition aws-us-gov",
     [CLOUD, "aws.role='arn:aws:iam::111122223333:role/x'",
      "aws.kms_key='arn:aws:kms:us-east-1:111122223333:key/k'"]),
    *[("other-region", [CLOUD, "aws.region=eu-west-1", *more, f"{key}='{value}'"], f"{key}={value}",
       "is in us-east-1, the job in eu-west-1", "aws.region=us-east-1",
       [CLOUD, "aws.region=us-east-1", *more, f"{key}='{value}'"])
      for key, value, more in [
          ("aws.kms_key", "arn:aws:kms:us-east-1:111122223333:key/k", []),
          ("aws.volume_kms_key", "arn:aws:kms:us-east-1:111122223333:alias/k", []),
          ("aws.queue", "arn:aws:batch:us-east-1:111122223333:job-queue/q", []),
          ("cluster.image.uri", OWN_IMAGE, ["cluster.image.lane=pinned"]),
          ("cluster.training_plan", "arn:aws:sagemaker:us-east-1:111122223333:training-plan/x", []),
      ]],
    ("other-region", [CLOUD, "aws.kms_key='arn:aws:kms:us-east-1:111122223333:key/k'",
                      "aws.queue='arn:aws:batch:eu-west-1:111122223333:job-queue/q'"],
     "aws.queue=arn:aws:batch:eu-west-1:111122223333:job-queue/q", "aws.kms_key in us-east-1",
     "one in us-east-1", [CLOUD, "aws.queue='arn:aws:batch:eu-west-1:111122223333:job-queue/q'"]),
    *[("image-uri-form", [CLOUD, "cluster.image.lane=pinned", f"cluster.image.uri='{uri}'"],
       f"cluster.image.uri={uri}", said, "dkr.ecr",
       [CLOUD, "cluster.image.lane=pinned", f"cluster.image.uri={OWN_IMAGE}"])
      for uri, said in [
          ("mine:1", "is no address of an image in ECR"),
          ("docker.io/me/mine:1", "is no address of an image in ECR"),
          (f"https://{OWN_IMAGE}", "is no address of an image in ECR"),
          ("111122223333.dkr.ecr.us-east-1.amazonaws.com", "is no address of an image in ECR"),
          ("public.ecr.aws/mine/image:1", "is no address of an image in ECR"),
          ("arn:aws:ecr:us-east-1:111122223333:repository/mine", "is no address of an image in ECR"),
          ("111122223333.dkr.ecr.cn-north-1.amazonaws.com/mine:1",
           "those of cn-north-1 end in amazonaws.com.cn"),
          ("111122223333.dkr.ecr.us-iso-east-1.amazonaws.com/mine:1", "end in c2s.ic.gov"),
          ("111122223333.dkr.ecr.us-east-1.amazonaws.com.cn/mine:1", "end in amazonaws.com"),
      ]],
    *[("arn-form", [CLOUD, *more, f"{key}='{value}'"], f"{key}={value}", said, fix, [CLOUD, *more, fixed])
      for key, value, said, fix, fixed, more in [
          ("aws.role", "SageMakerRole", "is no ARN", "aws iam get-role --role-name SageMakerRole",
           "aws.role='arn:aws:iam::111122223333:role/SageMakerRole'", []),
          ("aws.role", "arn:aws:iam::111122223333:user/me", "is no role", "arn:aws:iam::111122223333:role/",
           "aws.role='arn:aws-us-gov:iam::111122223333:role/service-role/x'", []),
          ("aws.role", "arn:aws:sts::111122223333:assumed-role/mine/me", "is of sts, not of iam",
           "aws.role=arn:aws:iam::111122223333:role/mine",
           "aws.role='arn:aws:iam::111122223333:role/mine'", []),
          ("aws.role", " arn:aws:iam::111122223333:role/x", "is no ARN",
           "'aws.role=\"arn:aws:iam::111122223333:role/x\"'",
           "aws.role='arn:aws:iam::111122223333:role/x'", []),
          ("aws.role", "arn:aws:iam:us-east-1:111122223333:role/x", "roles have none",
           "arn:aws:iam::111122223333:role/", "aws.role='arn:aws:iam::111122223333:role/x'", []),
          ("aws.role", "arn:aws:iam::111122223333:role/", "is no role", "role/SageMakerRole",
           "aws.role='arn:aws:iam::111122223333:role/x'", []),
          ("aws.kms_key", "arn:amazon:kms:us-east-1:111122223333:key/x", "is no ARN", "arn:aws:kms",
           "aws.kms_key='alias/mine'", []),
          ("aws.kms_key", "key/1234", "is neither a name nor an ARN", "1234", "aws.kms_key='1234'", []),
          ("aws.kms_key", "alias:mine", "is neither a name nor an ARN", "arn:aws-cn:kms:cn-north-1",
           "aws.kms_key='arn:aws-cn:kms:cn-north-1:111122223333:alias/mine'", ["aws.region=cn-north-1"]),
          ("aws.queue", "my queue", "is neither a name nor an ARN", "job-queue/NAME",
           "aws.queue=my_queue-1", []),
          ("aws.queue", "arn:aws:batch:us-east-1:111122223333:job-definition/q", "is no job queue",
           "job-queue/NAME", "aws.queue=q", []),
          ("aws.queue", "https://console.aws.amazon.com/batch/q", "is neither a name nor an ARN",
           "job-queue/NAME", "aws.queue=q", []),
          ("hub.token_secret", "my token", "is neither a name nor an ARN", "secret:NAME",
           "hub.token_secret=hub/my+token@me", ["hub=private"]),
          ("hub.token_secret", "arn:aws:ssm:us-east-1:111122223333:document/t", "is no secret",
           "secret:NAME",
           "hub.token_secret='arn:aws:ssm:us-east-1:111122223333:parameter/t'", ["hub=private"]),
          ("cluster.training_plan", "mine", "is no ARN", "training-plan/NAME",
           "cluster.training_plan='arn:aws:sagemaker:us-east-1:111122223333:training-plan/mine'", []),
      ]],
    *[("region-form", [CLOUD, f"aws.region='{region}'"], f"aws.region={region}", "is no region of AWS",
       f"aws.region={fix}", [CLOUD, f"aws.region={fix}"])
      for region, fix in [
          ("us-east-1a", "us-east-1"), ("US-EAST-1", "us-east-1"), ("eu_west 1", "eu-west-1"),
          ("useast1", "us-east-1"), ("Frankfurt", "us-east-1"), ("cn-north", "cn-north-1"),
      ]],
    ("region-unknown", [CLOUD, *ISOLATED[1:], "aws.region=us-east-9"], "aws.region=us-east-9",
     "none of the regions", "aws.region=us-east-", [CLOUD, *ISOLATED[1:], "aws.region=us-east-1"]),
    ("network-ids", [CLOUD, "aws.subnets=[sg-1,subnet-2]", "aws.security_groups=[subnet-1]"],
     "aws.subnets=[sg-1,subnet-2]", "sg-1: no subnets have such ids", "[subnet-0123456789abcdef0]",
     [CLOUD, "aws.subnets=[subnet-0123456789abcdef0]", "aws.security_groups=[sg-0123456789abcdef0]"]),
    ("tags-form", [CLOUD, "aws.tags.team='a,b?'"], "aws.tags.team", "its value holds , ?",
     "aws.tags.team=ab", [CLOUD, "aws.tags.team=ab", "aws.tags.place='Zürich + 1@home=/:.-_'"]),
    ("tags-form", [CLOUD, f"aws.tags.{'k' * 129}=v"], f"aws.tags.{'k' * 129}", "has 129 characters",
     "at most 128", [CLOUD, f"aws.tags.{'k' * 128}={'v' * 256}"]),
    ("tags-form", [CLOUD, f"aws.tags.k={'v' * 257}"], "aws.tags.k", "has 257 characters",
     "at most 256", [CLOUD, "aws.tags.k=''"]),
    ("tags-form", [CLOUD, *(f"aws.tags.k{n}=v" for n in range(48))], "aws.tags", "names 48 tags",
     "at most 47", [CLOUD, *(f"aws.tags.k{n}=v" for n in range(47))]),
    *[("bucket-name", [CLOUD, f"aws.bucket='{bucket}'"], f"aws.bucket={bucket}", "is no name of a bucket",
       fix, [CLOUD, *fix.split()])
      for bucket, fix in [
          ("arn:aws:s3:::mine/a/b", "aws.bucket=mine aws.prefix=a/b"),
          ("https://mine.s3.eu-west-1.amazonaws.com/a/", "aws.bucket=mine aws.prefix=a"),
          ("https://s3.eu-west-1.amazonaws.com/mine", "aws.bucket=mine"),
          ("https://eu-west-1.console.aws.amazon.com/s3/buckets/mine?region=x", "aws.bucket=mine"),
          ("192.168.0.1", "aws.bucket=my-bucket"),
          ("Mine", "aws.bucket=mine"),
          ("xn--mine", "aws.bucket=my-bucket"),
      ]],
    ("prefix-form", [CLOUD, "aws.prefix='s3://mine/a/b'"], "aws.prefix=s3://mine/a/b", "is an address",
     "aws.bucket=mine aws.prefix=a/b", [CLOUD, "aws.bucket=mine", "aws.prefix=a/b"]),
    ("hub-out-of-reach", [CLOUD, DISTIL, "aws.region=cn-northwest-1"], "model",
     "which the partition aws-cn does not reach", "s3://",
     [CLOUD, DISTIL, "aws.region=cn-northwest-1",
      "cluster.environment.HF_ENDPOINT='https://mirror.example'"]),
    ("hub-out-of-reach", [CLOUD, "hub=private", "hub.token_secret=t", "aws.region=cn-north-1"], "hub",
     "needs the hub", "hub=none", [CLOUD, "aws.region=cn-north-1"]),
    ("hub-from-govcloud", [CLOUD, DISTIL, "aws.region=us-gov-west-1"], "model",
     "GovCloud may not let the job out", "model=tiny", [CLOUD, "aws.region=us-gov-west-1"]),
    ("tags-reserved", [CLOUD, "aws.tags.team='aws:mine'"], "aws.tags.team=aws:mine",
     "begins with a reserved prefix", "aws.tags={team: mine}", [CLOUD, "aws.tags.team=mine"]),
    ("memory-exceeded", [CLOUD, DISTIL, "data.max_length=512", "per_device_bs=128"],
     "per_device_bs=128", "of the V100's 16 GiB",
     "per_device_bs=32 scaling.accumulation=4, or training.fit_memory=true",
     [CLOUD, DISTIL, "data.max_length=512", "per_device_bs=128", "training.fit_memory=true"]),
    ("memory-tight", [CLOUD, DISTIL, "data.max_length=512", "per_device_bs=70"],
     "per_device_bs=70", "of the V100's 16 GiB",
     "per_device_bs=35 scaling.accumulation=2, or training.fit_memory=true",
     [CLOUD, DISTIL, "data.max_length=512", "per_device_bs=35", "scaling.accumulation=2"]),
    ("fit-memory-refused", ["training.fit_memory=true", "training.compile=true"],
     "training.fit_memory=true", "does not go with training.compile=true", "training.fit_memory=false",
     ["training.fit_memory=true"]),
    ("fit-memory-refused", [CLOUD, "training.fit_memory=true", "training.shard=true"],
     "training.fit_memory=true", "does not go with training.shard=true", "training.shard=false",
     [CLOUD, "training.shard=true"]),
    ("spot-without-checkpoints", [CLOUD, "cluster.spot=true", "cluster.checkpoints=false"],
     "cluster.checkpoints=false", "no checkpoint", "cluster.checkpoints=true",
     [CLOUD, "cluster.spot=true"]),
    ("max-wait-too-short", [CLOUD, "cluster.spot=true", "cluster.max_wait=600"],
     "cluster.max_wait=600", "shorter than cluster.max_run=14400", "cluster.max_wait=28800",
     [CLOUD, "cluster.spot=true", "cluster.max_wait=28800"]),
    ("max-wait-without-spot", [CLOUD, "cluster.max_wait=28800"], "cluster.max_wait=28800",
     "no effect without spot", "cluster.spot=true",
     [CLOUD, "cluster.max_wait=28800", "cluster.spot=true"]),
    ("warm-pool-with-spot", [CLOUD, "cluster.spot=true", "cluster.keep_alive=600"],
     "cluster.keep_alive=600", "does not go with spot", "cluster.keep_alive=null",
     [CLOUD, "cluster.keep_alive=600"]),
    ("training-plan-with-spot",
     [CLOUD, "cluster.spot=true",
      PLAN],
     "cluster.training_plan", "reserved capacity", "cluster.spot=false",
     [CLOUD, PLAN]),
    ("fallback-with-spot", [*LISTED, "cluster.spot=true"], "cluster.spot=true", "does not go with",
     "cluster.fallback_by=lingotune",
     [*LISTED, "cluster.spot=true", "cluster.fallback_by=lingotune"]),
    ("fallback-with-ultra-server", [*LISTED, "cluster.ultra_server=us-1"],
     "cluster.ultra_server=us-1", "may be others", "cluster.ultra_server=null", LISTED),
    ("fallback-with-v2", [*LISTED[:2], "aws.sdk=v2"], "aws.sdk=v2", "cannot ask for cluster.fallback",
     "aws.sdk=boto3", LISTED),
    ("fallback-with-v2", [CLOUD, "cluster.max_pending=1800", "aws.sdk=v2"], "aws.sdk=v2",
     "cannot ask for cluster.max_pending", "aws.sdk=boto3",
     [CLOUD, "cluster.max_pending=1800", "aws.sdk=boto3"]),
    ("fallback-with-warm-pool", [*LISTED, "cluster.keep_alive=600"], "cluster.keep_alive=600",
     "may ask for another", "cluster.keep_alive=null", LISTED),
    ("fallback-in-queue", [*LISTED, "aws.queue=mine"], "aws.queue=mine", "may refuse",
     "aws.queue=null", LISTED),
    ("fallback-by-queue", [*LISTED, "aws.queue=mine", "cluster.fallback_by=lingotune"],
     "cluster.fallback_by=lingotune", "starts jobs later", "aws.queue=null",
     [*LISTED, "cluster.fallback_by=lingotune"]),
    ("fallback-one-price", [*LISTED, "budget.usd_per_hour=3"], "budget.usd_per_hour=3",
     "is one price", "budget.prices=", LISTED),
    ("fallback-by-unused", [CLOUD, "cluster.fallback_by=lingotune"],
     "cluster.fallback_by=lingotune", "no effect", "cluster.fallback=[", LISTED),
    ("fallback-too-long",
     [CLOUD, "cluster.fallback=[g5_48xl,p4d_24xl,p5_48xl,p3dn_24xl,p4de_24xl]"],
     "cluster.fallback=[g5_48xl,p4d_24xl,p5_48xl,p3dn_24xl,p4de_24xl]", "names 5 machines",
     "[g5_48xl,p4d_24xl,p5_48xl,p3dn_24xl]'", LISTED),
    ("fallback-twice", [CLOUD, "cluster.fallback=[p3_16xl,g5_48xl]"],
     "cluster.fallback=[p3_16xl,g5_48xl]", "ml.p3.16xlarge is there twice",
     "cluster.fallback=[g5_48xl]", LISTED),
    ("no-image", ["cluster=p3_16xl", "cluster.fallback=[g5_48xl,ml.p6-b200.48xlarge]"],
     "cluster.fallback=[g5_48xl,ml.p6-b200.48xlarge]", "no image runs on ml.p6-b200.48xlarge",
     "cluster.fallback=[g5_48xl]", LISTED),
    ("rehearsal-full", [*LISTED, "rehearsal.full=[ml.p3.16xlarge,ml.g5.48xlarge]"],
     "rehearsal.full=[ml.p3.16xlarge,ml.g5.48xlarge]", "leaves the job no machine",
     "rehearsal.full=[ml.p3.16xlarge]", [*LISTED, "rehearsal.full=[ml.p3.16xlarge]"]),
    ("volume-on-nvme", ["cluster=p4d_24xl", "cluster.volume_gb=100"], "cluster.volume_gb=100",
     "has 8000 GB of its own", "cluster.volume_gb=null", [CLOUD, "cluster.volume_gb=100"]),
    ("volume-key-on-nvme", ["cluster=p4d_24xl", "aws.volume_kms_key=abc"], "aws.volume_kms_key",
     "no volume", "aws.volume_kms_key=null", [CLOUD, "aws.volume_kms_key=abc"]),
    ("ultra-server-capacity", [CLOUD, "cluster.ultra_server=us-1"], "cluster.ultra_server",
     "not known", "null", [CLOUD]),
    ("input-mode-unused", [CLOUD, "cluster.input_mode=FastFile"], "cluster.input_mode=FastFile",
     "has no data channel", "data=files", [CLOUD, "cluster.input_mode=FastFile", *FILES]),
    ("encryption-on-one-node", [CLOUD, "aws.encrypt_traffic=true"], "aws.encrypt_traffic=true",
     "no effect on one node", "false", [CLOUD, "aws.encrypt_traffic=true", "cluster.nodes=2"]),
    ("isolation-of-several-nodes", [CLOUD, "cluster.nodes=2", *ISOLATED],
     "aws.network_isolation=true", "reach another one", "cluster.nodes=1", [CLOUD, *ISOLATED]),
    ("vpc-incomplete", [CLOUD, "aws.subnets=[subnet-1]"], "aws.security_groups",
     "is needed with aws.subnets", "aws.security_groups=[sg-",
     [CLOUD, "aws.subnets=[subnet-1]", "aws.security_groups=[sg-1]"]),
    ("vpc-incomplete", [CLOUD, "aws.security_groups=[sg-1]"], "aws.subnets",
     "is needed with aws.security_groups", "aws.subnets=[subnet-", [CLOUD]),
    ("isolation-needs-own-image", [CLOUD, "aws.network_isolation=true"],
     "aws.network_isolation=true", "from installing omegaconf", "cluster.image.uri=",
     [CLOUD, *ISOLATED]),
    ("isolation-with-hub", [CLOUD, *ISOLATED, DISTIL], "model", "needs the hub", "model=tiny",
     [CLOUD, *ISOLATED]),
    ("isolation-with-hub", [CLOUD, *ISOLATED, *PUBLISH], "hub", "needs the hub", "hub=none",
     [CLOUD, *ISOLATED]),
    ("isolation-with-hub", [CLOUD, *ISOLATED, "data=amazon_reviews_multi"], "data",
     "needs the hub", "data=files", [CLOUD, *ISOLATED, *FILES]),
    ("region-without-images", [CLOUD, "aws.region=us-eats-1"], "aws.region=us-eats-1",
     "did you mean us-east-1?", "us-east-1", [CLOUD, "aws.region=us-east-1"]),
    ("environment-reserved", [CLOUD, "cluster.environment.SM_MODEL_DIR=x"],
     "cluster.environment.SM_MODEL_DIR", "set by the launcher", "another name",
     [CLOUD, "cluster.environment.MODEL_DIR=x"]),
    ("environment-reserved", [CLOUD, "cluster.environment.LINGOTUNE_JOB_SHA256=x"],
     "cluster.environment.LINGOTUNE_JOB_SHA256", "set by the launcher", "another name",
     [CLOUD, "cluster.environment.JOB_SHA256=x"]),
    ("environment-secret", [CLOUD, "cluster.environment.WANDB_API_KEY=abc"],
     "cluster.environment.WANDB_API_KEY", "looks like a secret", "a name or ARN",
     [CLOUD, "cluster.environment.WANDB_API_KEY_ID=abc"]),
    ("secret-in-config", [CLOUD, "aws.tags.a=hf_abcdefghijklmnopqrstuvwx"],
     "aws.tags.a", "looks like an access token", "HF_TOKEN", [CLOUD, "aws.tags.a=b"]),
    ("tags-reserved", [CLOUD, "aws.tags={lingotune\\:x: y}"],
     "aws.tags.lingotune:x", "reserved prefix", "another name", [CLOUD, "aws.tags.x=y"]),
    ("queue-setting-unused", [CLOUD, "aws.queue_priority=5"], "aws.queue_priority=5",
     "without a queue", "aws.queue=...", [CLOUD, "aws.queue_priority=5", "aws.queue=q"]),
    ("queue-priority", [CLOUD, "aws.queue_priority=10000", "aws.queue=q"],
     "aws.queue_priority=10000", "out of range", "0 to 9999",
     [CLOUD, "aws.queue_priority=9999", "aws.queue=q"]),
    ("secret-in-config", [CLOUD, "job_file=hf_abcdefghijklmnopqrstuvwx"], "job_file",
     "looks like an access token", "HF_TOKEN", [CLOUD, "job_file=job.yaml"]),
    ("efa-security-group",
     ["cluster=p4d_24xl", "cluster.nodes=2", "aws.subnets=[s-1]", "aws.security_groups=[sg-1]"],
     "aws.security_groups", "must let all traffic of its own members", "the group itself",
     ["cluster=p4d_24xl", "aws.subnets=[s-1]", "aws.security_groups=[sg-1]"]),
    ("bucket-name", [CLOUD, "aws.bucket=s3://My_Bucket/runs/"], "aws.bucket=s3://My_Bucket/runs/",
     "no name of a bucket", "aws.bucket=my-bucket aws.prefix=runs",
     [CLOUD, "aws.bucket=my-bucket", "aws.prefix=runs"]),
    ("bucket-name", [CLOUD, "aws.bucket=ab"], "aws.bucket=ab", "no name of a bucket",
     "aws.bucket=my-bucket", [CLOUD, "aws.bucket=abc"]),
    ("names-missing", [CLOUD, "output=request", "aws.bucket=abc"], "aws.role, aws.region",
     "the request holds <...>", "aws.role=... aws.region=...",
     [CLOUD, "output=request", "aws.bucket=abc", "aws.role=r", "aws.region=us-east-1"]),
    ("queue-starts-with-boto3", [CLOUD, "aws.queue=q", "aws.sdk=v3"], "aws.sdk=v3",
     "no effect with aws.queue", "aws.sdk=boto3", [CLOUD, "aws.queue=q", "aws.sdk=boto3"]),
    ("sdk-v2-ends", [CLOUD, "aws.sdk=v2"], "aws.sdk=v2", "from 2027-07-05 on", "aws.sdk=boto3", [CLOUD]),
    ("profiler-without-v3", [CLOUD, "aws.sdk=v3", "cluster.profiler=true"],
     "cluster.profiler=true", "cannot be asked for", "aws.sdk=boto3", [CLOUD, "cluster.profiler=true"]),
    # --- the training
    ("schedule-shape-unused", ["training.schedule_power=3"], "training.schedule_power=3",
     "no effect with training.schedule=linear", "training.schedule=polynomial",
     ["training.schedule_power=3", "training.schedule=polynomial"]),
    ("schedule-shape-unused", ["training.schedule_cycles=4", "training.schedule=cosine"],
     "training.schedule_cycles=4", "no effect", "training.schedule=cosine_with_restarts",
     ["training.schedule_cycles=4", "training.schedule=cosine_with_restarts"]),
    ("adafactor-compact", ["training.optimizer=adafactor", "training.compact_vocabulary=true"],
     "training.compact_vocabulary=true", "would change the result", "training.compact_vocabulary=null",
     ["training.optimizer=adafactor"]),
    ("optimizer-shard", [*SHARDED, "training.optimizer=adafactor"], "training.optimizer=adafactor",
     "training.shard=true", "training.optimizer=adamw", SHARDED),
    ("lion-library", ["training.optimizer=lion"], "training.optimizer=lion", "not computed on CPUs",
     "training.optimizer=adamw", ["training.optimizer=adamw"]),
    ("lion-library", ["cluster=g5_12xl", "training.optimizer=lion"], "training.optimizer=lion",
     "the listed images do not have", "cluster.image.uri=",
     ["cluster=g5_12xl", "training.optimizer=adamw"]),
    ("freeze-layers", ["training.freeze_layers=2"], "training.freeze_layers=2", "the model has 2 layers",
     "training.freeze_layers=1", ["training.freeze_layers=1"]),
    ("freeze-layers", ["model=xlmr_base", "training.freeze_layers=6", "training.lora.rank=8"],
     "training.freeze_layers=6", "all layers are frozen", "training.freeze_layers=0",
     ["model=xlmr_base", "training.lora.rank=8"]),
    ("checkpointing-alone", ["training.gradient_checkpointing=true", "batching.padding_free=true"],
     "training.gradient_checkpointing=true", "does not know the texts", "batching.padding_free=false",
     ["training.gradient_checkpointing=true"]),
    ("checkpointing-alone", ["training.gradient_checkpointing=true", "training.compile=true"],
     "training.gradient_checkpointing=true", "was not tried", "training.compile=false",
     ["training.gradient_checkpointing=true"]),
    ("head-dropout-unknown", ["model=eurobert_210m", "model.head_dropout=0.3"],
     "model.head_dropout=0.3", "architecture eurobert", "model.head_dropout=null",
     ["model=xlmr_base", "model.head_dropout=0.3"]),
    ("hours-beyond-max-run", [CLOUD, "training.max_hours=5"], "training.max_hours=5",
     "cluster.max_run=14400", "cluster.max_run=21600",
     [CLOUD, "training.max_hours=5", "cluster.max_run=21600"]),
    # --- the rehearsal
    ("rehearsal-out-of-range", [CLOUD, "action=rehearse", "rehearsal.ranks=0"],
     "rehearsal.ranks=0", "out of range", "from 1 to 64", [CLOUD, "action=rehearse"]),
    ("rehearsal-out-of-range", [CLOUD, "action=rehearse", "rehearsal.steps=1"],
     "rehearsal.steps=1", "out of range", "from 2", [CLOUD, "action=rehearse"]),
    ("rehearsal-endless", [CLOUD, "action=rehearse", "rehearsal.steps=null"],
     "rehearsal.steps=null", "is for cluster.backend=loopback", "rehearsal.steps=6",
     [CLOUD, "action=rehearse"]),
    ("rehearsal-unused", [CLOUD, "rehearsal.model=tiny"], "rehearsal.model=tiny",
     "no effect with action=plan", "action=rehearse",
     [CLOUD, "action=rehearse", "rehearsal.model=tiny"]),
    ("rehearsal-shard-alone", [*SHARDED, "cluster.nodes=1", "action=rehearse", "rehearsal.ranks=1"],
     "rehearsal.ranks=1", "nothing to shard", "rehearsal.ranks=2", [*SHARDED, "action=rehearse"]),
    ("rehearsal-lane-unknown", [CLOUD, "action=rehearse", "rehearsal.lane=image",
                                "cluster.image.lane=pinned", f"cluster.image.uri={OWN_IMAGE}"],
     "rehearsal.lane=image", "not known here", "rehearsal.lane=here",
     [CLOUD, "action=rehearse", "rehearsal.lane=image"]),
    ("loopback-unused", [CLOUD, LOOPBACK], LOOPBACK, "no effect with action=plan",
     "action=submit", [CLOUD, LOOPBACK, "action=submit"]),
    ("loopback-asked", [CLOUD, LOOPBACK, "action=check"], LOOPBACK, "asks your AWS account",
     "action=submit", [CLOUD, LOOPBACK, "action=submit"]),
    ("loopback-queue", [CLOUD, LOOPBACK, "action=submit", "aws.queue=q"], "aws.queue=q",
     "has no queue", "aws.queue=null", [CLOUD, LOOPBACK, "action=submit"]),
]  # fmt: skip


def found(overrides: list[str]) -> list[Problem]:
    return list(found_once(*overrides))


@cache
def found_once(*overrides: str) -> tuple[Problem, ...]:
    config = compose(*overrides)
    problems = [*check_job(job_of(config)), *check_secrets(config), *REHEARSAL.run(config)]
    problems += UNUSED.run(config)
    if config.cluster.instance_type is not None and not errors_only(problems):
        problems += SAGEMAKER.run(config)
    return tuple(dict.fromkeys(problems))


@pytest.mark.parametrize("trip", TRIPS, ids=lambda t: f"{t[0]} {' '.join(t[1])}"[:70])
def test_a_check_trips_and_is_mended(trip: Trip) -> None:
    check, overrides, where, what, fix, mended = trip
    problems = [p for p in found(overrides) if p.check == check]
    told = [p for p in problems if p.where == where and what in p.what]
    assert len(told) == 1, found(overrides)
    assert fix in told[0].fix and told[0].why
    assert [p for p in found(mended) if p.check == check] == []


@pytest.mark.parametrize("service", ["secretsmanager:eu-west-1:111122223333:secret:t-AbCdEf",
                                     "ssm:eu-west-1:111122223333:parameter/t"])  # fmt: skip
def test_a_token_may_lie_in_another_region(service: str) -> None:
    """It is read in the region of its ARN, whatever the job's."""
    there = ["aws.region=us-east-1", "hub=private", f"hub.token_secret='arn:aws:{service}'"]
    assert errors_only(found([CLOUD, *there])) == []
    other = [CLOUD, *there[1:], "aws.region=cn-north-1"]
    assert "other-partition" in {p.check for p in found(other) if p.key == "hub.token_secret"}


def test_no_image_is_told_where_none_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With today's images every instance has one; the check is for the day when one has not."""
    assert "no-image" not in {p.check for p in found([CLOUD])}
    monkeypatch.setattr("lingotune.catalog.hardware.images", tuple)
    (problem,) = [p for p in found([CLOUD, "seed=7"]) if p.check == "no-image"]
    assert problem.where == "cluster.distribution=torch_distributed"
    assert "no image runs it on ml.p3.16xlarge" in problem.what


def test_sound_jobs_are_not_bothered() -> None:
    assert found(["cluster=local"]) == []
    jobs = on_clusters().items()
    told = {o: [p.check for p in [*check_job(job_of(c)), *SAGEMAKER.run(c)]] for o, c in jobs}
    assert {o: checks for o, checks in told.items() if checks} == {
        option: ["instance-not-sold"] for option in ("p3_2xl", "p3_16xl")
    }


def test_settings_of_a_training_job_are_those_that_the_schema_marks() -> None:
    """A new one is to be marked, or this machine ignores it silently."""
    marked = {f.name for f in fields(ClusterConfig) if f.metadata.get("where") == "sagemaker"}
    assert marked == {
        "max_run", "spot", "max_wait", "keep_alive", "retries", "volume_gb", "input_mode",
        "checkpoints", "tensorboard", "compress_output", "environment", "training_plan",
        "ultra_server", "remote_debug", "profiler", "fallback", "fallback_by", "max_pending",
    }  # fmt: skip


def test_what_is_offered_mends_the_articles_submit() -> None:
    overrides = ["experiment=blog"]
    errors = errors_only(found(overrides))
    assert [p.check for p in errors] == ["image-too-old", "hub-token-on-workers"]
    mended = found([*overrides, *errors[0].fix.split(), "hub.token_secret=hf"])
    assert [p.check for p in mended] == ["smdistributed-ends-on-p3", "instance-not-sold"]


# --- once the rows are counted ------------------------------------------------------------------

STEP_TRIPS = [
    ("warmup-longer-than-training", ["training.warmup_steps=500"], 100, "as long as the whole",
     "training.warmup_steps=", ["training.warmup_steps=1"]),
    ("patience-too-long", ["training.patience=5"], 100, "a training of 5 evaluations",
     "training.patience=2", ["training.patience=2"]),
    ("patience-too-long", ["training.patience=5", "epochs=1"], 100, "a training of 1 evaluation",
     "training.patience=null", ["training.patience=null"]),
    ("no-evaluation", ["training.eval_strategy=steps", "training.eval_steps=500"], 100,
     "comes after the end", "training.eval_steps=4", ["training.eval_strategy=steps",
                                                      "training.eval_steps=4"]),
    ("no-checkpoint", ["training.eval_strategy=none", "training.save_steps=500"], 100,
     "comes after the end", "training.save_steps=4", ["training.eval_strategy=none",
                                                      "training.save_steps=4"]),
    ("batch-larger-than-data", ["per_device_bs=200"], 100, "larger than the training split",
     "per_device_bs=", ["per_device_bs=100"]),
    ("no-log-line", ["training.logging_steps=50"], 100, "comes after the end",
     "training.logging_steps=2", ["training.logging_steps=2"]),
]  # fmt: skip


@pytest.mark.parametrize("trip", STEP_TRIPS, ids=lambda t: t[0])
def test_a_check_of_steps_trips_and_is_mended(trip: Any) -> None:
    check, overrides, rows, what, fix, mended = trip

    def told(typed: list[str]) -> list[Problem]:
        job = job_of(compose(*typed))
        batch = plan_batches(job)
        counted = JobWithSteps(job, batch, plan_steps(job, batch, rows))
        return [p for p in STEPS.run(counted) if p.check == check]

    (problem,) = told(overrides)
    assert what in problem.what and fix in problem.fix
    assert told(mended) == []


# --- the request ----------------------------------------------------------------------------------


def request_of(*overrides: str) -> dict[str, Any]:
    config = compose(*overrides)
    job = job_of(config)
    return to_request(describe(job, config.aws, Digests(job_digest(job), "c0de" * 16)))


FIELD_TRIPS = [
    (["aws.role=SageMakerRole"], "aws.role", "does not match"),
    (["aws.tags={a: 'x,y'}"], "aws.tags", "does not match"),
    ([f"aws.tags.a={'x' * 257}"], "aws.tags", "at most 256"),
    (["aws.tags={" + ",".join(f"k{n}: v" for n in range(48)) + "}"], "aws.tags", "51 entries"),
    ([f"cluster.environment.A={'x' * 513}"], "cluster.environment", "at most 512"),
    (["cluster.environment={1A: x}"], "cluster.environment", "does not match"),
    (["aws.subnets=[subnet 1]", "aws.security_groups=[sg-1]"], "aws.subnets", "does not match"),
    (["aws.security_groups=[a,b,c,d,e,f]", "aws.subnets=[s]"], "aws.security_groups", "at most 5"),
    (["cluster.training_plan=plan"], "cluster.training_plan", "does not match"),
    (["cluster.retries=31"], "cluster.retries", "31: at most 30"),
    (["cluster.keep_alive=21601"], "cluster.keep_alive", "21601: at most 21600"),
    (["aws.kms_key=" + "k" * 2049], "aws.kms_key", "at most 2048"),
    (["cluster.image.lane=pinned", f"cluster.image.uri={'x' * 300}"], "cluster.image.uri",
     "at most 255"),
]  # fmt: skip


@pytest.mark.parametrize("trip", FIELD_TRIPS, ids=lambda t: f"{t[1]} {t[2]}")
def test_a_field_that_sagemaker_refuses_is_told_by_its_setting(
    trip: tuple[list[str], str, str],
) -> None:
    overrides, where, what = trip
    problems = REQUEST.run(request_of(CLOUD, *overrides))
    assert problems and {p.check for p in problems} == {"request-field"}
    assert any(p.where == where and what in p.what for p in problems), problems
    assert REQUEST.run(request_of(CLOUD)) == [], "names still to be given are no mistakes"


def test_every_setting_named_beside_a_field_exists() -> None:
    from lingotune.config.settings import setting_types

    assert set(SETTINGS.values()) <= set(setting_types())


# --- the code -------------------------------------------------------------------------------------


def with_file(name: str, content: bytes) -> Bundle:
    bundle = build_bundle()
    return replace(bundle, files={**bundle.files, name: content})


CODE_TRIPS = {
    "data-in-code": with_file("lingotune/data/reviews.jsonl", b"{}"),
    "secret-in-code": with_file("lingotune/mine.py", b'TOKEN = "hf_abcdefghijklmnopqrstuvwx"'),
    "requirements-missing": with_file("requirements.txt", b"safetensors\n"),
    "code-too-large": replace(build_bundle(), tar=random.Random(0).randbytes(10_000_001)),
}


@pytest.mark.parametrize("check", CODE_TRIPS)
def test_a_check_of_the_code_trips(check: str) -> None:
    (problem,) = CODE.run(CODE_TRIPS[check])
    assert problem.check == check and problem.severity is Severity.error and problem.fix


def test_a_large_file_and_a_replaced_torch_are_told() -> None:
    (large,) = CODE.run(with_file("lingotune/big.py", b"#" * 1_000_001))
    assert large.check == "data-in-code" and large.where == "lingotune/big.py"
    (torch,) = CODE.run(with_file("requirements.txt", b"omegaconf>=2.3\ntorch==2.0\n"))
    assert "replaces torch" in torch.what


def test_our_own_code_passes() -> None:
    assert CODE.run(build_bundle()) == []


# --- prepared data --------------------------------------------------------------------------------


def test_data_that_the_image_cannot_read_is_refused() -> None:
    cluster = compose(CLOUD).cluster
    readers = {"pyarrow": "99.0.0", "unknown": "1.0"}
    manifest = from_json(Manifest, {**manifest_of([]), "readers": readers})
    (problem,) = PREPARED.run(DataForImage(manifest, cluster))
    assert problem.check == "prepared-too-new"
    assert "needs pyarrow 99.0.0; the image of transformers" in problem.what
    assert PREPARED.run(DataForImage(replace(manifest, readers=READERS), cluster)) == []


@pytest.mark.parametrize("image", [i for i in images() if lane_pins(i)], ids=str)
def test_every_image_reads_what_is_written(image: Image) -> None:
    pins = lane_pins(image)
    assert all(version(pins[name]) >= version(oldest) for name, oldest in READERS.items())


# --- all of them ----------------------------------------------------------------------------------


OWN_CODE_TRIPS: list[tuple[str, dict[str, Any], str, str]] = [
    ("own-code-names", {"metrics": ["a b"]}, "'a b' cannot be the name", "code.metrics=[my_metric]"),
    ("own-code-names", {"builder": "x-y"}, "'x-y' cannot be the name", "code.builder=my_builder"),
    ("own-code-twice", {"metrics": ["f", "g", "f"]}, "names one twice", "code.metrics=[f,g]"),
    ("own-metric-taken", {"metrics": ["loss"]}, "a name that logs have", "code.metrics=[my_loss]"),
    ("own-code-unused", {"file": "my.py"}, "has no effect", "code.metrics=[...]"),
    ("own-code-unused", {"requirements": ["nltk==3.9"]}, "no effect", "code.requirements=[]"),
    ("own-select-unknown", {"metrics": ["f"], "select": "g"}, "is none of", "code.metrics=[f,g]"),
    ("own-requirements", {"metrics": ["f"], "requirements": ["torch==2.0", "nltk==3.9"]},
     "would replace what the image brings", "nltk==3.9"),
    ("own-requirements", {"metrics": ["f"], "requirements": ["-r x.txt"]}, "no requirement", "=="),
]  # fmt: skip


@pytest.mark.parametrize(("check", "code", "what", "fix"), OWN_CODE_TRIPS)
def test_a_check_of_own_code_trips(check: str, code: dict[str, Any], what: str, fix: str) -> None:
    job = replace(job_of(compose()), code=CodeConfig(**code))
    (problem,) = (p for p in check_job(job) if p.check == check)
    assert what in problem.what and fix in problem.fix
    assert problem.severity is Severity.error


@pytest.mark.parametrize(
    ("check", "overrides", "mended"),
    [
        ("own-select-unused", ["training.eval_strategy=none"], ["training.eval_strategy=epoch"]),
        ("own-select-unused", ["evaluation.select=loss"], []),
        ("own-code-not-published", ["hub=private", "hub.repo=me/model"], ["hub=none"]),
        ("soft-builder", ["data.labels_mode=soft"], ["data.labels_mode=single"]),
    ],
)
def test_own_code_beside_other_settings(
    check: str, overrides: list[str], mended: list[str]
) -> None:
    code = CodeConfig(file="my.py", metrics=["f"], select="f", builder="b")
    found = check_job(replace(job_of(compose(*overrides)), code=code))
    assert [p.check for p in found].count(check) == 1
    assert check not in [p.check for p in check_job(replace(job_of(compose(*mended)), code=code))]


def test_a_builders_model_has_no_adapters_of_ours() -> None:
    lora = job_of(compose(DISTIL, "training.lora.rank=8"))
    own = replace(lora, code=CodeConfig(file="my.py", builder="b"))
    (problem,) = (p for p in check_job(own) if p.check == "lora-builder")
    assert "code.builder=b" in problem.what and problem.fix == "training.lora.rank=null"
    assert "lora-builder" not in [p.check for p in check_job(lora)]


def test_every_check_has_a_test_that_trips_it() -> None:
    tables: list[Any] = [*TABLES, SAGEMAKER, REHEARSAL, UNUSED, STEPS, REQUEST, CODE, PREPARED]
    checks = [check for table in tables for check in table.checks]
    assert len(checks) == len(set(checks)) >= 40
    for page in ("README.md", "docs/sagemaker.md"):
        (said,) = re.findall(r"More than (\d+) checks", (ROOT / page).read_text())
        assert int(said) < len(checks) < int(said) + 100, page
    tripped = {t[0] for t in TRIPS} | {t[0] for t in STEP_TRIPS} | set(CODE_TRIPS)
    tripped |= {t[0] for t in OWN_CODE_TRIPS} | {"own-select-unused", "own-code-not-published"}
    tripped.add("soft-builder")
    own = {"lora-builder", "request-field", "prepared-too-new", "model-needs-code"}
    own |= set(ARCHITECTURES.checks)
    assert set(checks) - tripped == own, "these have tests of their own"


def test_what_is_offered_is_a_setting_that_exists() -> None:
    """Every `key=value` in `fix` names a setting or a group."""
    from lingotune.config.settings import setting_types

    known = {*setting_types(), *config_groups(CONF)}
    for _, overrides, *_ in TRIPS:
        for problem in found(overrides):
            for key in re.findall(r"(?<![\w.])([a-z_]+(?:\.[a-z_]+)*)=", problem.fix):
                parents = {key.rsplit(".", n)[0] for n in range(3)}
                assert parents & known, (key, problem)
