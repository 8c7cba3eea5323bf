"""BERT-like encoders that skip what the classifier never reads: most of the last layer and, on request,
padding.

A classifier reads only the first token's vector from the last layer. Of the other tokens that layer needs
weighted sums alone, not even their keys and values (see `LeanLayer._first_token`), so all of its matrix
products but those of one token can be skipped, and the result is the same up to rounding. Without padding
the layers before it process the tokens of all texts in one sequence, each text attending to itself only (as
in Zhai et al. 2022, arXiv:2208.08124, section 3.1), with torch's attention over jagged tensors, which on
GPUs has kernels for variable lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import dropout, scaled_dot_product_attention

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import TrainingConfig

JAGGED = (2, 5)
"""First version of torch whose attention over jagged tensors can do what is needed here."""

REAL, OFFSETS = "real", "offsets"
"""Keys of a batch that `Packing` takes out before the model gets it."""


@dataclass
class Packing:
    """Positions of the real tokens in a padded batch; the layers of a model share one object.

    real: int64, (tokens,), their positions in the flattened batch. offsets: int64, (texts + 1,), where in
    `real` each text begins, and the end. longest: width of the batch. None = the batch keeps its padding.
    """

    real: torch.Tensor | None = None
    offsets: torch.Tensor | None = None
    longest: int = 0

    @contextmanager
    def of(self, inputs: dict[str, torch.Tensor]) -> Iterator[None]:
        """Hold a batch's positions during the block; they are removed from `inputs`."""
        self.real, self.offsets = inputs.pop(REAL, None), inputs.pop(OFFSETS, None)
        self.longest = inputs["input_ids"].shape[1]
        try:
            yield
        finally:
            self.real = self.offsets = None


class LeanLayer(nn.Module):
    """Replacement for an encoder's layer.

    It takes over the layer's submodules under their names, so that weights are saved and loaded as before.
    Maps (texts, tokens, dim) to the same shape; if it is the `last` layer, to (texts, 1, dim). With a
    packing, hidden states are (tokens of all texts, dim) between the first layer and the last. as_tuple:
    whether the model expects a tuple as output.
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
        """Compute the layer on hidden states and a mask, in whatever form this version passes them."""
        hidden, mask = _given(args, kwargs)
        if self._last:
            output = self._read_first(hidden, mask)
        elif self._packing.real is None:
            output = self._finished(self._padded(hidden, hidden, mask), hidden)
        else:
            if self._first:
                hidden = hidden.flatten(0, 1)[self._packing.real]
            output = self._finished(self._packed(hidden), hidden)
        return (output,) if self._as_tuple else output

    def _read_first(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Compute the layer for the first token of each text: (texts, 1, dim).

        hidden: (texts, tokens, dim), or (tokens of all texts, dim) if packed.
        """
        if hidden.dim() == 2:
            hidden = self._unpacked(hidden)
        first = hidden[:, :1]
        # What wraps a projection, such as LoRA, adds to what it computes: it has to be called.
        plain = all(type(one) is nn.Linear and one.bias is not None for one in self._projections())
        context = self._first_token(hidden, mask) if plain else self._padded(first, hidden, mask)
        return self._finished(context, first)

    def _unpacked(self, hidden: torch.Tensor) -> torch.Tensor:
        """Put the tokens of all texts, (tokens, dim), back into a padded batch; padding is zero."""
        real, offsets = self._packing.real, self._packing.offsets
        assert real is not None and offsets is not None
        texts, longest = len(offsets) - 1, self._packing.longest
        padded = hidden.new_zeros(texts * longest, hidden.shape[1])
        return padded.index_copy(0, real, hidden).unflatten(0, (texts, longest))

    def _first_token(self, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attend from the first token of each text; (texts, tokens, dim) becomes (texts, 1, dim).

        With a head's query q, its rows K and V of the projections, their biases k and v, and weights w, a
        token x scores q (K x + k) = (q K) x + q k, and the context is the sum of w (V x + v) =
        V (sum of w x) + v (sum of w). Read from the right, each text is multiplied by K and V once, not
        each token.
        """
        query, key, value = self._projections()
        heads = self._heads()
        # (dim, dim) -> (heads, dim / heads, dim), and biases to (heads, 1, dim / heads)
        of_key, of_value = (one.weight.unflatten(0, (heads, -1)) for one in (key, value))
        key_bias, value_bias = (one.bias.unflatten(0, (heads, -1))[:, None] for one in (key, value))
        # (texts, dim) -> (heads, texts, dim / heads)
        asked = query(hidden[:, 0]).unflatten(-1, (heads, -1)).transpose(0, 1)
        asked = asked * asked.shape[-1] ** -0.5
        # All texts of one head by its matrix, then all heads of one text by its tokens.
        by_text = (asked @ of_key).transpose(0, 1)  # (texts, heads, dim)
        same = (asked * key_bias).sum(-1).T[..., None]  # for all tokens of a text
        scores = by_text @ hidden.mT + same  # (texts, heads, tokens)
        weights = _masked(scores, mask).softmax(-1).to(hidden.dtype)
        weights = dropout(weights, self._attention_dropout())
        summed = (weights @ hidden).transpose(0, 1)  # (heads, texts, dim)
        context = summed @ of_value.mT + value_bias * weights.sum(-1).T[..., None]
        return context.transpose(0, 1).flatten(1)[:, None]

    def _padded(
        self, asking: torch.Tensor, hidden: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Attend within each text of a padded batch: (texts, tokens that ask, dim).

        hidden: (texts, tokens, dim).
        """
        # (texts, tokens, dim) -> (texts, heads, tokens, dim / heads)
        query, key, value = (
            project(given).unflatten(-1, (self._heads(), -1)).transpose(1, 2)
            for project, given in zip(self._projections(), (asking, hidden, hidden))
        )
        attended = _mask_of(mask, query)
        found = scaled_dot_product_attention(query, key, value, attended, self._attention_dropout())
        return found.transpose(1, 2).flatten(2)

    def _packed(self, hidden: torch.Tensor) -> torch.Tensor:
        """Attend within each text of a packed batch; (tokens of all texts, dim), and so is the result."""
        offsets, longest = self._packing.offsets, self._packing.longest
        assert offsets is not None
        # Jagged tensors, (texts, heads, tokens of each text, dim / heads), need offsets of the texts in the
        # first dimension and the longest text.
        query, key, value = (
            torch.nested.nested_tensor_from_jagged(
                project(hidden).unflatten(-1, (self._heads(), -1)),
                offsets,
                min_seqlen=1,
                max_seqlen=longest,
            ).transpose(1, 2)
            for project in self._projections()
        )
        dropout_p = self._attention_dropout()
        found = scaled_dot_product_attention(query, key, value, dropout_p=dropout_p)
        return found.transpose(1, 2).values().flatten(1)

    def _attention_dropout(self) -> float:
        return self._attention.dropout.p if self.training else 0.0

    @property
    def _attention(self) -> Any:
        raise NotImplementedError

    def _heads(self) -> int:
        raise NotImplementedError

    def _projections(self) -> tuple[Any, Any, Any]:
        """Return what makes queries, keys and values of hidden states."""
        raise NotImplementedError

    def _finished(self, context: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class LeanDistilBertLayer(LeanLayer):
    """Layer of DistilBERT."""

    def _heads(self) -> int:
        return int(self._attention.n_heads)

    @property
    def _attention(self) -> Any:
        return self.attention

    def _projections(self) -> tuple[Any, Any, Any]:
        return self._attention.q_lin, self._attention.k_lin, self._attention.v_lin

    def _finished(self, context: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        attended = self.sa_layer_norm(self._attention.out_lin(context) + residual)
        return self.output_layer_norm(self.ffn(attended) + attended)


class LeanBertLayer(LeanLayer):
    """Layer of BERT, RoBERTa or XLM-R."""

    def _heads(self) -> int:
        return int(self._attention.num_attention_heads)

    @property
    def _attention(self) -> Any:
        return self.attention.self

    def _projections(self) -> tuple[Any, Any, Any]:
        return self._attention.query, self._attention.key, self._attention.value

    def _finished(self, context: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        attended = self.attention.output(context, residual)
        return self.output(self.intermediate(attended), attended)


def read_first_token(model: Any, packing: Packing | None = None) -> bool:
    """Replace the last layer by one that computes only the first token; with a packing, all layers.

    Returns False and changes nothing if the model is of another kind, or if its logits on a probe change.
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
    """Make the encoder skip work as the job asks; returns whether it is lean, and a line for the log.

    packing: given to leave out padding. ConfigError if something was asked for that cannot be done.
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
    except Exception:  # it only looks like one of the known kinds
        return False
    same: bool = torch.allclose(found, logits, rtol=1e-3, atol=1e-4)
    return same


def _probe(model: Any) -> dict[str, torch.Tensor]:
    """Make a batch of two texts, one of them padded: (2, 9) ids and mask."""
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
    """Tell a layer's kind by the names of its submodules, which are part of the format of saved weights."""
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
    """Find hidden states and mask among the arguments, by position or by the names in any version."""
    hidden = args[0] if args else kwargs["hidden_states" if "hidden_states" in kwargs else "x"]
    if len(args) > 1:
        return hidden, args[1]
    return hidden, kwargs.get("attention_mask", kwargs.get("attn_mask"))


def _mask_of(mask: torch.Tensor | None, query: torch.Tensor) -> torch.Tensor | None:
    """Convert a layer's mask for torch's attention: true, or 0 to be added, where a query attends.

    mask: (texts, tokens), 1 for tokens; or (texts, 1, 1 or tokens, tokens), booleans or summands.
    """
    if mask is None:
        return None
    if mask.dim() == 2:
        return mask.bool()[:, None, None]
    mask = mask[:, :, : query.shape[2]]
    return mask if mask.dtype is torch.bool else mask.to(query.dtype)


def _masked(scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Add a layer's mask to the first tokens' scores, (texts, heads, tokens), in fp32.

    mask: as that of `_mask_of`.
    """
    scores = scores.float()
    attended = _mask_of(mask, scores[:, :, None])  # (texts, 1, 1, tokens)
    if attended is None:
        return scores
    if attended.dtype is torch.bool:
        return scores.masked_fill(~attended[:, :, 0], -torch.inf)
    return scores + attended[:, :, 0]
