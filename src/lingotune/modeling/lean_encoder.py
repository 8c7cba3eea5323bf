"""Encoders of BERT's kind without what the classifier does not read: the last layer beyond the first token,
and, where it is asked for, padding.

A classifier reads the last layer's vector of the first token. Of the other tokens that layer needs keys and
values alone: five sixths of its work are left out, and the result is the same but for rounding. Without
padding the layers take the tokens of all texts one after the other, each text attending to itself (as in
Zhai et al. 2022, arXiv:2208.08124, section 3.1): by torch's attention over jagged tensors, on GPUs with
kernels for variable lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import TrainingConfig

JAGGED = (2, 5)
"""Version of torch that has attention over jagged tensors, as far as it is used here."""


REAL, OFFSETS = "real", "offsets"
"""Keys of a batch, see `Packing`; not for the model."""


@dataclass
class Packing:
    """Where the real tokens of a padded batch lie; the layers of one model share it.

    real: int64, their places in the batch taken row by row. offsets: int64, texts + 1, where in `real`
    each text begins. longest: tokens of a text at most. None = the batch keeps its padding.
    """

    real: torch.Tensor | None = None
    offsets: torch.Tensor | None = None
    longest: int = 0

    @contextmanager
    def of(self, inputs: dict[str, torch.Tensor]) -> Iterator[None]:
        """While the model runs on a batch, which loses what tells where its tokens lie."""
        self.real, self.offsets = inputs.pop(REAL, None), inputs.pop(OFFSETS, None)
        self.longest = inputs["input_ids"].shape[1]
        try:
            yield
        finally:
            self.real = self.offsets = None


class LeanLayer(nn.Module):
    """Takes the place of an encoder's layer, with that layer's own submodules under their names, so that
    weights are saved and loaded as before.

    (texts, tokens, dim) in and out; `last`: (texts, 1, dim) out. With a packing the tokens of all texts
    are one dimension between the first layer and the last. as_tuple: what the model expects.
    """

    def __init__(
        self, layer: Any, packing: Packing, *, first: bool, last: bool, as_tuple: bool
    ) -> None:
        super().__init__()
        for name, child in layer.named_children():
            self.add_module(name, child)
        self._packing, self._first, self._last, self._as_tuple = packing, first, last, as_tuple
        self.train(layer.training)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the layer on hidden states and, in whichever form the version has it, a mask."""
        hidden, mask = _given(args, kwargs)
        packed = self._packing.real is not None
        if packed and self._first:
            hidden = hidden.flatten(0, 1)[self._packing.real]
        asking = self._asking(hidden) if self._last else hidden
        query, key, value = self._projected(asking, hidden)
        context = (
            self._packed(query, key, value) if packed else self._padded(query, key, value, mask)
        )
        output = self._finished(context, asking)
        if packed and self._last:
            output = output[:, None]
        return (output,) if self._as_tuple else output

    def _asking(self, hidden: torch.Tensor) -> torch.Tensor:
        offsets = self._packing.offsets
        return hidden[:, :1] if offsets is None else hidden[offsets[:-1]]

    def _padded(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        query, key, value = (
            one.unflatten(-1, (self._heads(), -1)).transpose(1, 2) for one in (query, key, value)
        )
        attended = _mask_of(mask, query)
        found = scaled_dot_product_attention(query, key, value, attended, self._attention_dropout())
        return found.transpose(1, 2).flatten(2)

    def _packed(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        offsets, longest = self._packing.offsets, self._packing.longest
        assert offsets is not None
        texts = torch.arange(len(offsets), device=offsets.device)
        of_query = (texts, 1) if self._last else (offsets, longest)
        jagged = [
            torch.nested.nested_tensor_from_jagged(
                one.unflatten(-1, (self._heads(), -1)), at, min_seqlen=1, max_seqlen=most
            ).transpose(1, 2)
            for one, (at, most) in zip(
                (query, key, value), (of_query, (offsets, longest), (offsets, longest))
            )
        ]
        dropout = self._attention_dropout()
        query, key, value = jagged
        found = scaled_dot_product_attention(query, key, value, dropout_p=dropout).transpose(1, 2)
        return found.values().flatten(1)

    def _attention_dropout(self) -> float:
        return self._attention.dropout.p if self.training else 0.0

    @property
    def _attention(self) -> Any:
        raise NotImplementedError

    def _heads(self) -> int:
        raise NotImplementedError

    def _projected(self, asking: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raise NotImplementedError

    def _finished(self, context: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class LeanDistilBertLayer(LeanLayer):
    """Of DistilBERT."""

    def _heads(self) -> int:
        return int(self._attention.n_heads)

    @property
    def _attention(self) -> Any:
        return self.attention

    def _projected(self, asking: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        of = self._attention
        return of.q_lin(asking), of.k_lin(hidden), of.v_lin(hidden)

    def _finished(self, context: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        attended = self.sa_layer_norm(self._attention.out_lin(context) + residual)
        return self.output_layer_norm(self.ffn(attended) + attended)


class LeanBertLayer(LeanLayer):
    """Of BERT, RoBERTa and XLM-R."""

    def _heads(self) -> int:
        return int(self._attention.num_attention_heads)

    @property
    def _attention(self) -> Any:
        return self.attention.self

    def _projected(self, asking: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        of = self._attention
        return of.query(asking), of.key(hidden), of.value(hidden)

    def _finished(self, context: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        attended = self.attention.output(context, residual)
        return self.output(self.intermediate(attended), attended)


def read_first_token(model: Any, packing: Packing | None = None) -> bool:
    """Let a classifier's encoder compute what the classifier reads, and no more: the last layer, and with
    a packing all of them.

    False, and nothing is done, where the model is of another kind, or its logits do not stay the same,
    which is tried.
    """
    layers = _layers(model)
    kind = _kind(layers[-1]) if layers else None
    if layers is None or kind is None:
        return False
    was, originals = model.training, list(layers)
    model.eval()
    inputs, forms = _probe(model), []
    hook = layers[-1].register_forward_hook(lambda _, __, output: forms.append(type(output)))
    before = _logits(model, inputs)
    hook.remove()
    for number, layer in enumerate(originals):
        last = number == len(originals) - 1
        if last or packing is not None:
            layers[number] = kind(
                layer, packing or Packing(), first=not number, last=last, as_tuple=forms[0] is tuple
            )
    same = _gives(model, inputs, before)
    if not same:
        for number, layer in enumerate(originals):
            layers[number] = layer
    model.train(was)
    return same


def choose_encoder(
    model: Any, training: TrainingConfig, packing: Packing | None
) -> tuple[bool, str]:
    """Let the model compute no more than it must, as the job has it: whether the last layer is for the
    first token alone; the line that says what is done.

    packing: where padding is left out. ConfigError where something was asked for that cannot be done.
    """
    if packing is not None and torch.__version__ < JAGGED:
        what = f"PyTorch {torch.__version__} has no attention over texts without padding"
        raise ConfigError(
            [Problem("batching.padding_free=true", what, "batching.padding_free=false")]
        )
    if training.first_token_only is False:
        return False, "last layer: for all tokens"
    if read_first_token(model, packing):
        packed = "" if packing is None else "; no layer computes padding"
        return True, f"last layer: for the first token alone{packed}"
    kind = f"a {type(model).__name__} is none of DistilBERT's, BERT's or RoBERTa's kind"
    asked = {
        "training.first_token_only=true": (training.first_token_only, "training.first_token_only=null"),
        "batching.padding_free=true": (packing is not None, "batching.padding_free=false"),
    }  # fmt: skip
    problems = [Problem(key, kind, fix) for key, (wanted, fix) in asked.items() if wanted]
    if problems:
        raise ConfigError(problems)
    return False, "last layer: for all tokens"


def _logits(model: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(**inputs).logits
    return found


def _gives(model: Any, inputs: Mapping[str, torch.Tensor], logits: torch.Tensor) -> bool:
    try:
        found = _logits(model, inputs).expand_as(logits)
    except Exception:  # a model that only looks like one of the known kinds
        return False
    same: bool = torch.allclose(found, logits, rtol=1e-3, atol=1e-4)
    return same


def _probe(model: Any) -> dict[str, torch.Tensor]:
    """Two texts, one of them padded."""
    ids = torch.randint(
        5, model.get_input_embeddings().num_embeddings, (2, 9), generator=torch.Generator()
    )
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    padding = getattr(model.config, "pad_token_id", None)
    return {"input_ids": ids.where(mask == 1, padding or 0), "attention_mask": mask}


def _layers(model: Any) -> nn.ModuleList | None:
    """Find the encoder's layers where DistilBERT, BERT and RoBERTa have them."""
    base = model.base_model
    encoder = getattr(base, "transformer", None) or getattr(base, "encoder", None)
    layers = getattr(encoder, "layer", None)
    return layers if isinstance(layers, nn.ModuleList) and len(layers) else None


def _kind(layer: Any) -> type[LeanLayer] | None:
    """Tell a layer's kind by its submodules, whose names are those that weights are saved under."""
    names = {name for name, _ in layer.named_modules()}
    for kind, needed in _KINDS.items():
        if needed <= names:
            return kind
    return None


_KINDS: dict[type[LeanLayer], set[str]] = {
    LeanDistilBertLayer: {
        *(f"attention.{name}" for name in ("q_lin", "k_lin", "v_lin", "out_lin", "dropout")),
        *("sa_layer_norm", "ffn", "output_layer_norm"),
    },
    LeanBertLayer: {
        *(f"attention.self.{name}" for name in ("query", "key", "value", "dropout")),
        *("attention.output", "intermediate", "output"),
    },
}


def _given(args: Any, kwargs: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Hidden states and mask, by place or by the names that versions have for them."""
    hidden = args[0] if args else kwargs["hidden_states" if "hidden_states" in kwargs else "x"]
    if len(args) > 1:
        return hidden, args[1]
    return hidden, kwargs.get("attention_mask", kwargs.get("attn_mask"))


def _mask_of(mask: torch.Tensor | None, query: torch.Tensor) -> torch.Tensor | None:
    """For torch's attention: true or 0 where a query attends. mask: (texts, tokens) with 1 for tokens, or
    (texts, 1, 1 or tokens, tokens) with booleans or what is added."""
    if mask is None:
        return None
    if mask.dim() == 2:
        return mask.bool()[:, None, None]
    mask = mask[:, :, : query.shape[2]]
    return mask if mask.dtype is torch.bool else mask.to(query.dtype)
