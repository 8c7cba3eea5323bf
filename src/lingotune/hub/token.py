"""The hub's token, which is never part of a job, but found by reference."""

from __future__ import annotations

import json
import os

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import HubConfig
from lingotune.config.secret_values import remember

_SSM = "ssm"
READING = {_SSM: "ssm:GetParameter", "secretsmanager": "secretsmanager:GetSecretValue"}
"""Service that stores the token -> IAM action that reads it."""


def find_token(hub: HubConfig) -> str:
    """Read the token from the job's AWS secret, or else from HF_TOKEN or the hub's token file.

    From then on nothing that is printed repeats it. ConfigError if there is none.
    """
    token = _aws_secret(hub.token_secret) if hub.token_secret else _token_here(hub)
    remember(token)
    return token


def _token_here(hub: HubConfig) -> str:
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        fix = "export HF_TOKEN=..., or hub.token_secret=NAME of an AWS secret, or hub=none"
        what = "no token: HF_TOKEN is not set and the hub's token file does not exist"
        raise ConfigError([Problem(f"hub={hub.visibility.value}", what, fix)])
    return str(token)


def service_of(reference: str) -> str:
    """Return the service that stores a secret: `ssm` for the ARN of a parameter, else `secretsmanager`."""
    parts = reference.split(":")
    return _SSM if parts[0] == "arn" and len(parts) > 2 and parts[2] == _SSM else "secretsmanager"


def region_of(reference: str) -> str:
    """Return the region that an ARN names; '' for a name, which is of the region where it is read."""
    parts = reference.split(":")
    return parts[3] if parts[0] == "arn" and len(parts) > 3 else ""


def _aws_secret(reference: str) -> str:
    """Read a secret with the machine's own role (the SageMaker images include boto3)."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    service = service_of(reference)
    here = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    region = region_of(reference) or here
    try:
        client = boto3.client(service, region_name=region)
        if service == _SSM:
            found = client.get_parameter(Name=reference, WithDecryption=True)
            return str(found["Parameter"]["Value"]).strip()
        return _only_value(str(client.get_secret_value(SecretId=reference)["SecretString"]))
    except (BotoCoreError, ClientError, KeyError) as error:
        fix = f"a secret that the job's role may read ({READING[service]})"
        what = f"cannot be read: {error}"
        raise ConfigError([Problem(f"hub.token_secret={reference}", what, fix)]) from error


def _only_value(secret: str) -> str:
    """Return the text, or the value of its only key, since the AWS console stores pairs."""
    try:
        pairs = json.loads(secret)
    except ValueError:
        return secret.strip()
    if isinstance(pairs, dict) and len(pairs) == 1:
        return str(next(iter(pairs.values()))).strip()
    return secret.strip()
