"""`lingotune models`: the shipped models and those of the user's own, in 80 columns and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import CONF

from lingotune.cli import models
from lingotune.config.problems import ConfigError

SHIPPED = {path.stem for path in (CONF / "model").glob("*.yaml")} - {"pretrained"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of which nothing is known, one that leaves its name open, and a known one."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "model").mkdir()
    (folder / "model" / "mine.yaml").write_text("name: mine\nname_or_path: somebody/unknown\n")
    (folder / "model" / "open.yaml").write_text("name: open\nname_or_path: ???\n")
    (folder / "model" / "known.yaml").write_text("name: k\nname_or_path: xlm-roberta-base\n")
    return folder


def test_the_table_fits_a_terminal_and_has_every_model(
    own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert models.main(["--config-dir", str(own), "data.max_length=512"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    table = {line.split()[0]: line.split()[1:] for line in lines[1 : lines.index("")]}
    assert table.keys() == SHIPPED | {"mine", "known"}
    assert table["mine"] == ["-", "-", "-", "16", "-", "-"]
    assert table["xlmr_base"][:5] == ["278", "M", "100", "512", "16"]
    assert table["known"][:4] == table["xlmr_base"][:4]
    told = "\n".join(lines[lines.index("") :])
    assert "texts of 512 tokens" in told and "transformers 5 alone: eurobert_210m" in told
    assert "not run: gte_multilingual_base" in told


def test_json_tells_what_the_job_makes_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main(["--json", "per_device_bs=4", "training.lora.rank=8"]) == 0
    found = {row["model"]: row for row in json.loads(capsys.readouterr().out)}
    xlmr, small = found["xlmr_base"], found["mmbert_small"]
    assert xlmr["per_device_bs"] == 4 and round(xlmr["trained"] / 1e6, 2) == 1.92
    assert xlmr["parameters"] == 278_045_955 and xlmr["licence"] == "mit"
    assert small["poolings"] == ["first", "mean"] and not small["padding_free"]
    assert small["since"] == "4.48.0" and small["breaks_in_fp16"]
    assert found["gte_multilingual_base"]["needs_code"]


@pytest.mark.parametrize(
    ("typed", "what"),
    [
        (["model=tiny"], "is what is listed"),
        (["-m"], "is what is listed"),
        (["lr=1e-5,2e-5"], "several jobs"),
        (["per_device_bs=0"], "out of range"),
    ],
)
def test_what_cannot_be_listed_is_told(typed: list[str], what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        models.main(typed)
    assert what in caught.value.problems[0].what and caught.value.problems[0].fix
