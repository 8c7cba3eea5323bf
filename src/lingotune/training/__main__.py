"""Entry point of a run with a job file: `python -m lingotune.training --job FILE`.

The code bundle includes a copy of this file as train.py.
"""

import sys

from lingotune.config.console import exit_code_of
from lingotune.training.signals import importing


def main() -> int:
    """Run the job file; signals end the process quietly while its modules are imported."""
    with importing():
        from lingotune.training.run import main as run
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
