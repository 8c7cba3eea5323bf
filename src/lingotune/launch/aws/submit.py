"""Starting jobs on SageMaker. Nothing else writes to AWS.

Uploads go to content-addressed keys and are sent once. Each SDK gets exactly the rendered dict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
