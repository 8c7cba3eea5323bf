"""Plan or submit training jobs on SageMaker: python launch.py cluster=p3_16xl per_device_bs=16"""

from __future__ import annotations

import sys
from pathlib import Path

from lingotune.bundle import Bundle, build_bundle
from lingotune.command import composed_jobs
from lingotune.messages import USER_ERROR, errors_only, exit_code_of
from lingotune.plan import Plan, check_launch, format_plan, format_sweep, make_plan, write_job_file
from lingotune.schema import Action, ConfigError, Problem

ROOT = Path(__file__).resolve().parent
PURPOSE = (
    "Plan (the default) or submit SageMaker training jobs: one config, checked before it is billed."
)


def main() -> int:
    """Compose and check every job, show the plans, and only then submit, if asked to."""
    composed = composed_jobs(sys.argv[1:], "launch.py", PURPOSE, ROOT / "conf", check_launch)
    bundle = build_bundle(ROOT)
    plans = [make_plan(c.config, c.overrides, bundle) for c in composed]
    for plan in plans:
        print(format_plan(plan), end="\n\n")
    if len(plans) > 1:
        print(format_sweep(plans))
    settings = composed[0].config
    if settings.job_file:
        if len(plans) > 1:
            what = "one file cannot hold the jobs of a multirun"
            raise ConfigError([Problem(f"job_file={settings.job_file}", what)])
        write_job_file(plans[0], settings.job_file)
        print(f"wrote {settings.job_file}")
    for one, plan in zip(composed, plans):
        if one.config.action is Action.submit:
            _submit(plan, bundle, one.config.aws.region)
    return USER_ERROR if any(errors_only(plan.problems) for plan in plans) else 0


def _submit(plan: Plan, bundle: Bundle, region: str | None) -> None:
    from lingotune.submit import submit

    job = submit(plan, bundle, region)
    print(f"\nsubmitted {job.name}\n  {job.console}")
    print("\n".join(f"  {line}" for line in job.next_commands()))


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
