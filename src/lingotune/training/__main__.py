"""Entry point of a run with a job file: `python -m lingotune.training --job FILE`.

The code bundle includes a copy of this file as train.py.
"""

import signal
import sys


def main() -> int:
    """Run the job file; a signal ends the process quietly while its modules are imported."""
    from lingotune.training.signals import importing

    with importing():
        from lingotune.training.run import main as run
    return run(sys.argv[1:])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during imports leaves no traceback
    from lingotune.config.console import exit_code_of

    sys.exit(exit_code_of(main))
