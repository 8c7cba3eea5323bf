"""A saved model on other data, and on texts, as a user asks for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from conftest import CONF, ROOT, run
from pyarrow import parquet

from lingotune.cli.evaluate import data_typed
from lingotune.cli.main import main
from lingotune.config.console import exit_code_of
from lingotune.config.jobfile import dump_job, load_job
from lingotune.config.schema import AUTO, DataConfig, ModelConfig, Separator
from lingotune.data.prepared.tokenizer import train_vocabulary, wordpiece_tokenizer
from lingotune.data.rows.ids import rows_digest
from lingotune.evaluation.classifier import computes_bf16
from lingotune.modeling.load import load_model

TEXTS = {"de": "sehr gut", "en": "bad <b>*x*</b>", "ja": "とても良い"}
FILES = ["data=files", "data.columns.text=text", "data.columns.label=null", "data.columns.id=id"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a quick run, in a home of its own."""
    home = tmp_path_factory.mktemp("home")
    quick = ["training.max_steps=6", "data.sample.train_rows=30", "data.sample.test_rows=20"]
    # The scores are to the digit those of a saved model, which is run in fp32.
    quick += ["data.max_length=24", "training.precision=fp32"]
    done = run(str(ROOT / "train.py"), *quick, cwd=home)
    assert done.returncode == 0, done.stderr
    (folder,) = (path for path in (home / "runs").iterdir() if path.is_dir())
    return folder


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


Called = Callable[..., Done]
Evaluated = Callable[..., tuple[dict[str, Any], list[dict[str, Any]], str]]


@pytest.fixture
def lingotune(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Called:
    """`python -m lingotune ...` in this process: torch is loaded once."""

    def call(*typed: str, given: str = "") -> Done:
        monkeypatch.setattr("sys.stdin", StringIO(given))
        try:
            code = exit_code_of(lambda: main(typed))
        except SystemExit as ended:
            code = int(str(ended.code))
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return call


@pytest.fixture
def evaluated(lingotune: Called) -> Evaluated:
    """The results, the predictions, and what was printed."""

    def call(folder: Path, *typed: str) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
        done = lingotune("evaluate", str(folder), *typed)
        assert done.returncode == 0, done.stderr
        where = Path(done.stdout.splitlines()[-1].removeprefix("see "))
        rows = parquet.read_table(where / "predictions.parquet").to_pylist()
        assert (where / "confusion_matrix.png").stat().st_size > 1000
        return json.loads((where / "metrics.json").read_text()), rows, done.stdout

    return call


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def reviews(count: int, **more: Any) -> list[dict[str, Any]]:
    codes = list(TEXTS)
    return [
        {"id": f"r{n}", "text": f"{TEXTS[codes[n % 3]]} {n}", "stars": n % 5 + 1,
         "language": codes[n % 3], **more}
        for n in range(count)
    ]  # fmt: skip


def test_training_leaves_its_predictions(finished: Path) -> None:
    rows = parquet.read_table(finished / "predictions.parquet").to_pylist()
    scores = json.loads((finished / "metrics.json").read_text())["test"]
    right = [row["label"] == row["predicted"] for row in rows]
    assert len(rows) == 120 and len({row["id"] for row in rows}) == 120
    assert sum(right) / len(right) == pytest.approx(scores["overall"]["accuracy"])
    for row in rows:
        shares = {k: v for k, v in row.items() if k.startswith("probability_")}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert max(shares, key=lambda key: shares[key]) == f"probability_{row['predicted']}"
    low, high = scores["overall"]["intervals"]["macro_f1"]
    assert low <= scores["overall"]["macro_f1"] <= high
    assert scores["worst_language"]["code"] in scores["languages"]
    assert scores["overall"]["mean_absolute_error"] > 0


def test_the_runs_own_test_split_gives_the_runs_own_scores(
    finished: Path, evaluated: Evaluated
) -> None:
    results, rows, printed = evaluated(finished)
    trained = json.loads((finished / "metrics.json").read_text())["test"]
    assert results["max_length"] == 24
    for key in ("confusion", "intervals", "mean_absolute_error"):
        assert results["overall"][key] == trained["overall"][key]
    assert results["languages"].keys() == trained["languages"].keys()
    before = parquet.read_table(finished / "predictions.parquet").to_pylist()
    for row, same in zip(rows, before):
        assert (row["id"], row["predicted"]) == (same["id"], same["predicted"])
        assert row["probability_neutral"] == pytest.approx(same["probability_neutral"], abs=1e-5)
    assert "test: 120 rows read = 120 kept + 0 rejected" in printed


def test_a_model_whose_classes_stand_in_another_order_scores_the_same(
    finished: Path, tmp_path: Path, evaluated: Evaluated
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run", ignore=lambda *_: ["evaluations"]))
    job = load_job(run / "job.yaml")[0]
    names = [label.name for label in job.data.labels][::-1]
    before = ModelConfig("before", str(finished / "model"))
    model, said = load_model(before, names, None, job.data.max_length)
    assert said is not None and said.startswith("head: kept for positive, neutral, negative")
    model.save_pretrained(str(run / "model"))
    results, rows, _ = evaluated(run)
    assert results["labels"] == names
    then = parquet.read_table(finished / "predictions.parquet").to_pylist()
    assert [row["predicted"] for row in rows] == [row["predicted"] for row in then]


def test_a_source_that_has_changed_since_is_told(
    finished: Path, tmp_path: Path, lingotune: Called
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run", ignore=lambda *_: ["evaluations"]))
    job = load_job(run / "job.yaml")[0]
    job.data.sample.seed += 1  # the same ids, other texts
    (run / "job.yaml").write_bytes(dump_job(job))
    done = lingotune("evaluate", str(run))
    assert done.returncode == 2 and "its source has changed since the training" in done.stderr
    assert "fix: data=files data.path=... scores all its rows" in done.stderr
    assert not (run / "evaluations").exists()
    path = run / "model" / "metrics.json"
    metrics = json.loads(path.read_text())
    del metrics["data"]["test_sha256"]  # as old versions leave it
    path.write_text(json.dumps(metrics))
    done = lingotune("evaluate", str(run))
    assert done.returncode == 0 and "warning: the run has not recorded its test" in done.stdout


def test_each_part_of_a_row_counts() -> None:
    row = ("r1", "de", 2, "gut")
    others = [("r2", *row[1:]), ("r1", "en", 2, "gut"), ("r1", "de", 1, "gut"), (*row[:3], "Gut")]
    assert len({rows_digest(rows) for rows in ([row], [row, row], [], *([o] for o in others))}) == 7


def test_other_data_is_scored_whole(finished: Path, tmp_path: Path, evaluated: Evaluated) -> None:
    rows = [*reviews(30), *reviews(1, text="sehr gut 0")]  # twice the same text counts twice
    rows[-1]["id"] = "again"
    source = write(tmp_path / "other.jsonl", rows)
    results, found, _ = evaluated(finished, *FILES, f"data.path={source}")
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert results["overall"]["rows"] == 31 and set(results["languages"]) == set(TEXTS)
    assert [row["stars"] for row in found[:5]] == [1, 2, 3, 4, 5]
    only_test, found, _ = evaluated(finished, *FILES, f"data.test={source}")
    assert only_test["overall"] == results["overall"]
    given = [f"data.train={source}", f"data.test={write(tmp_path / 't.jsonl', reviews(9))}"]
    assert evaluated(finished, *FILES, *given)[0]["overall"]["rows"] == 9
    assert "source" not in found[0]
    shops = [{**row, "shop": ["web", "app"][n % 2]} for n, row in enumerate(rows)]
    named = write(tmp_path / "shops.jsonl", shops)
    _, found, _ = evaluated(finished, *FILES, f"data.path={named}", "data.columns.source=shop")
    assert [row["source"] for row in found] == [row["shop"] for row in shops]


def test_other_data_is_read_with_the_settings_of_the_run(
    finished: Path, tmp_path: Path, evaluated: Evaluated, lingotune: Called
) -> None:
    rows = [
        {
            "review_body": row["text"],
            "review_id": row["id"],
            "stars": row["stars"],
            "language": row["language"],
        }
        for row in reviews(30)
    ]
    path = write(tmp_path / "more.jsonl", rows)
    results, scored, _ = evaluated(finished, f"data.path={path}")
    assert results["data"]["columns"]["text"] == "review_body" and len(scored) == 30
    assert results["max_length"] == 24 and results["data"]["source"] == "files"
    unlabelled = [{k: v for k, v in row.items() if k != "stars"} for row in rows]
    bare = write(tmp_path / "bare.jsonl", unlabelled)
    refused = lingotune("evaluate", str(finished), f"data.path={bare}")
    assert refused.returncode == 2
    assert (
        f"next: python -m lingotune predict {finished} --file {bare}  # if it has no labels"
        in refused.stderr
    )


def test_how_files_of_another_type_were_read_is_no_default(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    job, _ = load_job(run / "job.yaml")
    data = replace(job.data, header=["a", "b"], separator=Separator.semicolon, encoding="cp1252")
    (run / "job.yaml").write_bytes(dump_job(replace(job, data=data)))

    def typed(path: str) -> DataConfig:
        found = data_typed(str(run), [f"data.path={path}"], CONF)
        assert found
        return found

    other = typed("more.parquet")
    assert (other.header, other.separator, other.encoding) == ([], Separator.auto, AUTO)
    other = typed("[more.jsonl,again.jsonl]")
    assert (other.header, other.separator, other.encoding) == ([], Separator.auto, "cp1252")
    for path in ("more.csv", "folder", "[a.jsonl,b.csv]"):
        assert typed(path).header == ["a", "b"]


def test_predictions_keep_all_columns(finished: Path, tmp_path: Path, lingotune: Called) -> None:
    rows = [{"review_body": row["text"], "id": row["id"], "shop": "x"} for row in reviews(5)]
    path, out = write(tmp_path / "new.jsonl", rows), tmp_path / "out.jsonl"
    done = lingotune("predict", str(finished), "--file", str(path), "--output", str(out))
    assert (done.returncode, done.stdout) == (0, f"5 rows with their classes: {out}\n")
    labelled = [json.loads(line) for line in out.read_text().splitlines()]
    assert [{k: row[k] for k in rows[0]} for row in labelled] == rows
    for row in labelled:
        shares = {k: v for k, v in row.items() if k.startswith("probability_")}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert max(shares, key=lambda key: shares[key]) == f"probability_{row['predicted']}"
    again = lingotune(
        "predict", str(finished), "--file", str(out), "--output", str(tmp_path / "b.csv")
    )
    assert again.returncode == 2 and "have a column 'predicted' already" in again.stderr


def test_rows_that_cannot_be_used_are_told(
    finished: Path, tmp_path: Path, evaluated: Evaluated, lingotune: Called
) -> None:
    broken = [*reviews(20), {"id": "x", "text": " ", "stars": 1, "language": "de"}]
    source = write(tmp_path / "broken.jsonl", broken)
    refused = lingotune("evaluate", str(finished), *FILES, f"data.path={source}")
    assert refused.returncode == 3 and "broken.jsonl:21" in refused.stderr
    skip = ["data.on_error=skip", "data.max_rejected=0.1"]
    results, found, printed = evaluated(finished, *FILES, f"data.path={source}", *skip)
    assert len(found) == 20 and "21 rows read = 20 kept + 1 rejected" in printed
    assert results["inputs"]["all"]["rejected"] == {"empty-text": 1}
    (kept,) = (finished / "evaluations").glob("*/rejected.jsonl")
    assert json.loads(kept.read_text())["line"] == 21


def test_a_class_without_rows_is_named(
    finished: Path, tmp_path: Path, evaluated: Evaluated
) -> None:
    source = write(tmp_path / "good.jsonl", reviews(12, stars=5))
    results, _, printed = evaluated(finished, *FILES, f"data.path={source}")
    assert results["overall"]["absent"] == ["negative", "neutral"]
    assert results["overall"]["macro_f1"] <= 1 / 3 + 1e-9
    assert "no negative, neutral" in printed


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["data=files", "data.path=none.jsonl"], "there is no such file"),
        (["data=files"], "no file is named"),
        (["lr=3"], "has no effect here"),
        (["data=sample", "data.test_share=0.5"], "data.test_share=0.5\n      has no effect here"),
        (["data.balance=weights"], "it is about what is trained on"),
        (["data=sample", "data.prepared=x"], "has no effect here"),
        (["data=sample", "data.languages=[de,it]"], "the sample has no 'it'"),
        (["data=nonsense"], "nonsense"),
        (
            ["data=sample", "data.labels=[{name: bad, values: [1,2]},{name: good, values: [3,4,5]}]"],
            "the model knows the classes negative, neutral, positive",
        ),
        (["--batch", "0"], "--batch\n      0 is not a whole number from 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_is_refused(
    finished: Path, typed: list[str], said: str, lingotune: Called
) -> None:
    done = lingotune("evaluate", str(finished), *typed)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_an_empty_language_is_told(finished: Path, tmp_path: Path, lingotune: Called) -> None:
    source = write(tmp_path / "some.jsonl", reviews(12))
    typed = [*FILES, f"data.path={source}", "data.languages=[de,fr]"]
    done = lingotune("evaluate", str(finished), *typed)
    assert done.returncode == 2 and "no row is in 'fr'" in done.stderr


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, "LABEL_0, LABEL_1"),
        ({"id2label": None}, "it names no classes"),
        ({"id2label": {"0": "x"}}, "called x"),
        ({"id2label": {"0": "x", "1": "y", "2": "x"}}, "called x, y, x"),
        ({"id2label": ["x", "y"]}, "cannot be read"),
        ("{", "cannot be read"),
    ],
)
def test_a_model_without_names_of_classes(
    config: Any, said: str, tmp_path: Path, lingotune: Called
) -> None:
    text = config if isinstance(config, str) else json.dumps(config)
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "vocab.txt").touch()
    for command in (["evaluate"], ["predict"]):
        done = lingotune(*command, str(tmp_path), *(["x"] if command == ["predict"] else []))
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_a_model_folder_alone(finished: Path, tmp_path: Path, lingotune: Called) -> None:
    """As somebody else gets it: no run around it."""
    alone = Path(shutil.copytree(finished / "model", tmp_path / "alone"))
    published = alone / "job.yaml"
    published.write_text(published.read_text().replace("epochs:", "rounds:"))
    done = lingotune("predict", str(alone), "x")
    assert done.returncode == 0 and done.stdout.count("\n") == 1, done.stderr
    assert "warning: " in done.stderr and "texts are prepared as by default" in done.stderr
    published.unlink()
    done = lingotune("evaluate", str(alone))
    assert done.returncode == 2 and "no job.yaml with its model" in done.stderr
    source = write(tmp_path / "other.jsonl", reviews(12))
    done = lingotune(
        "evaluate", str(alone), *FILES, f"data.path={source}", "--output", str(tmp_path / "out")
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "out").iterdir()
    assert json.loads((folder / "metrics.json").read_text())["max_length"] == 24
    (alone / "model.safetensors").write_bytes(b"cut short")
    done = lingotune("predict", str(alone), "x")
    assert done.returncode == 2 and "cannot be loaded" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ((), "holds no tokenizer: "),
        (("tokenizer_config.json",), "holds no tokenizer: "),
        (("special_tokens_map.json",), "holds no tokenizer: "),
    ],
)
def test_a_model_without_its_tokenizer(
    finished: Path, left: tuple[str, ...], said: str, tmp_path: Path, lingotune: Called
) -> None:
    alone = Path(shutil.copytree(finished / "model", tmp_path / "alone"))
    (alone / "special_tokens_map.json").write_text("{}")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if name not in left:
            (alone / name).unlink()
    for command in (["evaluate", "data=sample", "data.sample.test_rows=3"], ["predict", "x"]):
        done = lingotune(command[0], str(alone), *command[1:])
        assert done.returncode == 2 and said in done.stderr, done.stderr


def test_a_model_with_the_tokenizer_of_another_one(
    finished: Path, tmp_path: Path, lingotune: Called
) -> None:
    alone = Path(shutil.copytree(finished / "model", tmp_path / "alone"))
    (alone / "tokenizer.json").unlink()
    few = wordpiece_tokenizer(train_vocabulary(["a b"], 100), 24)
    few.save_pretrained(str(alone))
    done = lingotune("predict", str(alone), "x")
    assert done.returncode == 2
    assert f"holds no tokenizer of this model: it has {len(few)} pieces" in done.stderr


def test_a_model_without_its_job_is_scored_on_what_is_named(
    finished: Path, tmp_path: Path, lingotune: Called
) -> None:
    """Never on the sample, which stands for data that nobody has named."""
    alone = Path(shutil.copytree(finished / "model", tmp_path / "alone"))
    (alone / "job.yaml").unlink()
    source = write(tmp_path / "other.jsonl", reviews(12))
    columns = [word for word in FILES if word != "data=files"]
    done = lingotune("evaluate", str(alone), *columns, f"data.path={source}")
    assert done.returncode == 0 and "12 rows read = 12 kept" in done.stdout, done.stderr
    done = lingotune("evaluate", str(alone), *columns)
    assert done.returncode == 2
    assert "no override names other data, and its own is not known" in done.stderr
    done = lingotune("evaluate", str(alone), "data=sample", f"data.path={source}")
    assert done.returncode == 2 and "data=sample generates its reviews" in done.stderr


def test_values_without_a_class_are_mapped_to_those_of_the_model(
    finished: Path, tmp_path: Path, lingotune: Called
) -> None:
    rows = [{**row, "stars": 6 + n % 2} for n, row in enumerate(reviews(12))]
    source = write(tmp_path / "six.jsonl", rows)
    done = lingotune("evaluate", str(finished), *FILES, f"data.path={source}")
    assert done.returncode == 3 and "say which class of the model each means:" in done.stderr
    pasted = "data.labels=[{name: negative, values: [6]}, {name: neutral, values: [7]}, {name: positive}]"
    done = lingotune("evaluate", str(finished), *FILES, f"data.path={source}", pasted)
    assert done.returncode == 0 and "12 rows read = 12 kept" in done.stdout, done.stderr


def test_a_config_of_other_weights(finished: Path, tmp_path: Path, lingotune: Called) -> None:
    alone = Path(shutil.copytree(finished / "model", tmp_path / "alone"))
    config = json.loads((alone / "config.json").read_text())
    config |= {"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}}
    (alone / "config.json").write_text(json.dumps(config))
    done = lingotune("predict", str(alone), "x")
    assert done.returncode == 2 and "names 2 classes (bad, good)" in done.stderr
    assert "classifier.bias is 3 there, 2 by this file" in done.stderr


def test_predictions_of_texts_files_and_standard_input(
    finished: Path, tmp_path: Path, lingotune: Called
) -> None:
    run = str(finished)
    texts = ["gut\tja", "bad <b>\x1b[31m", "とても良い " * 200]
    (tmp_path / "t.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    write(tmp_path / "t.jsonl", [{"body": text, "n": n} for n, text in enumerate(texts)])
    ways = [
        lingotune("predict", run, "--json", *texts),
        lingotune("predict", run, "--json", given="\n".join(texts)),
        lingotune("predict", run, "--json", "--file", str(tmp_path / "t.txt")),
        lingotune("predict", run, "--json", "--file", f"{tmp_path}/*.jsonl", "--column", "body"),
    ]
    told = [[json.loads(line) for line in done.stdout.splitlines()] for done in ways]
    assert all(one == told[0] for one in told)
    quicker = "note: this machine computes in bf16: --bf16 is quicker, and less exact\n"
    of_files = quicker if computes_bf16() else ""
    assert [done.stderr for done in ways] == ["", "", of_files, of_files]
    assert [row["text"] for row in told[0]] == texts
    for row in told[0]:
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
    lines = lingotune("predict", run, *texts).stdout.splitlines()
    assert len(lines) == 3 and "\x1b" not in lines[1] and "<b>" in lines[1]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            ["--file", "none.txt"],
            "--file=none.txt\n      there is no such file or folder\n      fix: ",
        ),
        (["--file", "t.tx"], "fix: --file=t.txt"),
        (["--file", "n?.txt"], "no file matches the pattern"),
        (["--file", "latin.txt"], "latin.txt:2\n      is not UTF-8: byte 0xe9"),
        (
            ["--file", "half.jsonl", "--column", "body"],
            "half.jsonl:1\n      has half a surrogate pair, U+D83D, in 'body'",
        ),
        (["fine", "\udcff"], "text 2 of the command\n      has half a surrogate pair, U+DCFF\n"),
        (["fine", " \u3000"], "text 2 of the command\n      has no text\n"),
        (["--file", "none.csv"], "there is no such file"),
        (
            ["--file", "t.jsonl"],
            "has no text in 'review_body'; its columns: id, body\n      fix: --column body\n",
        ),
        (["--file", "t.jsonl", "a text"], "both given"),
        (["--column", "x", "a text"], "no effect without --file"),
        (["--column", "x", "--file", "t.txt"], "has no effect: each line of a .txt file is a text"),
        ([], "no text was given"),
    ],
)
def test_texts_that_cannot_be_read(
    finished: Path,
    typed: list[str],
    said: str,
    tmp_path: Path,
    lingotune: Called,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(tmp_path / "t.jsonl", [{"id": "of many characters", "body": "a text"}])
    (tmp_path / "half.jsonl").write_text('{"body": "\\ud83d"}')
    (tmp_path / "t.txt").write_text("x")
    (tmp_path / "latin.txt").write_bytes(b"x\ncaf\xe9\nna\xc3\xafve\n")
    monkeypatch.chdir(tmp_path)
    done = lingotune("predict", str(finished), *typed)
    code = 3 if "is not UTF-8" in said else 2
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr


def test_standard_input_that_is_no_utf8(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = TextIOWrapper(BytesIO(b"fine\n\ncaf\xe9\n"), encoding="ascii")
    monkeypatch.setattr("sys.stdin", given)
    assert exit_code_of(lambda: main(["predict", str(finished)])) == 2
    assert "standard input:3\n      has half a surrogate pair, U+DCE9" in capsys.readouterr().err


def test_a_dash_stands_for_standard_input(finished: Path, lingotune: Called) -> None:
    told = [lingotune("predict", str(finished), *dash, given="gut\n") for dash in ([], ["-"])]
    assert told[0] == told[1] and told[0].stdout.endswith("gut\n")


def test_files_in_other_encodings_are_read_and_told(
    finished: Path, tmp_path: Path, lingotune: Called
) -> None:
    (tmp_path / "a.txt").write_bytes("schön\n“gut”, 5 €\n".encode("cp1252"))
    done = lingotune("predict", str(finished), "--json", "--file", f"{tmp_path}/a.txt")
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == [
        "schön",
        "“gut”, 5 €",
    ]
    assert "a.txt: read as cp1252, since it is not UTF-8" in done.stderr


def test_globs_of_text_files(finished: Path, tmp_path: Path, lingotune: Called) -> None:
    for name in ("e1.txt", "e2.txt", "f.txt"):
        (tmp_path / name).write_text(f"in {name}\n\n")
    write(tmp_path / "e3.jsonl", [{"review_body": "in e3.jsonl"}])
    done = lingotune("predict", str(finished), "--json", "--file", f"{tmp_path}/e?.*")
    told = [json.loads(line)["text"] for line in done.stdout.splitlines()]
    assert told == ["in e1.txt", "in e2.txt", "in e3.jsonl"], done.stderr


@pytest.mark.parametrize("normalize", [True, False])
def test_texts_are_prepared_as_those_that_are_scored(
    finished: Path, tmp_path: Path, lingotune: Called, normalize: bool
) -> None:
    """The same rows, with titles and in decomposed form: the same answers."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    job = load_job(run / "job.yaml")[0]
    job.data.columns.title, job.data.columns.text, job.data.normalize = "title", "text", normalize
    (run / "job.yaml").write_bytes(dump_job(job))
    rows = [
        {**row, "title": "Sehr scho\u0308n", "text": f"cafe\u0301 {row['text']}"}
        for row in reviews(9)
    ]
    source = write(tmp_path / "other.jsonl", rows)
    columns = ["data.columns.title=title", f"data.normalize={str(normalize).lower()}"]
    done = lingotune("evaluate", str(run), *FILES, *columns, f"data.path={source}")
    where = Path(done.stdout.splitlines()[-1].removeprefix("see "))
    scored = parquet.read_table(where / "predictions.parquet").to_pylist()
    done = lingotune("predict", str(run), "--json", "--file", str(source))
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == len(scored) == 9, done.stderr
    for one, row in zip(said, scored):
        assert one["probabilities"]["neutral"] == pytest.approx(
            row["probability_neutral"], abs=1e-6
        )
    assert said[0]["text"].startswith(
        "Sehr sch\u00f6n\ncaf\u00e9 " if normalize else "Sehr scho\u0308n\n"
    )
    assert ("\u00e9" in lingotune("predict", str(run), "e\u0301").stdout) is normalize
