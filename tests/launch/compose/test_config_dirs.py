"""Folders of group files: where they are looked for, and what the user's own can do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from conftest import CONF
from omegaconf import OmegaConf

from lingotune.config.problems import ConfigError
from lingotune.config.schema import LaunchConfig
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.config_dirs import user_dir
from lingotune.launch.overrides.keys import config_groups


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with an option in a subfolder, a new group, and one for a section without a group."""
    folder = tmp_path / "it's, [mine] = own"  # any name goes through Hydra's grammar
    files = {
        "experiment/nlp/deep.yaml": "# @package _global_\nlr: 0.005\n",
        "mygroup/a.yaml": "# @package _global_\nlr: 0.006\n",
        "mygroup/sub/b.yaml": "# @package _global_\nlr: 0.007\n",
        "batching/fast.yaml": "mode: random\n",
        "scaling/linear.yaml": "rule: sqrt\n",
        ".git/refs/x.yaml": "lr: 1\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def composed(own: Path, *typed: str) -> LaunchConfig:
    found = compose_all(list(typed), CONF, lambda config: [], multirun=False, extra_dir=own)
    return found[0].config


def test_the_typed_folder_goes_before_the_variable_and_that_before_the_usual_one(
    tmp_path: Path,
) -> None:
    typed, named, xdg, home = (tmp_path / name for name in ("typed", "named", "xdg", "home"))
    for folder in (typed, named, xdg / "lingotune", home / ".config" / "lingotune"):
        folder.mkdir(parents=True)
    environment = {"LINGOTUNE_CONFIG": str(named), "XDG_CONFIG_HOME": str(xdg), "HOME": str(home)}
    assert user_dir(str(typed), environment) == typed
    assert user_dir(None, environment) == named
    del environment["LINGOTUNE_CONFIG"]
    assert user_dir(None, environment) == xdg / "lingotune"
    assert user_dir(None, {"HOME": str(home), "XDG_CONFIG_HOME": "a"}) == home / ".config/lingotune"
    assert user_dir(None, {"HOME": str(tmp_path)}) is None
    assert user_dir(None, {}) is None
    assert user_dir(None, {**environment, "LINGOTUNE_CONFIG": ""}) is None, "empty = none"


def test_a_named_folder_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LINGOTUNE_CONFIG=/no: is not a folder"):
        user_dir(None, {"LINGOTUNE_CONFIG": "/no"})
    with pytest.raises(ConfigError, match="--config-dir /no: is not a folder"):
        user_dir("/no", {"LINGOTUNE_CONFIG": str(tmp_path)})
    (file := tmp_path / "options.yaml").write_text("a: 1\n")
    with pytest.raises(ConfigError, match="is not a folder") as raised:
        user_dir(file, {})
    assert raised.value.problems[0].fix == f"--config-dir {tmp_path}"


def test_groups_are_folders_and_options_may_lie_deeper(own: Path) -> None:
    groups = config_groups(CONF, own)
    assert groups["experiment"] == ["blog", "nlp/deep"]
    assert groups["mygroup"] == ["a", "sub/b"] and groups["mygroup/sub"] == ["b"]
    assert ".git" not in groups


@pytest.mark.parametrize(
    ("typed", "lr"),
    [
        ("experiment=nlp/deep", 0.005),
        ("+experiment/nlp=deep", 0.005),
        ("+mygroup=a", 0.006),
        ("+mygroup=sub/b", 0.007),
    ],
)
def test_options_of_the_user_s_own(own: Path, typed: str, lr: float) -> None:
    assert composed(own, typed).lr == lr


def test_a_new_group_of_a_section_is_put_there(own: Path) -> None:
    assert composed(own, "+batching=fast").batching.mode.name == "random"


def test_the_shipped_option_of_a_name_comes_first_as_in_hydra_s_search_path(own: Path) -> None:
    assert composed(own, "scaling=linear").scaling.rule.name == "linear"


def test_a_group_of_ones_own_without_its_plus_is_told_where_it_goes(own: Path) -> None:
    typed = ["mygroup=a", "model=tiny", "+mygroup=c", "experiment=chooses"]
    (own / "experiment" / "chooses.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /mygroup: a\n"
    )
    fixes = {}
    for words in (typed[:2], typed[2:3], typed[3:]):
        with pytest.raises(ConfigError) as found:
            composed(own, *words)
        fixes |= {problem.where: problem.fix for problem in found.value.problems}
    assert fixes == {
        "mygroup=a": "+mygroup=a",
        "+mygroup=c": "+mygroup=a | sub/b",
        "experiment=chooses": "in the defaults of experiment/chooses.yaml: - /mygroup: OPTION",
    }


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("mygroup=a", r"add.* \+mygroup=a|append .* use \+mygroup=a"),
        ("+mygroup=c", "mygroup has no option 'c'"),
        ("experiment=nlp/depe", r"did you mean nlp/deep\?"),
        ("+cluster=p3_16xl", "nothing can be added"),
        ("++mygroup=a", "."),
    ],
)
def test_what_hydra_would_refuse_is_refused(own: Path, typed: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        composed(own, typed)


def test_every_shipped_group_is_in_the_defaults_list() -> None:
    """Which is why a group that is not shipped is one to add."""
    entries = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))["defaults"]  # type: ignore[index,call-overload]
    assert {name for entry in entries if isinstance(entry, dict) for name in entry} == set(
        config_groups(CONF)
    )


@pytest.mark.parametrize(
    "name", ["experiment/b.yml", "experiments/b.yaml", "b.yaml", "experiment/x/b.YML"]
)
def test_a_file_that_is_not_found_is_moved_into_place(name: str, tmp_path: Path) -> None:
    file = tmp_path / "my own" / name
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\nlr: 0.005\n")

    def composed() -> float:
        (one,) = compose_all(["experiment=b"], CONF, lambda config: [], multirun=False,
                             extra_dir=tmp_path / "my own")  # fmt: skip
        return one.config.lr

    with pytest.raises(ConfigError) as caught:
        composed()
    (problem,) = caught.value.problems
    subprocess.run(problem.fix, shell=True, check=True)
    assert composed() == 0.005
