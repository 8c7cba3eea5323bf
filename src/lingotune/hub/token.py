"""The hub's token, by reference: it is never part of a job."""

from __future__ import annotations

import json
import os

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import HubConfig

_SSM = "ssm"
READING = {_SSM: "ssm:GetParameter", "secretsmanager": "secretsmanager:GetSecretValue"}
"""The action that a role needs, by the service that keeps the token."""


def find_token(hub: HubConfig) -> str:
    """Of the AWS secret that the job names; without one HF_TOKEN, or the hub's own token file.

    ConfigError if there is none.
    """
    if hub.token_secret:
        return _aws_secret(hub.token_secret)
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        fix = "export HF_TOKEN=..., or hub.token_secret=NAME of an AWS secret, or hub=none"
        what = "no token: HF_TOKEN is not set and the hub's token file does not exist"
        raise ConfigError([Problem(f"hub={hub.visibility.value}", what, fix)])
    return str(token)


def service_of(reference: str) -> str:
    """Which service keeps it: `ssm` for the ARN of a parameter, or else `secretsmanager`."""
    parts = reference.split(":")
    return _SSM if parts[0] == "arn" and len(parts) > 2 and parts[2] == _SSM else "secretsmanager"


def _aws_secret(reference: str) -> str:
    """Its text, read with the machine's own role (the SageMaker images hold boto3)."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    service = service_of(reference)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if reference.startswith("arn:"):
        region = reference.split(":")[3] or region
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
    """The text itself, or the value of its one key: AWS's console stores pairs."""
    try:
        pairs = json.loads(secret)
    except ValueError:
        return secret.strip()
    if isinstance(pairs, dict) and len(pairs) == 1:
        return str(next(iter(pairs.values()))).strip()
    return secret.strip()
