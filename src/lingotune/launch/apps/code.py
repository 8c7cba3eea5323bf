"""Code of an application that travels: the files of its folder, with the small program that starts it."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.secrets import secret_lines, text_in
from lingotune.launch.apps.settings import PROGRAM, WHERE, Settings
from lingotune.launch.render.bundle import REQUIREMENTS, Bundle

_NEVER = {
    ".git", "__pycache__", ".venv", "venv", ".mypy_cache", ".pytest_cache", ".ruff_cache",
    ".ipynb_checkpoints", "node_modules", "outputs", "multirun",
}  # fmt: skip
"""Folders that never travel: histories, environments, caches, and Hydra's own output."""
_SCANNED = 1_000_000
"""Bytes of a file up to which it is searched for secrets; larger ones are data."""
_HYDRA = re.compile(r"^\s*hydra[-_.]core\b", re.IGNORECASE | re.MULTILINE)


class Entry:
    """How the application is started: as a script, as a module, or by calling its main function.

    folder: what travels. script, module, function: as of `job.json`; None where they do not apply.
    """

    def __init__(self, folder: Path, **start: str | None) -> None:
        self.folder, self.start = folder, start

    @property
    def text(self) -> str:
        """Name it as people do."""
        return self.start.get("script") or f"-m {self.start['module']}"


def entry_of(task: object, code_dir: str | None) -> Entry:
    """Find how the running application was started. ConfigError if that is not in its code folder."""
    module = sys.modules[getattr(task, "__module__", "__main__")]
    spec = getattr(module, "__spec__", None)
    if module.__name__ == "__main__" and spec is None:
        return _script(module, code_dir)
    name = spec.name.removesuffix(".__main__") if spec else module.__name__
    file = Path(module.__file__ or "").resolve()
    root = file.parents[(spec.name if spec else name).count(".")]
    folder = Path(code_dir).resolve() if code_dir else root
    if not file.is_relative_to(folder):
        raise ConfigError([_outside(file, folder)])
    name = ".".join(file.relative_to(folder).with_suffix("").parts).removesuffix(".__main__")
    function = None if module.__name__ == "__main__" else getattr(task, "__name__", None)
    return Entry(folder, module=name, function=function)


def _script(module: ModuleType, code_dir: str | None) -> Entry:
    file = getattr(module, "__file__", None)
    if file is None:
        what = "runs neither as a script nor as a module, e.g. in a notebook"
        raise ConfigError(
            [Problem("the application", what, "put it into a file: python app.py -m")]
        )
    script = Path(file).resolve()
    folder = Path(code_dir).resolve() if code_dir else script.parent
    if not script.is_relative_to(folder):
        raise ConfigError([_outside(script, folder)])
    return Entry(folder, script=script.relative_to(folder).as_posix())


def _outside(file: Path, folder: Path) -> Problem:
    return Problem(
        f"{WHERE}.code_dir={folder}", f"does not hold {file}", f"{WHERE}.code_dir={file.parent}"
    )


def pack_code(
    entry: Entry, settings: Settings, away: Sequence[str]
) -> tuple[Bundle, list[Problem]]:
    """Pack the application's files with the program that starts it; also says what is wrong with them.

    away: folders that do not travel, relative to the current one: where output is written.
    """
    problems: list[Problem] = []
    files: dict[str, bytes] = {}
    left_out = [Path(one).resolve() for one in away]
    for name in _names(entry.folder, settings, problems):
        path = entry.folder / name
        if any(path.resolve().is_relative_to(one) for one in left_out):
            continue
        try:
            files[name] = path.read_bytes()
        except OSError as error:
            what = f"cannot be read: {error.strerror}"
            problems.append(Problem(str(path), what, f"{WHERE}.exclude=['{name}']"))
    started = entry.start.get("script")
    if started and started not in files:
        what = f"does not travel: {WHERE}.include, exclude or .gitignore leave it out"
        problems.append(Problem(started, what, f"{WHERE}.include=['{started}', ...]"))
    problems += _too_large(files, settings)
    problems += _secrets(files)
    files[REQUIREMENTS] = _requirements(entry.folder, files, settings, problems)
    files[PROGRAM] = Path(__file__).with_name("worker_main.py").read_bytes()
    return _bundle(files), problems


def _bundle(files: Mapping[str, bytes]) -> Bundle:
    """Pack files: the same bytes for the same files, on every machine."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
    packed = archive.getvalue()
    return Bundle(packed, hashlib.sha256(packed).hexdigest(), dict(files))


def _names(folder: Path, settings: Settings, problems: list[Problem]) -> list[str]:
    """List the files that travel, relative to the folder."""
    if settings.include:
        found = set()
        for pattern in settings.include:
            matched = {name for name in _walk(folder) if _fits(name, pattern)}
            if not matched:
                what = f"matches no file in {folder}"
                problems.append(Problem(f"{WHERE}.include={pattern}", what, "src/**"))
            found |= matched
    else:
        found = set(_not_ignored(folder, problems))
    return sorted(n for n in found if not any(_fits(n, pattern) for pattern in settings.exclude))


def _fits(name: str, pattern: str) -> bool:
    """Compare a file with a pattern, which may be that of a folder of it."""
    pattern = pattern.rstrip("/").removesuffix("/**")
    parts = name.split("/")
    return any(fnmatch("/".join(parts[:n]), pattern) for n in range(1, len(parts) + 1))


def _walk(folder: Path) -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        if path.name in _NEVER:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from (f"{path.name}/{name}" for name in _walk(path))
        elif path.is_file():
            yield path.name


def _not_ignored(folder: Path, problems: list[Problem]) -> list[str]:
    """List the files that git would not ignore; outside of a repository, too, as .gitignore says."""
    every = [*_walk(folder)]
    try:
        kept = _by_git(folder)
    except OSError:
        if any(Path(name).name == ".gitignore" for name in every):
            what = "cannot be read without git, which is not installed"
            problems.append(
                Problem(f"{folder}/.gitignore", what, f"{WHERE}.include=['*.py', conf]")
            )
        return every
    return [name for name in every if name in kept]


def _by_git(folder: Path) -> set[str]:
    listed = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(["git", *listed], cwd=folder, capture_output=True)
    if done.returncode:  # no repository
        with tempfile.TemporaryDirectory() as empty:
            subprocess.run(["git", "init", "--quiet", empty], check=True, capture_output=True)
            options = [f"--git-dir={empty}/.git", f"--work-tree={folder}"]
            done = subprocess.run(["git", *options, *listed], cwd=folder, capture_output=True)
    names = [name for name in done.stdout.decode(errors="surrogateescape").split("\0") if name]
    found = set()
    for name in names:
        path = folder / name
        if path.is_dir() and not path.is_symlink():  # a repository of its own
            found |= {f"{name.rstrip('/')}/{inner}" for inner in _by_git(path)}
        else:
            found.add(name)
    return found


def _too_large(files: Mapping[str, bytes], settings: Settings) -> list[Problem]:
    size = sum(map(len, files.values())) / 1e6
    if size <= settings.max_code_mb:
        return []
    largest = sorted(files, key=lambda name: -len(files[name]))[:3]
    told = ", ".join(f"{name} {len(files[name]) / 1e6:.1f} MB" for name in largest)
    what = f"the code is {size:.1f} MB in {len(files)} files; the largest: {told}"
    fix = f"{WHERE}.exclude=['{largest[0]}'], or .gitignore"
    return [Problem(f"{WHERE}.max_code_mb={settings.max_code_mb:g}", what, fix, check="code-size")]


def _secrets(files: Mapping[str, bytes]) -> Iterator[Problem]:
    for name, content in files.items():
        if len(content) > _SCANNED:
            continue
        for number in secret_lines(text_in(content))[:1]:
            where = name if b"\0" in content else f"{name}:{number}"
            what = "holds something in the form of a token or a key, and would travel"
            fix = f"take it out, or {WHERE}.exclude=['{name}']"
            yield Problem(where, what, fix, check="secret")


def _requirements(
    folder: Path, files: Mapping[str, bytes], settings: Settings, problems: list[Problem]
) -> bytes:
    """Return the requirements of a job: the application's own, and Hydra as it is here."""
    own = files.get(REQUIREMENTS, b"")
    if settings.requirements is not None:
        path = Path(settings.requirements)
        try:
            own = path.read_bytes()
        except OSError as error:
            what = f"cannot be read: {error.strerror}"
            fix = "the path of a file, relative to the current folder"
            problems.append(Problem(f"{WHERE}.requirements={path}", what, fix))
    text = own.decode(errors="replace")
    if not _HYDRA.search(text):
        text = f"{text.rstrip()}\nhydra-core=={version('hydra-core')}\n".lstrip()
    return text.encode()


def compressed(bundle: Bundle) -> bytes:
    """Compress the archive, the same bytes each time."""
    return gzip.compress(bundle.tar, mtime=0)
