"""python -m lingotune: the same commands as the console script `lingotune`."""

import sys

from lingotune.cli.main import main
from lingotune.config.console import exit_code_of

if __name__ == "__main__":
    sys.exit(exit_code_of(main))
