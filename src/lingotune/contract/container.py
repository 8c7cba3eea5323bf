"""Names that launcher and worker agree on: SageMaker's container contract, and our part in it."""

from __future__ import annotations

JOB_FILE = "job.yaml"
"""Name of the job file, in its channel and in run folders."""
CONFIG_CHANNEL = "config"
"""Input channel that holds the job file."""
DATA_CHANNEL = "data"
"""Input channel that holds uploaded data files."""
CHECKPOINTS = "/opt/ml/checkpoints"
"""Where the container keeps checkpoints; SageMaker copies them to S3 as they come."""
DIGEST_VARIABLE = "LINGOTUNE_JOB_SHA256"
"""Environment variable by which the launcher tells every worker which job it started."""
TENSORBOARD = "/opt/ml/output/data/tensorboard"
"""Where rank 0 writes TensorBoard's events in the container; part of the output."""
