"""lingotune validate: every problem of the group files at once, each with its file and key."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from conftest import CONF

from lingotune.cli.validate import main
from lingotune.config.problems import Problem, errors_only
from lingotune.launch.compose.group_files import GroupFile
from lingotune.launch.validate import validate

WRONG = {
    "experiment/nopkg.yaml": ("lr: 1e-5\n", "", "put below experiment", "# @package _global_ as"),
    "experiment/typo.yaml": (
        "# @package _global_\ntraining:\n  warmup: 0.1\n",
        ":3: training.warmup", "unknown setting", "warmup_ratio: 0.1",
    ),
    "experiment/type.yaml": (
        "# @package _global_\nseed: 1.5\n", ":2: seed", "1.5 is not a whole number", "seed: 42",
    ),
    "experiment/grid.yaml": (
        "# @package _global_\nhydra:\n  sweeper: {params: {lrr: '1e-5,2e-5'}}\n",
        ":3: lrr=1e-5,2e-5", "unknown setting", "lr=",
    ),
    "experiment/folder.yaml": (
        "# @package _global_\nhydra:\n  run: {dir: out}\n",
        ":2: hydra", "no effect", "runs_dir",
    ),
    "sweep/rate.yaml": ("params:\n  lr: 1e-5,-1\n", "lr=-1", "range", ""),
    "experiment/range.yaml": ("# @package _global_\nlr: -1\n", "lr=-1", "range", ""),
    "experiment/choice.yaml": (
        "# @package _global_\ndefaults:\n  - override /cluster: p9\n",
        ":3: defaults[0]", "cluster has no option 'p9'", "override /cluster: ",
    ),
    "experiment/relative.yaml": (
        "# @package _global_\ndefaults:\n  - cluster: g5_12xl\n",
        ":3: defaults[0]", "there is no such group", "override /cluster: g5_12xl",
    ),
    "experiment/again.yaml": (
        "# @package _global_\ndefaults:\n  - /cluster: g5_12xl\n",
        ":3: defaults[0]", "chosen already", "override /cluster: g5_12xl",
    ),
    "model/lr.yaml": ("lr: 1\nname: a\nname_or_path: b\n", ":1: model.lr", "unknown", "# @package"),
    "model/broken.yaml": ("a: [1\nb: 2\n", ":2", "is not YAML", ""),
    "model/old.yml": ("name: a\n", "", "only .yaml is read", "old.yaml"),
    "model/tiny.yaml": ("name: mine\n", "", "never read: the shipped model=tiny", "another name"),
    "modles/a.yaml": ("name: a\n", "", "did you mean model?", ""),
    "cluster/both.yaml": (
        "name: x\ninstance_type: ml.p3.16xlarge\ngpus_per_node: 8\nspot: true\nkeep_alive: 600\n",
        "cluster.keep_alive=600", "does not go with spot", "cluster.spot=false",
    ),
    "mine.yaml": ("lr: 1\n", "", "lies in no group's folder", "experiment/mine.yaml"),
}  # fmt: skip
RIGHT = {
    "experiment/nlp/deep.yaml": "# @package _global_\nlr: 0.005\n",
    "experiment/empty.yaml": "# @package _global_\n# nothing yet\n",
    "mygroup/a.yaml": "# @package _global_\nlr: 0.006\n",
    "data/mine.yaml": "defaults: [files]\npath: ???\nlanguages: [no]\nlabels: [{name: no}, {name: yes}]\n",
    "notes.md": "not a group file\n",
}


FEW = ("config", "default", "sample", "files", "local", "g5_12xl", "p3_16xl", "none", "tiny", "blog",
       "distilbert_multilingual", "amazon_reviews_multi", "linear", "private", "lr")  # fmt: skip


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the shipped files: each is composed, and all of them are by a command of the documents."""
    folder = tmp_path_factory.mktemp("shipped") / "conf"
    shutil.copytree(CONF, folder)
    for path in folder.rglob("*.yaml"):
        if path.stem not in FEW:
            path.unlink()
    return folder


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, conf: Path) -> tuple[Path, list[Problem]]:
    """One round over shipped files and a folder with all of the above."""
    folder = tmp_path_factory.mktemp("own")
    for name, text in {**{n: case[0] for n, case in WRONG.items()}, **RIGHT}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder, validate(conf, folder)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_file_key_and_fix(
    name: str, found: tuple[Path, list[Problem]]
) -> None:
    folder, problems = found
    _, key, what, fix = WRONG[name]
    place = key if key.startswith(":") or not key else f": {key}"
    where = f"{folder / name}{place}"
    (problem,) = errors_only([p for p in problems if p.where.startswith(str(folder / name))])
    assert problem.where == where
    assert what in problem.what and fix in problem.fix


def test_nothing_else_is_wrong(found: tuple[Path, list[Problem]]) -> None:
    """The shipped files among it: what SageMaker would refuse of the article's job is a warning."""
    folder, problems = found
    wrong = {str(folder / name) for name in WRONG}
    assert {re.split(r":\d+|: ", p.where)[0] for p in errors_only(problems)} == wrong


def test_a_sound_folder_is_counted(
    tmp_path: Path,
    conf: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shipped = shutil.copytree(conf, tmp_path / "conf")
    for path in [*shipped.glob("experiment/*"), *shipped.glob("cluster/[!l]*")]:
        path.unlink()
    own = tmp_path / "own"
    (own / "mygroup").mkdir(parents=True)
    (own / "mygroup" / "a.yaml").write_text("# @package _global_\nlr: 0.006\n")
    monkeypatch.setattr("lingotune.cli.validate.shipped_dir", lambda: shipped)
    assert main([str(own)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert f" shipped group files and 1 of {own}: all compose" in last


def test_the_shipped_folder_typed_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def problems_of(_: object, file: GroupFile) -> list[Problem]:
        asked.append(file.path)
        return []

    monkeypatch.setattr("lingotune.launch.validate._Validator.problems_of", problems_of)
    monkeypatch.chdir(CONF.parent)
    assert validate(CONF, Path("conf")) == []
    assert asked and len(asked) == len({path.resolve() for path in asked})
