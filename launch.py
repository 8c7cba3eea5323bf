"""Plan, check or submit training jobs on SageMaker: python launch.py cluster=p3_16xl per_device_bs=16"""

from __future__ import annotations

import sys
from pathlib import Path

from lingotune.config.console import exit_code_of
from lingotune.config.problems import USER_ERROR, ConfigError
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.compose.options import composed_jobs
from lingotune.launch.render.bundle import build_bundle
from lingotune.training.trackers import REQUIREMENTS

ROOT = Path(__file__).resolve().parent
PURPOSE = (
    "Plan (the default), check or submit SageMaker training jobs: one config, checked before it is"
    " billed."
)


def main() -> int:
    """Compose and check every job of the command, then hand them to what was asked for."""
    from lingotune.launch.actions import launch

    composed = composed_jobs(sys.argv[1:], "launch.py", PURPOSE, ROOT / "conf", check_launch)
    needed = [REQUIREMENTS[name] for one in composed for name in one.config.training.report_to]
    return launch(composed, build_bundle(ROOT, needed))


def main_for_programs() -> int:
    """The same, with findings as JSON on standard output where output=json was typed."""
    try:
        return main()
    except ConfigError as error:
        if "output=json" not in sys.argv[1:]:
            raise
        from lingotune.launch.plan.page import problems_json

        print(problems_json(error.problems, USER_ERROR))
        return USER_ERROR


if __name__ == "__main__":
    sys.exit(exit_code_of(main_for_programs))
