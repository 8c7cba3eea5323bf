"""Imports without what a job does not use, in processes that allow it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from lingotune.config.schema import (
    CodeConfig,
    DistillationConfig,
    JobConfig,
    LoraConfig,
    ModelConfig,
    Tracker,
    TrainingConfig,
)
from lingotune.system import lean_imports
from lingotune.system.lean_imports import PACKAGES, allow_lean, lean, unused_by

SOME = "colorsys"
"""A module that nothing here imports."""
JOB = JobConfig(model=ModelConfig(name_or_path=None))


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Allow lean imports in this process, which leave out a module of the standard library."""
    monkeypatch.setattr(lean_imports, "_left_out", (SOME,))
    monkeypatch.delitem(sys.modules, SOME, raising=False)
    yield
    gc.unfreeze()


def test_a_package_is_missing_within_and_there_afterwards(allowed: None) -> None:
    with lean():
        assert find_spec(SOME) is None
        with pytest.raises(ModuleNotFoundError):
            import_module(SOME)
        assert not gc.isenabled()
    assert find_spec(SOME)
    assert import_module(SOME).rgb_to_hsv
    assert gc.isenabled()


def test_an_error_within_leaves_nothing_hidden(allowed: None) -> None:
    with pytest.raises(RuntimeError), lean():
        raise RuntimeError
    assert SOME not in sys.modules and gc.isenabled()


def test_what_is_imported_already_stays(allowed: None) -> None:
    module = import_module(SOME)
    with lean():
        assert import_module(SOME) is module
    assert sys.modules[SOME] is module


def test_nothing_changes_where_nobody_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook, which may go on to use what we do not."""
    monkeypatch.setattr(lean_imports, "_left_out", None)
    with lean():
        assert find_spec("datasets") and gc.isenabled()


def test_transformers_that_knows_what_is_there_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lean_imports, "_left_out", None)
    monkeypatch.setitem(sys.modules, "transformers", sys)
    allow_lean(JOB, None)
    assert lean_imports._left_out is None


OTHER_CODE = {
    "own code": replace(JOB, code=CodeConfig(file="own.py")),
    "an installed callback": replace(JOB, code=CodeConfig(callbacks=["pause"])),
    "a model's own": replace(JOB, model=ModelConfig(name_or_path="a/b", remote_code="0" * 40)),
    "a teacher, perhaps with a builder": replace(
        JOB, distillation=DistillationConfig(teacher="run")
    ),
    "a tracker": replace(JOB, training=TrainingConfig(report_to=[Tracker.mlflow])),
}


@pytest.mark.parametrize("job", OTHER_CODE.values(), ids=OTHER_CODE)
def test_other_code_finds_all_that_is_installed(
    job: JobConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lean_imports, "_left_out", None)
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    ended: list[Callable[[], object]] = []
    monkeypatch.setattr("atexit.register", ended.append)
    allow_lean(job, None)
    assert (lean_imports._left_out, ended) == (None, [])
    allow_lean(JOB, None)
    assert (lean_imports._left_out, ended) == (PACKAGES, [gc.freeze])


def test_peft_stays_where_it_may_be_needed(tmp_path: Path) -> None:
    with_lora = replace(JOB, training=TrainingConfig(lora=LoraConfig(rank=4)))
    assert "peft" in unused_by(JOB, None)
    assert "peft" in unused_by(None, str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    for job, model in [(with_lora, None), (JOB, "of/the_hub"), (JOB, str(tmp_path))]:
        assert set(PACKAGES) - set(unused_by(job, model)) == {"peft"}
