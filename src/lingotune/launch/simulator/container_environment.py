"""The environment variables of a rehearsed container."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from lingotune.launch.free_port import free_port
from lingotune.launch.render.shared_fields import Request
from lingotune.launch.simulator.container import Container
from lingotune.launch.simulator.init_process import BASE_DIR

_KEPT = re.compile(
    r"HOME$|PATH$|TZ$|LD_LIBRARY_PATH$|XDG_CACHE_HOME$|PIP_|SSL_CERT|REQUESTS_CA_BUNDLE$"
    r"|https?_proxy$|HTTPS?_PROXY$|HF_(HOME|ENDPOINT|HUB_CACHE|DATASETS_CACHE)$"
)
"""Variables of this machine that a container gets: locations of programs, packages and caches, but nothing
of an account."""


def variables_of(container: Container, address: str, temporary: Path) -> dict[str, str]:
    """Build the variables that SageMaker, the image and the request set, and those of the sandbox.

    address: of the server of objects. temporary: the container's /tmp. They contain nothing of the user's
    accounts.
    """
    return {
        **_of_this_machine(os.environ),
        **_of_the_container(container, address),
        **container.request.get("Environment", {}),
        **_of_the_rehearsal(temporary),
    }


def _of_this_machine(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environment.items() if _KEPT.match(name)}
    return {**kept, "no_proxy": "localhost,127.0.0.1,127.0.0.2"}


def _of_the_container(container: Container, address: str) -> dict[str, str]:
    """Build the variables that SageMaker and the image set."""
    request = container.request
    name, region = request["TrainingJobName"], _region(request)
    account = request["RoleArn"].split(":")[4] if request["RoleArn"].count(":") > 4 else ""
    return {
        BASE_DIR: str(container.folder.resolve()),
        "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
        "TRAINING_JOB_NAME": name,
        "TRAINING_JOB_ARN": f"arn:aws:sagemaker:{region}:{account}:training-job/{name}",
        "AWS_REGION": region,
        "S3_ENDPOINT_URL": address,
        "AWS_ENDPOINT_URL": address,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONIOENCODING": "UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _of_the_rehearsal(temporary: Path) -> dict[str, str]:
    """Build the variables that make a folder a container on CPU, without the user's accounts."""
    nowhere = str(temporary / "nowhere")
    return {
        "SM_STUDIO_LOCAL_MODE": "true",  # do not look up host names
        "TMPDIR": str(temporary),
        "PIP_DRY_RUN": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "-1",
        "GLOO_SOCKET_IFNAME": "lo",
        "PET_MASTER_PORT": str(free_port()),  # torchrun's default is the same for every job
        "AWS_ACCESS_KEY_ID": "rehearsal",
        "AWS_SECRET_ACCESS_KEY": "rehearsal",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": nowhere,
        "AWS_SHARED_CREDENTIALS_FILE": nowhere,
        "HF_HUB_OFFLINE": "1",
        "HF_TOKEN_PATH": nowhere,
    }


def _region(request: Request) -> str:
    region: str = json.loads(request["HyperParameters"].get("sagemaker_region", '""'))
    return region if re.fullmatch(r"[a-z]+(-[a-z]+)+-\d", region) else "us-east-1"
