"""Plan or submit training jobs on SageMaker: python launch.py cluster=p3_16xl per_device_bs=16"""

from __future__ import annotations

import sys
from pathlib import Path

from lingotune.bundle import build_bundle
from lingotune.command import parse_command
from lingotune.compose import compose_all
from lingotune.jobfile import dump_job, job_of
from lingotune.messages import USER_ERROR, errors_only, exit_code_of
from lingotune.plan import check_launch, format_plan, format_sweep, make_plan, write_job_file
from lingotune.schema import Action, ConfigError, Problem

ROOT = Path(__file__).resolve().parent
PURPOSE = (
    "Plan (the default) or submit SageMaker training jobs: one config, checked before it is billed."
)


def main() -> int:
    """Compose and check every job, show the plans, and only then submit, if asked to."""
    conf = ROOT / "conf"
    command = parse_command(sys.argv[1:], "launch.py", PURPOSE, conf)
    composed = compose_all(
        command.overrides,
        conf,
        check_launch,
        multirun=command.multirun,
        extra_dir=command.config_dir,
    )
    if command.show_config:
        print("\n".join(dump_job(job_of(c.config)).decode() for c in composed), end="")
        return 0
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
    if settings.action is Action.submit:
        from lingotune.submit import submit

        for composed_job, plan in zip(composed, plans):
            job = submit(plan, bundle, composed_job.config.aws.region)
            print(f"\nsubmitted {job.name}\n  {job.console}")
            print("\n".join(f"  {line}" for line in job.next_commands()))
    return USER_ERROR if any(errors_only(plan.problems) for plan in plans) else 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
