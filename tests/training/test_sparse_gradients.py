"""Sending only the touched rows of the embeddings' gradient gives the weights of plain DDP."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from lingotune.modeling.compact_embedding import compact
from lingotune.training.sparse_gradients import RowExchange, union

WORLD, VOCABULARY = 3, 200
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


def process(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=WORLD)
    found = union(torch.tensor([1 + rank, 5, 100 + rank][: 3 - rank]))
    for small in (False, True):
        plain, touched = trained(rank, rows=False, small=small)
        sparse, sent = trained(rank, rows=True, small=small)
        assert sent == touched
        torch.save((plain, sparse), Path(folder, f"{small}-{rank}.pt"))
    torch.save(found.tolist(), Path(folder, f"union-{rank}.pt"))
    distributed.destroy_process_group()


@pytest.mark.timeout(120)
@pytest.mark.slow
def test_three_processes_train_the_same_model_either_way(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(process, (port, str(tmp_path)), WORLD)
    for small in (False, True):
        models = [torch.load(tmp_path / f"{small}-{rank}.pt") for rank in range(WORLD)]
        for plain, sparse in models:
            for name, value in plain.items():
                assert torch.allclose(sparse[name], value, rtol=1e-4, atol=1e-6), name
                assert torch.equal(sparse[name], models[0][1][name]), "ranks agree"
    for rank in range(WORLD):
        assert torch.load(tmp_path / f"union-{rank}.pt") == [1, 2, 3, 5, 100]
