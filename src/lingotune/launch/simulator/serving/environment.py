"""The Python of an inference container: SageMaker's inference toolkit over this machine's libraries."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lingotune.launch.simulator.environments import cache_folder, make, recipe_here

TOOLKIT = (
    "multi-model-server==1.1.11",
    "sagemaker-huggingface-inference-toolkit==2.6.0",
    "sagemaker-inference==1.10.1",
)
"""What runs in the container, installed without its requirements: those for speech and images are large."""
_BESIDE = ("future", "pillow", "psutil", "retrying", "scipy", "six")
_IMPORTS = "import mms.model_loader, sagemaker_inference.environment, PIL, scipy.sparse"


def inference_python(tell: Callable[[str], None]) -> Path:
    """Make the environment, unless it is there; returns its interpreter. ConfigError if that fails."""
    recipe = replace(
        recipe_here(),
        name="inference",
        requirements=(*_BESIDE, "numpy"),
        alone=TOOLKIT,
        check=_IMPORTS,
        effort="about a minute, 0.2 GB",
    )
    return make(recipe, cache_folder(os.environ), tell) / "bin" / Path(sys.executable).name
