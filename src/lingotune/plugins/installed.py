"""Own code of installed packages: their entry points, and what a worker needs to have them too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points, version

from lingotune.config.problems import Problem
from lingotune.plugins.marks import Kind

GROUPS = {
    Kind.metric: "lingotune.metrics",
    Kind.builder: "lingotune.models",
    Kind.callback: "lingotune.callbacks",
}
"""Entry-point groups."""
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^;,\s]+)")


def installed(kind: Kind) -> dict[str, list[EntryPoint]]:
    """Map the names of a group to their entry points, one for each package that has the name."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUPS[kind]):
        # an editable install can be listed twice
        if point.value not in [other.value for other in found.get(point.name, ())]:
            found.setdefault(point.name, []).append(point)
    return found


def package_of(point: EntryPoint) -> str:
    """Name of the package that an entry point comes from."""
    return str(_distribution(point).metadata["Name"])


def requirement_of(point: EntryPoint) -> str | None:
    """Write the requirement by which a worker gets the same package; None if only this machine has it."""
    package = _distribution(point)
    origin = json.loads(package.read_text("direct_url.json") or "{}")
    name = package.metadata["Name"]
    if "vcs_info" in origin:
        commit = origin["vcs_info"]["commit_id"]
        return f"{name} @ {origin['vcs_info']['vcs']}+{origin['url']}@{commit}"
    return None if origin.get("url", "").startswith("file:") else f"{name}=={package.version}"


def project_of(requirement: str) -> str:
    """Name of a requirement's project, in the form in which names are compared (PEP 503)."""
    name = re.match(r"[A-Za-z0-9._-]*", requirement)
    return re.sub(r"[-_.]+", "-", name.group() if name else "").lower()


def other_versions(requirements: Iterable[str]) -> list[Problem]:
    """Find packages that are pinned by a job, and installed here in another version, or not."""
    problems = []
    for requirement in requirements:
        pin = _PIN.fullmatch(requirement)
        if pin is None:
            continue
        try:
            here = version(pin[1])
        except PackageNotFoundError:
            here = "none"
        if here != pin[2]:
            fix = f"pip install {requirement}, or 'code.requirements=[]'"
            what = f"the job has it in this version; installed is {here}"
            problems.append(Problem(f"code.requirements=[{requirement}]", what, fix))
    return problems


def _distribution(point: EntryPoint) -> Distribution:
    assert point.dist is not None, "found among the installed packages"
    return point.dist
