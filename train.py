"""Train a classifier: on a laptop from overrides, on a worker from a job file.

python train.py                                    the embedded sample, on CPU
python train.py -m lr=1e-4,3e-4,1e-3               a sweep
torchrun --nproc_per_node=2 train.py --job job.yaml
"""

import os
import signal
import sys


def main() -> int:
    """The worker's path needs no Hydra; the laptop's composes with it and then walks the same path."""
    from lingotune.training.signals import importing

    with importing():
        from lingotune.training.run import is_worker

        if is_worker(sys.argv[1:], os.environ):
            from lingotune.training.run import main as run
        else:
            from lingotune.cli.train import main as run
    return run(sys.argv[1:])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during imports leaves no traceback
    from lingotune.config.console import exit_code_of

    sys.exit(exit_code_of(main))
