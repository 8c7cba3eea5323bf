"""The README: its first screen, its length, its figures and its layout. Its commands: test_docs.py."""

from __future__ import annotations

import re
import struct

import pytest
from conftest import ROOT
from documents import README, blocks_of, headings_of

TEXT = README.read_text(encoding="utf-8")
FIRST_SCREEN = "\n".join(TEXT.splitlines()[:45])
INTERVAL = r"\d\.\d{3} \(\d\.\d{3}-\d\.\d{3}\)"
SCORES = rf"(all|[a-z]{{2}}) +\d+  {INTERVAL}  {INTERVAL} +\d\.\d{{3}} +\d\.\d{{3}}  {INTERVAL}"


def test_the_first_screen_has_the_two_commands_of_a_fresh_machine() -> None:
    first = blocks_of(README)[0]
    assert first.commands == ["make demo", "make test"]
    assert "python launch.py cluster=p4d_24xl per_device_bs=16\n" in FIRST_SCREEN


def test_it_is_short() -> None:
    """As `wc -w` counts, code included."""
    assert len(TEXT.split()) <= 900


def test_its_sections() -> None:
    assert headings_of(README)[1:] == [
        "How it works", "Your data", "Add a model, dataset or cluster", "Python API",
        "What is in a run folder", "Layout", "Status", "Develop",
    ]  # fmt: skip


def score_block() -> list[str]:
    """Lines of the demo's scores, header first."""
    return blocks_of(README)[1].text.splitlines()


def test_the_scores_have_the_shape_of_the_table() -> None:
    header, *rows = score_block()
    columns = ["rows", "accuracy", "macro-F1", "majority", "calibration", "stars off"]
    assert re.split(r"\s{2,}", header.strip()) == columns
    assert rows[0].startswith("all") and len(rows) >= 2
    for row in rows:
        assert re.fullmatch(SCORES, row) and len(row) == len(header), row


@pytest.mark.slow
def test_the_scores_are_those_of_the_demo(tmp_path_factory: pytest.TempPathFactory) -> None:
    """To two hundredths, as processors round differently; `python tools/readme_figures.py` renews them."""
    from conftest import run

    fp32 = "training.precision=fp32"
    done = run(str(ROOT / "train.py"), fp32, cwd=tmp_path_factory.mktemp("demo"))
    assert done.returncode == 0, done.stderr
    printed = {row.split()[0]: row for row in done.stdout.splitlines() if re.match(SCORES, row)}
    header, *rows = score_block()
    assert header in done.stdout
    for row in rows:
        shown, real = (
            float(re.findall(r"\d\.\d{3}", r)[0]) for r in (row, printed[row.split()[0]])
        )
        assert abs(shown - real) <= 0.02, (row, printed[row.split()[0]])


def test_the_picture_is_small_and_wide_enough() -> None:
    content = (ROOT / "docs" / "images" / "report.png").read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) < 300_000
    width, height = struct.unpack(">II", content[16:24])
    assert width == 1400 and height <= 1000


def test_the_layout_names_every_package() -> None:
    layout = TEXT[TEXT.index("## Layout") :]
    listed = re.findall(r"^  (\w+)/ ", layout, re.MULTILINE)
    packages = {p.parent.name for p in (ROOT / "src" / "lingotune").glob("*/__init__.py")}
    assert set(listed) == packages and len(listed) == len(packages)
