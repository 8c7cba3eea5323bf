"""Python environments for the rehearsal: AWS's training toolkit with the libraries to rehearse with.

They are made once and kept in the user's cache, in a folder named by a digest of everything that goes into
it. An environment cannot be moved, so it is made in place, and marked as complete at the end.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lingotune.catalog.hardware import Image, python_version, version
from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.checks.lanes import known_lanes
from lingotune.launch.simulator.interpreters import Interpreter, choose_interpreter, dotted

LIBRARIES = (
    "transformers", "datasets", "tokenizers", "accelerate", "huggingface_hub", "numpy", "pyarrow",
    "torch",
)  # fmt: skip
"""Libraries that the code in the bundle uses."""
FIRST_TORCH_WEIGHTS_ONLY = (2, 6)
"""First torch whose load reads weights only: older Trainers can resume in their image, but not with it."""

_READY = ".ready"
_NEEDED_HERE = ("torch", "transformers", "datasets")
_IMPORTS = "import sagemaker_training.entry_point, sagemaker_pytorch_container.training, mpi4py"
_VERSIONS = (
    "import importlib.metadata as m, json, sys\n"
    "found = {d.metadata['Name']: d.version for d in reversed([*m.distributions()])}\n"
    "print(json.dumps(found))"
)
_VALID_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9.]+)?")
_REMEDIES = (
    (r"No module named '?(pip|ensurepip|venv)", "apt-get install python3-pip python3-venv"),
    (r"command .*(gcc|cc|clang).* failed|No such file or directory: '\S*(gcc|cc|clang)'",
     "a C compiler: apt-get install gcc"),
    (r"No space left", "more space, or LINGOTUNE_CACHE=FOLDER on another disk"),
    (r"No matching distribution|new connection|[Nn]ame resolution|[Tt]imed out|ConnectionError",
     "a package index that pip reaches; what it asks now: python -m pip config list"),
)  # fmt: skip
"""Pattern in the output of a failed command -> remedy."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the training toolkit.

    python: its interpreter. versions: of LIBRARIES. variables: to set for its processes.
    """

    folder: Path
    python: Path
    description: str
    versions: Mapping[str, str]
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Recipe:
    """Contents of an environment.

    requirements: installed with their dependencies, within `constraints`. alone: installed without
    dependencies. under: folders searched after the environment's own. check: Python code that has to run
    in it. effort, remark: for people.
    """

    name: str
    interpreter: Interpreter
    requirements: tuple[str, ...]
    alone: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    check: str = ""
    effort: str = field(default="a moment", compare=False)
    remark: str = field(default="", compare=False)

    @property
    def folder(self) -> str:
        """Name of the folder, which depends on the contents."""
        contents = [self.interpreter.version, self.requirements, self.alone, self.constraints]
        digest = hashlib.sha256(json.dumps([*contents, self.under]).encode()).hexdigest()
        return f"{self.name}-{digest[:12]}"


def prepare_environment(
    image: Image | None, cache: Path, tell: Callable[[str], None]
) -> Environment:
    """Return the environment with the libraries of an image; None = with those of this Python.

    It is made if it does not exist, which `tell` announces. ConfigError if that fails.
    """
    recipe = recipe_here() if image is None else recipe_of(image, os.environ)
    folder = make(recipe, cache, tell)
    python = folder / "bin" / "python"
    found = _versions(python)
    versions = {name: found[_canonical(name)] for name in LIBRARIES if _canonical(name) in found}
    named = ("transformers", "datasets", "numpy", "torch")
    listed = [f"{name} {versions[name]}" for name in named if name in versions]
    description = f"{', '.join(listed)}, Python {recipe.interpreter.version} ({recipe.remark})"
    return Environment(folder, python, description, versions, torch_variables(image))


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Locate the folder of environments: $LINGOTUNE_CACHE, or lingotune in the user's cache."""
    own = environment.get("LINGOTUNE_CACHE")
    users = environment.get("XDG_CACHE_HOME") or Path("~", ".cache")
    return (Path(own) if own else Path(users, "lingotune")).expanduser().absolute()


def torch_variables(image: Image | None) -> dict[str, str]:
    """Return variables that let this torch load everything that the image's older one loads."""
    if image is None or version(image.pytorch) >= FIRST_TORCH_WEIGHTS_ONLY:
        return {}
    return {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}


# --- contents of an environment -------------------------------------------------------------------


def recipe_here() -> Recipe:
    """List the toolkit on top of this Python's libraries, none of which it may replace."""
    under = tuple(p for p in sys.path if Path(p).name in ("site-packages", "dist-packages"))
    visible = _visible(under)
    missing = [name for name in _NEEDED_HERE if name not in visible]
    if missing:
        what = f"{', '.join(missing)}: not installed beside this Python ({sys.executable})"
        fix = "pip install '.[train]', or rehearsal.lane=image"
        raise ConfigError([Problem("rehearsal.lane=here", what, fix)])
    pins = {
        n: None if _canonical(n) in visible else v for n, v in known_lanes().beside_toolkit.items()
    }
    return Recipe(
        "here",
        Interpreter(Path(sys.executable), dotted(sys.version_info[:3])),
        requirements=_lines(pins),
        alone=_lines(known_lanes().toolkit),
        constraints=_lines({n: v for n, v in visible.items() if _VALID_VERSION.fullmatch(v)}),
        under=under,
        check=_IMPORTS,
        effort="about half a minute, 0.2 GB",
        remark="this machine's own",
    )


def recipe_of(image: Image, environment: Mapping[str, str]) -> Recipe:
    """List the libraries of an image and the toolkit, with the image's Python if the machine has it."""
    wanted = python_version(image.python)
    newest = known_lanes().lanes[image.transformers].newest_python
    interpreter = choose_interpreter(wanted, newest, environment)
    as_there = version(interpreter.version)[:2] == wanted
    remark = "as in the image" if as_there else f"the image has Python {dotted(wanted)}"
    return Recipe(
        f"transformers-{image.transformers}",
        interpreter,
        requirements=_lines(pins_of(image)),
        alone=_lines(known_lanes().toolkit),
        check=_IMPORTS,
        effort="some minutes, 1.5 GB (5 GB where pip finds no CPU build of torch)",
        remark=remark,
    )


def pins_of(image: Image) -> dict[str, str | None]:
    """Map packages to versions: the libraries of a lane and what the toolkit needs besides."""
    known = known_lanes()
    return {**known.beside_toolkit, **known.every_lane, **known.lanes[image.transformers].pins}


def _lines(pins: Mapping[str, str | None]) -> tuple[str, ...]:
    return tuple(f"{name}=={pin}" if pin else name for name, pin in sorted(pins.items()))


def _visible(folders: Sequence[str]) -> dict[str, str]:
    """Map canonical names to versions of the packages in these folders; the first folder wins."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions(path=list(folders)):
        name = distribution.metadata["Name"]
        if name:  # a half-removed package has none
            found.setdefault(_canonical(name), distribution.version)
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- making it ------------------------------------------------------------------------------------


def make(recipe: Recipe, cache: Path, tell: Callable[[str], None]) -> Path:
    """Make the environment of a recipe unless it exists, which `tell` announces; returns its folder.

    Only one process makes it, others wait. ConfigError if a step fails.
    """
    folder = cache / "environments" / recipe.folder
    if _is_whole(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(f"{folder.name}.lock"), tell) as lock:
        if _is_whole(folder):
            return folder
        tell(f"making an environment, once, {recipe.effort}: {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        _fill(folder, recipe, lock)
        (folder / _READY).touch()
        return folder


def _is_whole(folder: Path) -> bool:
    """Tell whether an environment is complete, and its interpreter, which is a link, still exists."""
    return (folder / _READY).exists() and (folder / "bin" / "python").exists()


@contextmanager
def _locked(path: Path, tell: Callable[[str], None]) -> Iterator[int]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"waiting for another process that makes {path.with_suffix('')}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _fill(folder: Path, recipe: Recipe, lock: int) -> None:
    _make_venv(folder, recipe.interpreter.path, lock)
    python = folder / "bin" / "python"
    if recipe.under:
        packages = next(folder.glob("lib/python3.*/site-packages"))
        lines = "".join(f"{path}\n" for path in recipe.under)
        (packages / "under.pth").write_text(lines, encoding="utf-8")
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(recipe.constraints), encoding="utf-8")
    install: list[str | Path] = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    if recipe.requirements:
        _run([*install, "--constraint", constraints, *recipe.requirements], lock)
    if recipe.alone:
        _run([*install, "--no-deps", *recipe.alone], lock)
    _run([python, "-c", recipe.check], lock)


def _make_venv(folder: Path, python: Path, lock: int) -> None:
    try:
        _run([python, "-m", "venv", folder], lock)
    except ConfigError:  # Debian's python3 comes without venv; virtualenv needs only pip
        shutil.rmtree(folder, ignore_errors=True)
        tools = folder / "virtualenv"
        _run([sys.executable, "-m", "pip", "install", "--target", tools, "virtualenv"], lock)
        virtualenv = [sys.executable, "-m", "virtualenv", "--python", str(python), str(folder)]
        _run(virtualenv, lock, PYTHONPATH=str(tools))


def _run(command: Sequence[str | Path], lock: int, **variables: str) -> None:
    """Run a step. Its processes inherit the lock, as they may outlive this one."""
    done = subprocess.run(
        [str(part) for part in command], env={**_clean(os.environ), **variables}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(lock,),
    )  # fmt: skip
    if done.returncode == 0:
        return
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("WARNING")]
    fix = next((fix for sign, fix in _REMEDIES if re.search(sign, done.stdout)), "")
    step = " ".join(Path(str(part)).name for part in command[:4])
    what = "\n".join([f"{step} ... failed with status {done.returncode}:", *lines[-12:]])
    raise ConfigError([Problem("rehearsal environment", what, fix)])


def _versions(python: Path) -> dict[str, str]:
    """Map canonical names to versions of the packages that a Python finds; the first one counts."""
    output = subprocess.check_output([python, "-c", _VERSIONS], env=_clean(os.environ))
    return {_canonical(name): text for name, text in json.loads(output).items()}


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    return {n: v for n, v in environment.items() if n not in ("PYTHONPATH", "PYTHONHOME")}
