"""How the training texts fit `data.max_length` and the tokenizer, from the manifest of prepared data."""

from __future__ import annotations

import numpy as np

from lingotune.config.schema import SPLITS
from lingotune.data.prepared.manifest import Manifest
from lingotune.runs.results import TextFit

_WHOLE = 0.98
"""Share of each language's texts that are to fit in whole."""


def text_fit(manifest: Manifest) -> TextFit:
    """Measure the training split: cut texts and unknown tokens by language, and the length to fit most."""
    cut, unknown = {}, {}
    for code, of in manifest.by_language(SPLITS[0]).items():
        cut[code] = round(of.cut / max(of.rows, 1), 4)
        unknown[code] = round(of.unknown / max(of.tokens, 1), 4)
    lengths = [_length_of_most(counts) for counts in manifest.lengths[SPLITS[0]].values()]
    return TextFit(cut=cut, unknown=unknown, whole=max(lengths, default=0))


def _length_of_most(counts: tuple[int, ...]) -> int:
    """Return the number of tokens that `_WHOLE` of the texts do not exceed."""
    sums = np.cumsum(counts)
    return int(np.searchsorted(sums, _WHOLE * sums[-1])) if len(sums) and sums[-1] else 0
