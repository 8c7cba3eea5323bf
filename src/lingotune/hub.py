"""Publishing on the Hugging Face Hub: access proved before training, the push after it.

The token comes by reference and is never part of a job: from the environment or the hub's own token
file of the machine that trains, or from an AWS secret that the job's role may read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lingotune.schema import ConfigError, HubConfig, Problem, PublishError, Visibility


@dataclass(frozen=True)
class Target:
    """An existing repository that this machine's token may write to."""

    repo: str
    user: str
    token: str

    @property
    def link(self) -> str:
        """Address of the repository."""
        return f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co')}/{self.repo}"

    def __repr__(self) -> str:  # the token must not reach a log
        return f"Target(repo={self.repo!r}, user={self.user!r})"


def prepare(hub: HubConfig, name: str) -> Target | None:
    """Find the token, make the repository; None for hub=none. ConfigError if either fails.

    Runs before training: six hours are too long to wait for the news that a token has expired.
    """
    if hub.visibility is Visibility.none:
        return None
    token = _token(hub)
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    try:
        user = api.whoami()["name"]
        repo = hub.repo or name
        made = api.create_repo(repo, private=hub.visibility is Visibility.private, exist_ok=True)
    except Exception as error:  # the hub's client raises many kinds; each means no access
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        works = "a token with write access in HF_TOKEN, the hub in reach, or hub=none"
        raise ConfigError(
            [Problem(f"hub={hub.visibility.value}", f"no access to the hub: {reason}", works)]
        ) from None
    return Target(made.repo_id, user, token)


def _token(hub: HubConfig) -> str:
    if hub.token_secret:
        return _aws_secret(hub.token_secret)
    from huggingface_hub import get_token

    token = get_token()
    if token is None:
        works = "export HF_TOKEN=..., or hub.token_secret=NAME of an AWS secret, or hub=none"
        what = "no token: HF_TOKEN is not set and the hub's token file does not exist"
        raise ConfigError([Problem(f"hub={hub.visibility.value}", what, works)])
    return str(token)


def _aws_secret(name: str) -> str:
    """The secret's text, read with the machine's own role (the SageMaker images hold boto3)."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    try:
        client = boto3.client("secretsmanager", region_name=region)
        return str(client.get_secret_value(SecretId=name)["SecretString"]).strip()
    except (BotoCoreError, ClientError) as error:
        works = "a secret that the job's role may read (secretsmanager:GetSecretValue)"
        raise ConfigError(
            [Problem(f"hub.token_secret={name}", f"cannot be read: {error}", works)]
        ) from error


def publish(target: Target, model: Path, tensorboard: Path) -> str:
    """Push the model folder and the TensorBoard events; returns the link. PublishError if it fails."""
    from huggingface_hub import HfApi

    api = HfApi(token=target.token)
    try:
        api.upload_folder(
            repo_id=target.repo,
            folder_path=model,
            commit_message="Add model, tokenizer and metrics",
        )
        api.upload_folder(
            repo_id=target.repo,
            folder_path=tensorboard,
            path_in_repo="runs",  # where the hub looks for training metrics
            commit_message="Add training metrics",
        )
    except Exception as error:
        raise PublishError(
            f"the push to {target.repo} failed: {error}\nnothing is lost: the model is in {model}"
        ) from None
    return target.link
