"""train.py that stops itself at a line, so that tests need not catch the right moment.

python tests/stopping.py SIGNAL TEXT ARGUMENT ...   train.py ARGUMENT ..., which sends itself the signal
(KILL, STOP) once it has printed a line with that text
"""

from __future__ import annotations

import io
import os
import runpy
import signal
import sys
from pathlib import Path


class Watched(io.TextIOWrapper):
    """Standard output."""

    def write(self, text: str) -> int:
        count = super().write(text)
        if TEXT in text:
            self.flush()
            os.kill(os.getpid(), NUMBER)
        return count


if __name__ == "__main__":
    NUMBER, TEXT = signal.Signals[f"SIG{sys.argv[1]}"], sys.argv[2]
    sys.stdout = Watched(sys.stdout.detach(), encoding="utf-8", line_buffering=True)
    train = Path(__file__).resolve().parent.parent / "train.py"
    sys.argv = [str(train), *sys.argv[3:]]
    runpy.run_path(str(train), run_name="__main__")
