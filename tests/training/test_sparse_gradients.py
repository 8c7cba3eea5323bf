"""Exchanging only the touched rows of the embeddings' gradient gives the weights of plain DDP."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing
import warm
from conftest import compose, run
from killing import SMALL, metrics, outcome
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from lingotune.config.jobfile import dump_job, job_of
from lingotune.estimate.row_exchange import WORTH, Link, Traffic, pays
from lingotune.launch.free_port import free_port
from lingotune.modeling.compact_embedding import compact
from lingotune.training.checkpoints import MANIFEST, read
from lingotune.training.embedding_exchange import _obstacle
from lingotune.training.sparse_gradients import RowExchange

VOCABULARY = 200
USED = np.arange(0, VOCABULARY, 3)


def trained(rank: int, *, rows: bool, small: bool) -> tuple[Any, int]:
    """Four updates of two parts each; the weights, and how many rows of the gradient were sent."""
    torch.manual_seed(0)
    sizes = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "num_labels": 3}
    model = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=VOCABULARY, **sizes))
    if small:
        assert compact(model, USED)
    found: dict[str, Any] = {}
    if rows:
        RowExchange(model, lambda: found["wrapped"])
    wrapped = found["wrapped"] = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    sent = 0
    draw = torch.Generator().manual_seed(rank)
    for update in range(4):
        for part in range(2):
            # Rank 0 touches few rows in one update and many in the next; ranks differ.
            length = 3 + rank + 5 * (update % 2)
            ids = torch.from_numpy(USED)[torch.randint(0, len(USED), (4, length), generator=draw)]
            labels = torch.randint(0, 3, (4,), generator=draw)
            with contextlib.nullcontext() if part else wrapped.no_sync():
                torch.manual_seed(update)
                wrapped(input_ids=ids, labels=labels).loss.backward()
        gradient = model.get_input_embeddings().weight.grad
        sent = max(sent, int((gradient != 0).any(1).sum()))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    model(input_ids=torch.from_numpy(USED[:4])[None])  # notes nothing
    return model.state_dict(), sent


def process(rank: int, world: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=world)
    for small in (False, True):
        plain, touched = trained(rank, rows=False, small=small)
        sparse, sent = trained(rank, rows=True, small=small)
        assert sent == touched
        torch.save((plain, sparse), Path(folder, f"{small}-{rank}.pt"))
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_processes_train_the_same_model_either_way(world: int, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(process, (world, free_port(), str(tmp_path)), world)
    for small in (False, True):
        models = [torch.load(tmp_path / f"{small}-{rank}.pt") for rank in range(world)]
        for plain, sparse in models:
            for name, value in plain.items():
                if world == 2:
                    assert torch.equal(sparse[name], value), name
                assert torch.allclose(sparse[name], value, rtol=1e-4, atol=1e-6), name
                assert torch.equal(sparse[name], models[0][1][name]), "ranks agree"


# --- sums of random rows --------------------------------------------------------------------------


def compared(world: int, examples: int) -> dict[str, Any]:
    done = run("tests/exchanging.py", "sums", str(world), str(examples), OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found.pop("agree"), "all processes have the same gradient"
    assert "rows of the word embeddings: this model uses them without" in found.pop("refused")
    return found


def test_two_processes_get_the_same_bits() -> None:
    assert compared(2, 12) == {"differing": 0, "worst": 0.0}


@pytest.mark.slow
def test_three_processes_get_the_same_sum_up_to_rounding() -> None:
    found = compared(3, 40)
    assert 0 < found["worst"] < 1e-6 and found["differing"], "the order of addition differs"


# --- the decision -----------------------------------------------------------------------------------


def test_rows_pay_where_the_network_is_slow_or_the_embeddings_are_large() -> None:
    reviews = Traffic(42_000, 1_100, 768)
    assert reviews.whole_bytes == 42_000 * 768 * 4
    assert reviews.touched_bytes == 1_100 * 768 * 4 + 42_000
    assert pays(reviews, Link(1e-4, 1e9)) and pays(reviews, Link(1e-4, 125e6))
    assert not pays(reviews, Link(1e-5, 100e9)), "a millisecond is not worth it"
    assert not pays(Traffic(42_000, 42_000, 768), Link(1e-4, 125e6)), "nothing is left out"
    saved = reviews.whole_bytes - reviews.touched_bytes
    assert pays(reviews, Link(0.0, saved / (1.01 * WORTH)))
    assert not pays(reviews, Link(0.0, saved / (0.99 * WORTH)))
    assert not pays(reviews, Link(1.0, 1e9)), "two collectives instead of one"


class Tied(nn.Module):
    """Embeddings, and a layer that may have their weights."""

    def __init__(self, words: nn.Embedding, *, tied: bool = False) -> None:
        super().__init__()
        self.words, self.out = words, nn.Linear(4, 9, bias=False)
        if tied:
            self.out.weight = words.weight

    def get_input_embeddings(self) -> nn.Module:
        return self.words


def test_embeddings_whose_touched_rows_are_not_all_are_exchanged_whole() -> None:
    assert _obstacle(Tied(nn.Embedding(9, 4, padding_idx=0))) is None
    assert _obstacle(Tied(nn.Embedding(9, 4), tied=True)) == "another layer has the same weights"
    assert _obstacle(Tied(nn.Embedding(9, 4, sparse=True))) == "their gradient is sparse"
    frozen = nn.Embedding(9, 4).requires_grad_(requires_grad=False)
    assert _obstacle(Tied(frozen)) == "they are not trained"


# --- runs -------------------------------------------------------------------------------------------

TWO = [
    *SMALL, "cluster.processes=2", "per_device_bs=4", "training.max_steps=8",
    "training.save_steps=null", "training.eval_strategy=none", "training.max_grad_norm=0.05",
    "evaluation.resamples=0",
]  # fmt: skip


def trained_runs(
    folder: Path, jobs: dict[str, list[str]], processes: int, bandwidth: float = 1e9
) -> dict[str, str]:
    """Run jobs on so many processes, on a network of so many bytes per second; returns rank 0's logs."""
    words = []
    for name, typed in jobs.items():
        path = folder / f"{name}.yaml"
        path.write_bytes(dump_job(job_of(compose(*typed))))
        words += [str(path), str(folder / name)]
    given = {**warm.WITHOUT_PICTURES, "OMP_NUM_THREADS": "1"}
    done = run("tests/exchanging.py", "run", str(processes), str(bandwidth), *words, **given)
    logs = [
        Path(f"{folder / name}.{rank}.log").read_text()
        for name in jobs
        for rank in range(processes)
    ]
    assert done.returncode == 0, "\n".join([done.stderr, *logs])
    return dict(zip(jobs, logs[::processes]))


def told(log: str) -> list[str]:
    before, _, _ = log.rpartition("\n")
    return [line for line in before.split("\n") if "exchange of the word embeddings" in line]


def test_two_processes_train_to_the_same_bits(tmp_path: Path) -> None:
    ways = {
        "all": ["training.row_exchange=false"],
        "rows": ["training.row_exchange=true"],
        "open": [],
    }
    logs = trained_runs(tmp_path, {name: [*TWO, *typed] for name, typed in ways.items()}, 2)
    expected = outcome(tmp_path / "all")
    assert min(dict(expected["curves"]["train/grad_norm"]).values()) > 0.05, "all are clipped"
    for name in ("rows", "open"):
        assert outcome(tmp_path / name) == expected, name
    found = {name: metrics(tmp_path / name)["training"]["exchange"] for name in ways}
    assert [found[name]["touched_only"] for name in ways] == [False, True, False]
    assert found["open"]["because"] == "measured" and "whole_seconds" in found["open"]
    assert 0 < found["rows"]["touched"] < found["rows"]["rows"]
    assert "all 4" in told(logs["open"])[0] and "(measured)" in told(logs["open"])[0]
    assert "(training.row_exchange=true)" in told(logs["rows"])[0]
    page = (tmp_path / "rows" / "report.html").read_text(encoding="utf-8")
    assert "about" in page and "exchange of the embeddings" in page


VARIANTS = {
    "parts without a text at the end of an epoch": [
        "data.sample.train_rows=33", "scaling.accumulation=4", "training.max_steps=null", "epochs=2",
    ],
    "all embeddings, weight decay": [
        "training.compact_vocabulary=false", "training.weight_decay=0.01", "model.scratch.vocab_size=900",
    ],
    "layers computed again, adafactor": [
        "training.gradient_checkpointing=true", "training.optimizer=adafactor",
    ],
    "without padding, a frozen layer": [
        "batching.padding_free=true", "model.scratch.layers=2", "training.freeze_layers=1",
    ],
    "random batches, a class weighted": ["batching.mode=random", "data.balance=weights"],
}  # fmt: skip


@pytest.mark.slow
def test_whatever_else_a_job_asks_for_two_processes_come_to_the_same_bits(tmp_path: Path) -> None:
    jobs = {
        f"{number}-{way}": [*TWO, *typed, f"training.row_exchange={way}"]
        for number, typed in enumerate(VARIANTS.values())
        for way in ("true", "false")
    }
    trained_runs(tmp_path, jobs, 2)
    for number, name in enumerate(VARIANTS):
        assert outcome(tmp_path / f"{number}-true") == outcome(tmp_path / f"{number}-false"), name
        assert metrics(tmp_path / f"{number}-true")["training"]["exchange"]["touched_only"], name


@pytest.mark.slow
def test_embeddings_that_are_not_trained_are_not_exchanged(tmp_path: Path) -> None:
    ways = {"frozen": ["training.freeze_embeddings=true"], "lora": ["training.lora.rank=4"]}
    logs = trained_runs(
        tmp_path, {name: [*TWO, *typed] for name, typed in ways.items()}, 2, bandwidth=1
    )
    for name, log in logs.items():
        assert told(log) == [] and "exchange" not in metrics(tmp_path / name)["training"]
    assert "word embeddings: frozen" in logs["frozen"] and "LoRA" in logs["lora"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "before", "after"), [(2, 1e5, 1e12), (3, 1e5, 1e12), (3, 1e12, 1e5)]
)
def test_a_resumed_run_keeps_to_what_was_decided(
    processes: int, before: float, after: float, tmp_path: Path
) -> None:
    """Of three processes: the way, and the groups of gradients, decide the order of addition."""
    job = [
        *SMALL, f"cluster.processes={processes}", "per_device_bs=4", "training.max_steps=8",
        "evaluation.resamples=0",
    ]  # fmt: skip
    logs = trained_runs(tmp_path, {"run": job}, processes, bandwidth=before)
    run_folder, only = tmp_path / "run", before < after
    assert ("instead of" in told(logs["run"])[0]) is only
    assert read(run_folder / "checkpoints/checkpoint-8").touched_rows_only is only
    expected = outcome(run_folder)
    assert metrics(run_folder)["training"]["exchange"]["because"] == "measured"
    for name in ("metrics.json", "model/metrics.json", f"checkpoints/checkpoint-8/{MANIFEST}"):
        (run_folder / name).unlink()
    logs = trained_runs(tmp_path, {"run": job}, processes, bandwidth=after)
    assert "resuming at step 6 of 8" in logs["run"] and "(as before)" in told(logs["run"])[-1]
    found = metrics(run_folder)["training"]["exchange"]
    assert found["touched_only"] is only and found["because"] == "as before"
    assert outcome(run_folder) == expected
