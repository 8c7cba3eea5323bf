"""Write the files of conf/cluster/ that follow from the instances: `make facts`.

Each instance with GPUs that AWS sells has one, and of those without some for small jobs. What is no longer
sold (p3), this machine and the generic `sagemaker` are written by hand.
"""

from __future__ import annotations

from pathlib import Path

from lingotune.catalog.hardware import Instance, gpu_instances, instances, option_name

FOLDER = Path(__file__).resolve().parent.parent / "conf" / "cluster"
SMALL = [f"ml.{family}.{size}xlarge" for family in ("c7i", "m7i") for size in ("", 2, 4, 8)]
"""Instances without GPUs, of the newest families whose CPUs every region has."""
WHOLE_GPUS = 8
"""GPUs of the machine that a family of the p line is named after: cluster=p4d."""


def files() -> dict[str, str]:
    """Map names of files to their contents."""
    sold = [one for one in gpu_instances().values() if one.sold]
    small = [instances()[name] for name in SMALL]
    found = {f"{option_name(one.instance_type)}.yaml": _option(one) for one in [*sold, *small]}
    for one in sold:
        if one.family.startswith("p") and one.gpus == WHOLE_GPUS:
            found[f"{one.family.replace('-', '_')}.yaml"] = _short(one)
    return found


def _option(one: Instance) -> str:
    purpose = "" if one.gpus else ", for small jobs"
    name = option_name(one.instance_type)
    hardware = one.hardware.removesuffix(" each")
    return f"# {hardware}{purpose}\nname: {name}\ninstance_type: {one.instance_type}\n"


def _short(one: Instance) -> str:
    """Name a machine by its family alone."""
    hardware = one.hardware.removesuffix(" each")
    return f"# {hardware}\ndefaults: [{option_name(one.instance_type)}]\n"


def main() -> None:
    """Write the files."""
    for name, content in files().items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
