"""The decorators that mark own code, and what it is called with. Imports no numerical library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, overload

from lingotune.config.schema import ModelConfig

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_T = TypeVar("_T")
_ATTRIBUTE = "__lingotune__"


class Kind(Enum):
    """Kinds of own code; the values are the names of their decorators."""

    metric = "metric"
    builder = "model_builder"
    callback = "callback"


@dataclass(frozen=True)
class Mark:
    """Mark left by a decorator. greater_is_better: of a metric, for choosing the best checkpoint."""

    kind: Kind
    greater_is_better: bool = True


@dataclass(frozen=True)
class LabelledPredictions:
    """Argument of a metric: predictions beside the truth, one entry per row; arrays are read-only.

    true, predicted: class ids, int64. probabilities: float64, (rows, classes). languages: codes, object.
    stars: ratings, float64, NaN where the source has none. classes: names in the order of their ids. With
    data.labels_mode=multi, true and predicted say of each class whether a row has it: bool, (rows,
    classes).
    """

    true: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    probabilities: npt.NDArray[np.float64]
    languages: npt.NDArray[np.object_]
    stars: npt.NDArray[np.float64]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class ModelTask:
    """Argument of a model builder.

    model: the section `model` of the config. labels: class names in the order of their ids. tokenizer:
    that of the data, None where a saved model is built again. max_length: tokens of a text at most.
    load: makes the model that lingotune would train without a builder, head for `labels` included; where a
    saved model is built again, one of the same architecture, whose weights are then replaced.
    """

    model: ModelConfig
    labels: tuple[str, ...]
    tokenizer: Any
    max_length: int
    load: Callable[[], Any]


@overload
def metric(function: _T, *, greater_is_better: bool = True) -> _T: ...
@overload
def metric(*, greater_is_better: bool = True) -> Callable[[_T], _T]: ...
def metric(function: Any = None, *, greater_is_better: bool = True) -> Any:
    """Mark a function `(LabelledPredictions) -> float` as a metric.

    greater_is_better: False for costs and errors; decides which checkpoint `code.select` takes.
    """
    mark = Mark(Kind.metric, greater_is_better)
    if function is None:
        return lambda marked: _marked(marked, mark)
    return _marked(function, mark)


def model_builder(function: _T) -> _T:
    """Mark a function `(ModelTask) -> PreTrainedModel` as a builder of the classifier to train."""
    return _marked(function, Mark(Kind.builder))


def callback(made: _T) -> _T:
    """Mark a TrainerCallback class, or a function without arguments that returns an instance of one."""
    return _marked(made, Mark(Kind.callback))


def mark_of(thing: object) -> Mark | None:
    """Return the mark of a decorated object; None for any other, subclasses of a marked class included."""
    found = getattr(thing, "__dict__", {}).get(_ATTRIBUTE)
    return found if isinstance(found, Mark) else None


def _marked(thing: _T, mark: Mark) -> _T:
    if not callable(thing):
        raise TypeError(f"@{mark.kind.value} marks functions and classes, not {thing!r}")
    setattr(thing, _ATTRIBUTE, mark)
    return thing
