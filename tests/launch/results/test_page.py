"""The page of a sweep: complete, self-contained, safe whatever is in it, and without script errors."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from chromium import in_chromium, needs_chromium
from sweep_folders import make_run, make_sweep

from lingotune.cli import report
from lingotune.config.problems import ConfigError
from lingotune.launch.results.charts import pareto, positions
from lingotune.launch.results.collect import leaderboard
from lingotune.launch.results.entries import Entry, Leaderboard, ranked
from lingotune.launch.results.page import saved_usd, write_page
from lingotune.launch.sweeps.metric import Metric
from lingotune.launch.sweeps.trial import Evaluation, State

HOSTILE = "</p><script>alert(1)</script> $x^2$ {{ 7777*7777 }} \u202etxt\x07 <img src=http://x>"
TRIALS = [
    *(({"lr": "1e-05", "seed": str(n)}, State.completed, 0.6 + n / 100) for n in (1, 2, 3)),
    *(({"lr": "3e-05", "seed": str(n)}, State.completed, 0.8 + n / 100) for n in (1, 2, 3)),
    ({"lr": "5e-05", "seed": "1"}, State.failed, None),
    ({"lr": "5e-05", "seed": "2"}, State.pruned, 0.3),
    ({"lr": "1e-04", "seed": "1"}, State.running, 0.4),
    *(({"lr": "1e-03", "seed": str(n)}, State.waiting, None) for n in (1, 2)),
]


class Page(HTMLParser):
    """Elements, attributes, texts, and the cells of the tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: list[str] = []
        self._rows: list[list[str]] | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "table":
            self._rows = self.tables.setdefault(dict(attrs).get("id") or "", [])
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in ("td", "th") and self._rows is not None:
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._rows = None

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._rows and self._rows[-1]:
            self._rows[-1][-1] += data.strip()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep with trials of every state, of which the second is not fetched."""
    runs = tmp_path_factory.mktemp("home") / "runs"
    for number, (varies, state, score) in enumerate(TRIALS, 1):
        if state is State.completed and score is not None and number != 2:
            typed = [f"{key}={value}" for key, value in varies.items()]
            make_run(runs / f"job-{number}", *typed, validation=score, luck=number)
    (runs / "job-6" / "report.html").touch()
    return make_sweep(runs / "tickets", TRIALS)


@pytest.fixture(scope="module")
def page(sweep: Path) -> Page:
    path = write_page(leaderboard([str(sweep)]), sweep)
    assert path == sweep / "sweep.html"
    return Page(path.read_text(encoding="utf-8"))


def check_alone(page: Page) -> None:
    """One script of our own, nothing from elsewhere, no handler."""
    assert page.tags.count("script") == 1
    assert not {"iframe", "object", "embed", "link", "img", "form", "base"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on") and name not in ("src", "srcset", "action")
        assert name != "style" or "url(" not in (value or "").replace("url(#", "")
        if tag != "a" and name in ("href", "xlink:href"):
            assert (value or "").startswith("#")


def test_it_stands_alone_and_has_every_part(page: Page) -> None:
    check_alone(page)
    assert {"board", "heat", "stopped", "trials"} <= page.tables.keys()
    pictures = {
        value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")
    }
    assert pictures == {"macro_f1 against lr", "Learning curves", "Money against quality"}


def test_the_leaderboard_is_that_of_the_terminal(page: Page) -> None:
    head, first, second = page.tables["board"]
    assert head[:3] == ["best", "lr", "seeds"] and head[-1] == "run"
    assert first[1:3] == ["3e-05", "3"] and second[1:3] == ["1e-05", "3"]
    assert first[-1] == "job-6"
    links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert links == ["../job-6/report.html"] * 2, "where there is a page"


def test_every_trial_is_told(page: Page) -> None:
    rows = {row[0]: row[1:] for row in page.tables["trials"][1:]}
    assert len(rows) == len(TRIALS)
    assert rows["2"][1:4] == ["completed", "0.62", "not fetched yet"]
    assert rows["7"][1:4] == ["failed", "", "AlgorithmError: loss is nan at step 212"]
    assert rows["8"][1] == "pruned" and rows["8"][3] == "macro_f1 0.3 by step 10 of 30"
    assert rows["9"][1] == "running" and rows["10"][1:] == ["waiting", "", "", ""]
    assert "11 jobs: 6 completed, 1 failed, 1 pruned, 1 running, 2 waiting." in page.text
    assert "1 run is not fetched yet (2)" in page.text


def test_what_was_stopped_and_saved(page: Page) -> None:
    _, row = page.tables["stopped"]
    assert row[0] == "8" and row[3] == "67%" and float(row[4]) > 0
    assert "1 trial was stopped early, after 10 of 30 updates; that saved about" in page.text


def test_the_heat_map_has_languages_and_configurations(page: Page) -> None:
    head, *rows = page.tables["heat"]
    assert head == ["lr", "de", "en", "ja"] and [row[0] for row in rows] == ["3e-05", "1e-05"]
    assert all(0 <= float(cell) <= 1 for row in rows for cell in row[1:])


def test_what_is_hostile_stays_text(tmp_path: Path) -> None:
    trials = [
        ({"data.path": HOSTILE, "lr": "1"}, State.completed, 0.5),
        ({"data.path": "b", "lr": HOSTILE}, State.completed, 0.6),
        ({"data.path": HOSTILE, "lr": "2"}, State.failed, None),
        ({"data.path": HOSTILE[12:50], "lr": HOSTILE[30:70]}, State.completed, 0.4),  # not cut
    ]
    folder = make_sweep(tmp_path / "a <b>sweep", trials)
    page = Page(write_page(leaderboard([str(folder)]), folder).read_text(encoding="utf-8"))
    check_alone(page)
    assert "60481729" not in page.text and "</p><script>..." in page.text
    assert "alert(1)</script> $x^2$" in page.text
    assert "\u202e" not in page.text and "\x07" not in page.text


@pytest.mark.parametrize(
    "trials",
    [
        [],
        [({}, State.completed, 0.5)],
        [({"lr": "1"}, State.waiting, None)],
        [({"lr": "1"}, State.failed, None), ({"lr": "2"}, State.pruned, None)],
        [({"model": f"m{n}", "lr": f"{n}e-5"}, State.completed, 0.5) for n in range(12)],
    ],
    ids=["no trial", "one", "waiting", "none well", "all equal"],
)
def test_sweeps_of_every_shape(tmp_path: Path, trials: list[object]) -> None:
    folder = make_sweep(tmp_path / "sweep", trials)  # type: ignore[arg-type]
    check_alone(Page(write_page(leaderboard([str(folder)]), folder).read_text(encoding="utf-8")))


def test_200_jobs_stay_below_3_megabytes(tmp_path: Path) -> None:
    steps = [Evaluation(n, 60, {"macro_f1": n / 60, "loss": 1.0}) for n in range(1, 61)]
    entries = [
        Entry(
            n, {"lr": f"{n % 10 + 1}e-5", "model": f"m{n % 5}", "seed": str(n % 2)}, f"job-{n}",
            State.pruned if n % 4 == 0 else State.completed,
            validation={"macro_f1": n / 200, **{f"macro_f1_l{k}": n / 200 for k in range(30)}},
            evaluations=tuple(steps[: 20 if n % 4 == 0 else 60]), usd=float(n), seconds=60.0,
        )
        for n in range(1, 201)
    ]  # fmt: skip
    board = Leaderboard(
        "many", metric := Metric("macro_f1"), ("lr", "model", "seed"), ranked(entries, metric)
    )
    assert write_page(board, tmp_path).stat().st_size < 1_500_000


def test_without_matplotlib_there_are_no_pictures(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    html = write_page(leaderboard([str(sweep)]), tmp_path).read_text(encoding="utf-8")
    assert "svg" not in Page(html).tags and "board" in Page(html).tables


# --- the command ----------------------------------------------------------------------------------


def test_the_command_takes_a_sweep_or_a_folder_of_runs(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sweep.parent.parent)
    for typed, page in (
        ("tickets", "runs/tickets"),
        ("runs/tickets", "runs/tickets"),
        ("runs", "runs"),
    ):
        assert report.main([typed]) == 0
        assert capsys.readouterr().out == f"{page}/sweep.html\n"
    with pytest.raises(ConfigError, match="has no effect on the page of many runs"):
        report.main(["tickets", "--data", "prepared"])


# --- figures --------------------------------------------------------------------------------------


def test_numbers_that_span_a_decade_stand_on_a_logarithmic_axis() -> None:
    assert positions(["1e-5", "1e-3"])[0] == [-5, -3]
    assert positions(["16", "32", "8"])[0] == [16, 32, 8]
    assert positions(["0", "100"])[0] == [0, 100]
    places, ticks = positions(["b", "a", "b"])
    assert places == [0, 1, 0] and ticks == {0: "b", 1: "a"}


def test_the_front_has_what_none_beats_at_its_price() -> None:
    given = [(1.0, 0.5), (2.0, 0.4), (3.0, 0.9), (3.0, 0.8), (5.0, 0.9)]
    entries = [
        Entry(
            n, {"lr": str(n)}, f"job-{n}", State.completed, validation={"macro_f1": score}, usd=usd
        )
        for n, (usd, score) in enumerate(given)
    ]
    board = Leaderboard("x", metric := Metric("macro_f1"), ("lr",), ranked(entries, metric))
    assert [of.usd for of in pareto(board)] == [1.0, 3.0]


def test_money_is_saved_against_the_plan_or_the_own_pace() -> None:
    half = (Evaluation(5, 10, {}),)
    given = {"usd": 2.0, "evaluations": half}
    assert saved_usd(Entry(1, {}, "a", State.pruned, **given)) == 2.0  # type: ignore[arg-type]
    planned = Entry(1, {}, "a", State.pruned, expected_usd=7.0, **given)  # type: ignore[arg-type]
    assert saved_usd(planned) == 5.0
    assert saved_usd(Entry(1, {}, "a", State.pruned, evaluations=half)) is None


# --- in a browser ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("keys", "width"), [(2, 1400), (5, 1400)])
@needs_chromium
def test_the_leaderboard_fits_its_page(keys: int, width: int, tmp_path: Path) -> None:
    """With intervals, and paths that differ at their ends; at 1400 px nothing scrolls sideways."""
    names = [
        "model.name_or_path",
        "lr",
        "per_device_bs",
        "training.weight_decay",
        "training.warmup_ratio",
    ]
    path = "models/checkpoints/2026-11/xlm-roberta-base-on-reviews-step-12000"
    entries = [
        Entry(
            n, {key: f"{path}{n}" if place == 0 else f"{n}e-05" for place, key in enumerate(names[:keys])},
            f"tickets-xlm-roberta-{n:010}", State.completed, validation={"macro_f1": n / 9},
            usd=42.23, seconds=5400.0,
        )
        for n in range(1, 4)
    ]  # fmt: skip
    board = Leaderboard(
        "wide", Metric("macro_f1"), tuple(names[:keys]), ranked(entries, Metric("macro_f1"))
    )
    html = write_page(board, tmp_path).read_text(encoding="utf-8")
    told = "<script>document.title = ['.scroll'].map(s => [...document.querySelectorAll(s)])[0]"
    told += ".slice(0, 1).map(e => `${e.scrollWidth} of ${e.clientWidth}`)[0]</script>"
    policy = re.compile("script-src '[^']*'")
    (tmp_path / "told.html").write_text(policy.sub("script-src 'unsafe-inline'", html) + told)
    dom, _ = in_chromium(tmp_path / "told.html", tmp_path, f"--window-size={width},900")
    found = re.search(r"<title>(\d+) of (\d+)</title>", dom)
    assert found and found[1] == found[2], found and found[0]
    assert "step-120001" in html and "step-120003" in html


@needs_chromium
def test_its_script_runs_and_sorts(sweep: Path, page: Page, tmp_path: Path) -> None:
    path = sweep / "sweep.html"
    html, log = in_chromium(path, tmp_path)
    assert "CONSOLE" not in log and html.count("<table") == 4
    text = path.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    press = """<script>
      const out = [];
      const rows = () => [...document.querySelectorAll("#board tbody tr")];
      const column = (n) => rows().map((row) => row.cells[n].textContent);
      const press = (n) => document.querySelectorAll("#board thead button")[n].click();
      press(1); out.push(column(1)); press(1); out.push(column(1)); press(3); out.push(column(1));
      document.title = JSON.stringify(out);
    </script></body>"""
    pressed = tmp_path / "pressed.html"
    pressed.write_text(text.replace("</body>", press), encoding="utf-8")
    html, log = in_chromium(pressed, tmp_path)
    assert "CONSOLE" not in log, log
    found = re.search(r"<title>(.*?)</title>", html)
    assert found is not None
    assert json.loads(found[1]) == [["3e-05", "1e-05"], ["1e-05", "3e-05"], ["3e-05", "1e-05"]]


@needs_chromium
def test_no_other_script_may_run(sweep: Path, page: Page, tmp_path: Path) -> None:
    text = (sweep / "sweep.html").read_text(encoding="utf-8")
    hostile = tmp_path / "hostile.html"
    hostile.write_text(text.replace("</body>", "<script>document.title = 'ran'</script></body>"))
    html, log = in_chromium(hostile, tmp_path)
    assert "<title>tickets</title>" in html and "Content Security Policy" in log
