"""Runs the command `lingotune` as `python -m lingotune`."""

import sys

from lingotune.cli.main import entry

if __name__ == "__main__":
    sys.exit(entry())
