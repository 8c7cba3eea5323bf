"""Handler of the model beside it, for SageMaker's inference toolkit, which imports `code/inference.py`.

It prepares texts as the training did and needs nothing but the libraries of the Hugging Face image.
Requests and answers: docs/serving.md of lingotune.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
# Whoever deploys the model has chosen to run the code in this folder.
os.environ.setdefault("LINGOTUNE_TRUST_CODE", "1")

from lingotune.serving.endpoint import model_fn, transform_fn

__all__ = ["model_fn", "transform_fn"]
