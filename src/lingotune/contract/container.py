"""Names that launcher and worker agree on: SageMaker's container contract, and our additions."""

from __future__ import annotations

JOB_FILE = "job.yaml"
"""Name of the job file, in its channel and in run folders."""
CONFIG_CHANNEL = "config"
"""Input channel that holds the job file."""
DATA_CHANNEL = "data"
"""Input channel that holds uploaded data files."""
MODEL_CHANNEL = "model"
"""Input channel that holds a base model of the user's own, where the job names a folder or an S3 prefix."""
CHECKPOINTS = "/opt/ml/checkpoints"
"""Folder for checkpoints in the container, which SageMaker continuously copies to S3."""
DIGEST_VARIABLE = "LINGOTUNE_JOB_SHA256"
"""Environment variable by which the launcher tells every worker which job it started."""
TENSORBOARD = "/opt/ml/output/data/tensorboard"
"""Folder for TensorBoard's events in the container; part of the output."""
