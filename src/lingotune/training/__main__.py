"""Entry point of a run with a job file: `python -m lingotune.training --job FILE`.

The code bundle includes a copy of this file as train.py.
"""

import sys

from lingotune.config.console import exit_code_of
from lingotune.training.run import main

if __name__ == "__main__":
    sys.exit(exit_code_of(lambda: main(sys.argv[1:])))
