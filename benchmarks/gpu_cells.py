"""What benchmarks/gpu.py measures, for how long, and how it tells what it found. Imports no torch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lingotune.catalog.gpus import Gpu
from lingotune.catalog.model_sizes import ModelSize, size_from
from lingotune.catalog.models import config_of
from lingotune.config.schema import ModelConfig, Precision
from lingotune.estimate.bucketing import COMPILED_WIDTHS
from lingotune.estimate.step_time import operations, paper_step, utilisation

MODELS = {
    "DistilBERT multilingual": "distilbert/distilbert-base-multilingual-cased",
    "XLM-R base": "FacebookAI/xlm-roberta-base",
    "mmBERT base (ModernBERT)": "jhu-clsp/mmBERT-base",
}
"""Name -> model whose config.json the catalog knows; nothing is fetched."""
TINY = {
    "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "hidden_size": 16,
    "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 130, "local_attention": 16,
}  # fmt: skip
"""Sizes of the same architectures for a rehearsal on a CPU."""

LEAST = 8
"""GiB of free memory below which nothing is tried: XLM-R's weights, gradients and moments take 4.5."""
LONGEST = 20.0
"""Seconds that a cell takes at most."""
SHORTEST = 3.0
"""Seconds of a share below which a cell is not begun."""


@dataclass(frozen=True)
class GpuWay:
    """A way to train on a GPU: how an epoch is cut into steps, and with what it is trained. multiple: what
    widths are rounded up to; packed: without padding; compiled: by torch.compile."""

    batches: str
    precision: str
    ours: bool = False
    multiple: int = 8
    packed: bool = False
    compiled: bool = False
    optimizer: str = "adamw_torch_fused"


ARTICLE = "the article's: random, fp16"
OURS = "ours"
WAYS = {
    ARTICLE: GpuWay("random", "fp16", optimizer="adamw_torch"),
    "best stock: group_by_length, bf16, fused AdamW": GpuWay("group_by_length", "bf16"),
    OURS: GpuWay("window", "bf16", ours=True),
    "ours, no padding": GpuWay("window", "bf16", ours=True, multiple=1, packed=True),
    "ours, i.i.d., no padding": GpuWay("iid_balanced", "bf16", ours=True, multiple=1, packed=True),
    "ours, compiled": GpuWay("window", "bf16", ours=True, multiple=COMPILED_WIDTHS, compiled=True),
}


@dataclass(frozen=True)
class Cell:
    """A model trained one way in batches of one size. seconds: it may take so many, half of them before
    what is counted. precision: that of the way on this card. tiny: on the CPU, as a rehearsal."""

    model: str
    size: int
    way: str
    seconds: float
    precision: str
    tiny: bool = False


@dataclass(frozen=True)
class Timed:
    """What a cell came to. own, padded: tokens a text, without and with padding; own_squares, squares: the
    means of their squares. rows: of the word embeddings that are trained. lean: whether the last layer
    computes the first token alone. memory: peak GiB."""

    texts_per_second: float
    texts: int
    own: float
    own_squares: float
    padded: float
    squares: float
    rows: int
    lean: bool
    memory: float


class Impossible(Exception):
    """A way that a model cannot be trained in."""


def values_of(model: str, *, tiny: bool) -> dict[str, object]:
    """Return what config.json of a model says, at other sizes if it is to be tiny."""
    known = dict(config_of(ModelConfig("m", MODELS[model])))
    return known | ({name: size for name, size in TINY.items() if name in known} if tiny else {})


@dataclass(frozen=True)
class Card:
    """What is measured on. memory, free: GiB. known: its peaks; None for a card that no data sheet is
    here for."""

    name: str
    memory: float
    free: float
    has_bf16: bool
    known: Gpu | None

    def described(self) -> str:
        """Format the card on one line."""
        peaks = self.known.peaks if self.known else {}
        said = ", ".join(f"{name} {peak / 1e12:.0f} TFLOPs" for name, peak in peaks.items())
        bf16 = "bf16" if self.has_bf16 else "no bf16"
        return f"{self.name}, {self.memory:.0f} GiB, {bf16}; peaks: {said or 'unknown'}"


def checked(card: Card) -> Card | str:
    """Return the card, or why it is too small."""
    if card.free < LEAST:
        return (
            f"{card.name} is too small: {card.free:.1f} of {card.memory:.1f} GiB are free, {LEAST} are"
            " needed; nothing was measured"
        )
    return card


def precision_of(way: str, card: Card) -> str:
    """Return the precision of a way on a card: fp16 where it does not compute in bf16."""
    precision = WAYS[way].precision
    return "fp16" if precision == "bf16" and not card.has_bf16 else precision


@dataclass
class Found:
    """What came of a cell: its measurements, or why there is none."""

    timed: list[Timed] = field(default_factory=list)
    why: str = ""

    def add(self, outcome: Timed | str) -> None:
        """Add a measurement, or why there is none."""
        if isinstance(outcome, Timed):
            self.timed.append(outcome)
        else:
            self.why = outcome

    def __str__(self) -> str:
        rate = self.rate()
        return f"{rate:9.1f} texts/s" if rate else self.why

    def rate(self) -> float | None:
        """Median of texts a second."""
        return statistics.median(one.texts_per_second for one in self.timed) if self.timed else None


Key = tuple[str, int, str]
"""Model, batch size, way."""


class Budget:
    """Seconds that all cells have together."""

    def __init__(self, seconds: float, patience: float) -> None:
        """patience: seconds beyond its share after which a cell is given up."""
        self._end, self._patience = time.monotonic() + seconds, patience
        self._overhead = 2 * SHORTEST

    def share(self, cells: int) -> float | None:
        """Return the seconds that the next of so many cells may be timed for; None if no time is left."""
        left = self._end - time.monotonic()
        if left < SHORTEST + self._overhead:
            return None
        return min(LONGEST, max(SHORTEST, left / cells - self._overhead))

    def limit(self, seconds: float) -> float:
        """Return the seconds after which a cell is given up."""
        return min(seconds + self._patience, self._end - time.monotonic())

    @contextmanager
    def spending(self, seconds: float) -> Iterator[None]:
        """Learn what a cell takes beside what it is timed for: starting, building a model, compiling."""
        begun = time.monotonic()
        yield
        over = max(0.0, time.monotonic() - begun - seconds)
        self._overhead = (self._overhead + over) / 2


def model_size(model: str, *, tiny: bool) -> ModelSize:
    """Count a model's parameters."""
    size = size_from(values_of(model, tiny=tiny))
    assert size is not None, f"the catalog does not know how {model} is built"
    return size


def useful_share(size: ModelSize, way: str, timed: Timed, card: Card) -> float | None:
    """Compute the share of the card's peak that went into the texts' own tokens; None if it is unknown."""
    peak = card.known and card.known.peaks.get(precision_of(way, card))
    if not peak:
        return None
    each = operations(size, timed.own, timed.own_squares, first_token_only=timed.lean)
    return utilisation(each, timed.texts_per_second, peak)


def on_paper(size: ModelSize, key: Key, timed: Timed, card: Card) -> tuple[float, float] | None:
    """Estimate the seconds of an update on paper: all, and computing at the whole peak; None if unknown."""
    _, batch, way = key
    if card.known is None:
        return None
    step = paper_step(
        size, card.known, Precision(precision_of(way, card)), per_gpu=batch, gpus=1, tokens=timed.padded,
        squares=timed.squares, trained_rows=timed.rows, first_token_only=timed.lean,
    )  # fmt: skip
    return (step.seconds, step.compute * card.known.share) if step else None


def table(found: dict[Key, Found], card: Card, *, tiny: bool) -> str:
    """Format what was found as Markdown."""
    lines = [
        card.described(), "",
        "| model | batch | way | texts/s | useful tokens/s | times the article's | useful of peak"
        " | peak memory | ms an update | measured / paper | rounds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    if tiny:
        lines.insert(0, "A rehearsal with tiny models on a CPU: these figures mean nothing.\n")
    lines += [_line(key, one, found, card, tiny=tiny) for key, one in found.items()]
    return "\n".join(lines) + "\n"


def _line(key: Key, one: Found, found: dict[Key, Found], card: Card, *, tiny: bool) -> str:
    model, batch, way = key
    rate = one.rate()
    if rate is None:
        return f"| {model} | {batch} | {way} | {one.why} |" + " |" * 7
    timed = min(one.timed, key=lambda t: abs(t.texts_per_second - rate))
    size = model_size(model, tiny=tiny)
    article = found[model, batch, ARTICLE].rate() if (model, batch, ARTICLE) in found else None
    share, paper = useful_share(size, way, timed, card), on_paper(size, key, timed, card)
    seconds = batch / rate
    cells = [
        f"{rate:.0f}", f"{rate * timed.own:.0f}", f"{rate / article:.2f}" if article else "?",
        f"{share:.1%}" if share else "?", "?" if tiny else f"{timed.memory:.1f} GiB",
        f"{1000 * seconds:.2f}", f"{seconds / paper[0]:.2f}" if paper else "?", str(len(one.timed)),
    ]  # fmt: skip
    return f"| {model} | {batch} | {way} | " + " | ".join(cells) + " |"


def measured_share(found: dict[Key, Found], card: Card, *, tiny: bool) -> float | None:
    """Compute the median share of the peak that computing reached in our ways at the largest batch, with
    padding and the optimizer's time taken off; None if nothing says it."""
    shares = []
    largest = max((batch for _, batch, _ in found), default=0)
    for key, one in found.items():
        rate = one.rate()
        if rate is None or key[1] != largest or not WAYS[key[2]].ours:
            continue
        size = model_size(key[0], tiny=tiny)
        paper = on_paper(size, key, one.timed[0], card)
        if paper and card.known:
            seconds, bare = paper
            optimizer = seconds - bare / card.known.share
            shares.append(bare / (key[1] / rate - optimizer))
    return statistics.median(shares) if shares else None


def advice(found: dict[Key, Found], card: Card, *, tiny: bool) -> str:
    """Say how the plan's model on paper is corrected by what was measured."""
    share = measured_share(found, card, tiny=tiny)
    if share is None or card.known is None:
        return "the plan's paper model: nothing to compare it with"
    return (
        f"the plan's paper model takes {card.known.share:.2f} of the peak for computing here; ours reached"
        f' {share:.2f}: "share": {share:.2f} in the entry of this card in'
        " src/lingotune/catalog/facts/gpus.json makes plans agree"
    )
