"""A run folder that is deleted while it is trained in: told, with exit code 5; no run looks done."""

from __future__ import annotations

from pathlib import Path

import pytest
import warm
from conftest import ROOT, run

from lingotune.runs.folder import folders_in
from lingotune.training.checkpoints import begin

DELETES = """
import shutil
from pathlib import Path
from transformers import TrainerCallback
from lingotune.plugins import callback

@callback
class Deletes(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == {step}:
            shutil.rmtree(Path(args.output_dir).parent)
"""


@pytest.mark.parametrize("step", [1, 4])
def test_it_is_told_at_the_next_checkpoint_or_at_the_end(step: int, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(DELETES.format(step=step), encoding="utf-8")
    typed = [
        "model.scratch.dim=16", "model.scratch.layers=1", "model.scratch.hidden_dim=16",
        "model.scratch.vocab_size=200", "data.sample.train_rows=10", "data.sample.validation_rows=5",
        "data.sample.test_rows=5", "data.max_length=16", "training.max_steps=4", "training.save_steps=2",
        "training.eval_strategy=none", "code.file=mine.py", "code.callbacks=[Deletes]", "runs_dir=r",
    ]  # fmt: skip
    done = run(str(ROOT / "train.py"), *typed, cwd=tmp_path, **warm.WITHOUT_PICTURES)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "was deleted or moved while it was in use" in done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.glob("r/*/metrics.json"))


def test_neither_checkpoint_nor_model_make_the_folder_anew(tmp_path: Path) -> None:
    folders = folders_in(tmp_path / "run")
    with pytest.raises(FileNotFoundError):
        begin(folders.checkpoints / "checkpoint-1")
    with pytest.raises(FileNotFoundError):
        folders.check_there()
    assert not folders.run.exists()
