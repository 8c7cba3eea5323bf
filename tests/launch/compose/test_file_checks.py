"""What group files hold that sets nothing: told with line, key and a line that works."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from conftest import CONF

from lingotune.launch.compose.file_checks import CheckedFile, read_checked
from lingotune.launch.compose.group_files import GroupFile
from lingotune.launch.overrides.keys import config_groups
from lingotune.launch.overrides.values import fits

HEAD = "# @package _global_\n"
GROUPS = config_groups(CONF)


def checked(folder: Path, content: str | bytes, name: str = "experiment/a.yaml") -> CheckedFile:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_checked(GroupFile(folder, path), config_groups(CONF, folder), GROUPS)


def told(folder: Path, content: str | bytes, name: str = "experiment/a.yaml") -> list[list[str]]:
    """Place without the folder, what is wrong, and the fix, of every problem."""
    found = checked(folder, content, name)
    return [[p.where.removeprefix(f"{folder}/"), p.what, p.fix] for p in found.problems]


# --- values as YAML has them ------------------------------------------------------------------------

WRONG_VALUES = {
    "lr: 0x1F": "lr: 31.0",
    "lr: 1,5": "lr: 1.5",
    "lr: \u201c2e-5\u201d": "lr: 2.0e-05",
    "lr: 2e\u22125": "lr: 2.0e-05",
    "lr: 1:30": "lr: 3.0e-05",
    "lr: ~": "lr: 3.0e-05",
    "lr:": "lr: 3.0e-05",
    "lr: {min: 1}": "lr: 3.0e-05",
    "seed: 0o17": "seed: 15",
    "seed: 0x1F": "seed: 31",
    "seed: 1:30": "seed: 42",
    "seed: 1__0": "seed: 42",
    "seed: 1.5": "seed: 42",
    "seed: 1e400": "seed: 42",
    "seed: 2024-01-01": "seed: 42",
    "seed: yes": "seed: 42",
    "epochs: three": "epochs: 3",
    "name: ~": "name: text",
    "name: #a": "name: text",
    "training: {compile: 2}": "compile: true",
    "training: {compile: maybe}": "compile: true",
    "training: {schedule: Linear}":
        "schedule: linear | cosine | cosine_with_restarts | polynomial | constant_with_warmup",
    "data: {languages: de}": "languages: [de]",
    "data: {languages: 'de, fr'}": "languages: [de, fr]",
    "data: {labels: {no: [1], yes: 2}}": (
        "labels: [{name: 'no', values: ['1']}, {name: 'yes', values: ['2']}]"
    ),
    "data: {labels: [{no: [1]}]}": "- {name: 'no', values: ['1']}",
    "data: {labels: [{name: a, values: 1}]}": "values: ['1']",
    "cluster: {environment: {A: ~}}": "A: text",
    "cluster: {environment: {A: [1]}}": "A: text",
    "aws: {tags: [a]}": "tags: {name: value}",
    "training:": "training: {SETTING: value}, or leave it out",
    "data: files": "defaults: [override /data: files]",
    "cluster: p3_16x": "defaults: [override /cluster: p3_16xl | p3_2xl | g6_16xl | g5_16xl | g6e_16xl"
    " | ... (71 in all)]",
    "training.compile: true": "training: {compile: true}",
    "lr: [1e-5, 2e-5]": "leave it out, and sweep as it is typed: -m lr=1e-05,2e-05",
    "lr: 1e-5,2e-5": "leave it out, and sweep as it is typed: -m lr=1e-5,2e-5",
    "lr: choice(1,2)": "leave it out, and sweep as it is typed: -m 'lr=choice(1,2)'",
    "name: ${lr": "name: ${lr}",
    "name: a${": "leave out the ${ of 'a${'",
    "null: 3": "",
    "fp16: {enabled: true}": "training: {precision: fp16}",
    "trainer: {max_epochs: 3}": "epochs: 3",
    "trainer: {devices: 3}": "defaults: [override /cluster: p4d_24xl]",
    "_target_: x": "code: {file: ...}",
    "default: [x]": "defaults:",
    "\u00a0lr: 1": "lr: 1",
}  # fmt: skip


@pytest.mark.parametrize("line", WRONG_VALUES)
def test_a_value_that_does_not_fit_is_told_with_its_line_and_one_that_does(
    line: str, tmp_path: Path
) -> None:
    ((place, _, fix),) = told(tmp_path, f"{HEAD}\n{line}\n")
    assert fix == WRONG_VALUES[line]
    assert place.startswith("experiment/a.yaml:3: ")
    key = place.partition(": ")[2]
    if key in ("lr", "seed", "epochs", "data.languages", "data.labels", "name") and ":" in fix[:9]:
        (value,) = yaml.safe_load(fix).values()
        assert fits(key, value)


RIGHT_VALUES = {
    "lr: .5": ("lr", 0.5), "lr: 1e-5": ("lr", 1e-5), "lr: 1.0e-5": ("lr", 1e-5), "lr: +.1": ("lr", 0.1),
    "lr: '2e-5'": ("lr", 2e-5), "lr: !!float 3": ("lr", 3.0), "lr: 1_000e-6": ("lr", 1e-3),
    "seed: 1_000": ("seed", 1000), "seed: 1e3": ("seed", 1000), "seed: 017": ("seed", 17),
    "seed: 42.0": ("seed", 42), "seed: !!str 5": ("seed", 5), "seed: ' 5 '": ("seed", 5),
    "name: no": ("name", "no"), "name: 2024-01-01": ("name", "2024-01-01"), "name: 1.10": ("name", "1.10"),
    "name: !!bool no": ("name", "no"), "name: !!int 0x10": ("name", "0x10"), "name: <<": ("name", "<<"),
    "name: '='": ("name", "="), "name: &x y": ("name", "y"), "name: 'null'": ("name", "null"),
    "training: {compile: on}": ("training.compile", True), "training: {compile: N}":
    ("training.compile", False), "training: {compile: 1}": ("training.compile", True),
    "training: {<<: {save_steps: 1e3}}": ("training.save_steps", 1000),
    "aws: {tags: {on: off, 1.10: 0110, null: no}}":
    ("aws.tags", {"on": "off", "1.10": "0110", "null": "no"}),
    "data: {languages: [no, NO, 1.10, 0x1F, 12:30, 2024-01-01]}":
    ("data.languages", ["no", "NO", "1.10", "0x1F", "12:30", "2024-01-01"]),
}  # fmt: skip


@pytest.mark.parametrize("line", RIGHT_VALUES)
def test_what_fits_is_read_as_it_is_written(line: str, tmp_path: Path) -> None:
    found = checked(tmp_path, f"{HEAD}{line}\n")
    assert not found.problems
    assert dict(found.content.settings) == dict([RIGHT_VALUES[line]])


def test_every_row_and_name_is_told(tmp_path: Path) -> None:
    text = (
        "labels:\n  - name: a\n    value: [1]\n  - nme: b\n"
        "languages:\n  - de\n  -\n  - ['x']\n<<: {nope: 1}\n"
    )
    places = {place: what for place, what, _ in told(tmp_path, text, "data/a.yaml")}
    assert places == {
        "data/a.yaml:3: data.labels[0].value": "unknown name 'value'; did you mean values?",
        "data/a.yaml:4: data.labels[1].nme": "unknown name 'nme'; did you mean name?",
        "data/a.yaml:7: data.languages[1]": "null is not a text",
        "data/a.yaml:8: data.languages[2]": "[x] is not a text",
        "data/a.yaml:9: data.nope": "unknown setting 'data.nope'",
    }


# --- files that are no YAML, or in another encoding -------------------------------------------------

NO_YAML = {
    "name: @a": (2, "quotes around the value, as in name: '@a'"),
    "name: a: b": (2, "quotes around a value with a colon, as in name: 'a: b'"),
    "name: *a": (2, "quotes around the value, as in name: '*a'"),
    "name: !x y": (2, "leave out the tag, or put quotes around the value"),
    "lr: !!python/object:os.system x": (2, "leave out the tag, or put quotes around the value"),
    "training:\n\tcompile: true": (3, "blanks in place of the tab"),
    "training:\n  compile: true\n save_steps: 3": (
        4, "the same number of blanks before each setting of a section",
    ),
    "lr: 1\n---\nlr: 2": (3, "one document in a file: leave out the --- and what follows it"),
    "lr: 1\nlr: 2": (3, "leave one of them out"),
    "[a]: 5": (2, "a key is one word"),
    "name: a\x07b": (2, "leave the character out"),
}  # fmt: skip


@pytest.mark.parametrize("text", NO_YAML)
def test_what_is_no_yaml_is_told_with_its_line_and_what_works(text: str, tmp_path: Path) -> None:
    line, fix = NO_YAML[text]
    ((place, what, offered),) = told(tmp_path, f"{HEAD}{text}\n")
    assert (place, offered) == (f"experiment/a.yaml:{line}", fix)
    assert what.startswith("is not YAML: ")


PLAIN = f"{HEAD}lr: 0.5\nname: \u00e9\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode("utf-8-sig"), PLAIN.encode("utf-16"), PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(), f"---\n{PLAIN}".encode(), f"%YAML 1.2\n---\n{PLAIN}".encode(),
        PLAIN.replace("_global_", "_global_   # ours").encode(), f"{PLAIN}...\n".encode(),
    ],
)  # fmt: skip
def test_files_of_other_editors_are_read(content: bytes, tmp_path: Path) -> None:
    found = checked(tmp_path, content)
    assert not found.problems
    assert dict(found.content.settings) == {"lr": 0.5, "name": "\u00e9"}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "cp1252"])
def test_a_file_that_is_no_text_is_told_with_its_line(encoding: str, tmp_path: Path) -> None:
    ((place, what, _),) = told(tmp_path, PLAIN.encode(encoding))
    assert place == "experiment/a.yaml" and what.startswith("line 3 is not UTF-8: ")


# --- defaults lists ---------------------------------------------------------------------------------

DEFAULTS = {
    "files": "override /data: files",
    "data: files": "override /data: files",
    "/data: files": "override /data: files",
    "override data: files": "override /data: files",
    "override /data: fils": "override /data: amazon_reviews_multi | files | sample | sample_pairs"
    " | sample_stars | sample_topics",
    "override /dat: files": "override /data: files",
    "override /data: files.yaml": "override /data: files",
    "override /data@foo: files": "override /data: files",
    "../data/files": "override /data: files",
    "optional /data: nope": "override /data: nope",
    "override /cluster=p3_16xl": "override /cluster: p3_16xl",
    "override /cluster: [p3_16xl, p3_2xl]": "override /cluster: p3_16xl",
    "{override /data: files, override /hub: private}":
    "- override /data: files; - override /hub: private",
    "override /hydra/sweeper: basic": "leave it out",
    "override hydra/launcher: joblib": "leave it out",
    "_slf_": "_self_",
    "a": "leave it out",
    "~": "an entry is the name of a file in the same folder, or: override /GROUP: option",
    "[b]": "an entry is the name of a file in the same folder, or: override /GROUP: option",
    "nope": "a | blog",
}  # fmt: skip


@pytest.mark.parametrize("entry", DEFAULTS)
def test_an_entry_that_chooses_nothing_is_told_one_that_does(entry: str, tmp_path: Path) -> None:
    ((place, _, fix),) = told(tmp_path, f"{HEAD}defaults:\n  - {entry}\n")
    assert (place, fix) == ("experiment/a.yaml:3: defaults[0]", DEFAULTS[entry])


def test_an_entry_stands_once_in_a_list(tmp_path: Path) -> None:
    text = f"{HEAD}defaults:\n  - override /cluster: p3_2xl\n  - override /cluster: p3_16xl\n"
    ((place, what, _),) = told(tmp_path, text)
    assert place == "experiment/a.yaml:4: defaults[1]" and what == "stands in the list twice"


def test_files_that_choose_each_other_are_told(tmp_path: Path) -> None:
    checked(tmp_path, f"{HEAD}defaults: [c]\n", "experiment/b.yaml")
    checked(tmp_path, f"{HEAD}defaults: [a]\n", "experiment/c.yaml")
    ((_, what, _),) = told(tmp_path, f"{HEAD}defaults: [b]\n")
    assert what == "leads back to this file: b -> c -> a"


@pytest.mark.parametrize(
    "entry", ["_self_", "blog", "override /data: files", "override /hub: ~", "override /data: ${x}"]
)
def test_an_entry_that_works_is_no_problem(entry: str, tmp_path: Path) -> None:
    checked(tmp_path, HEAD, "experiment/blog.yaml")
    assert told(tmp_path, f"{HEAD}defaults:\n  - {entry}\n") == []
