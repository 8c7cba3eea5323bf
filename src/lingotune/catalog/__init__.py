"""Facts about instances, images, models and GPUs, and the rules that go with them.

The facts are JSON files, each of which names its sources; `make facts` updates those that come from
installed libraries.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def load(name: str, package: str = "lingotune.catalog") -> Any:
    """Read `facts/NAME.json` of a package; cached."""
    return json.loads((resources.files(package) / "facts" / f"{name}.json").read_text("utf-8"))
