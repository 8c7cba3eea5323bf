"""What a script loads.

python tests/loaded.py SCRIPT ARGUMENT ...   the last line lists the top-level packages at its end, as JSON
"""

from __future__ import annotations

import json
import runpy
import sys


def packages() -> list[str]:
    return sorted({name.partition(".")[0] for name, module in sys.modules.items() if module})


if __name__ == "__main__":
    sys.argv[:] = sys.argv[1:]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        assert not end.code, end.code
    print(f"\n{json.dumps(packages())}")
