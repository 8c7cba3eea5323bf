"""Classes of one model found among those of another, by their names. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unicodedata import normalize

UNNAMED = re.compile("LABEL_[0-9]+")
"""Names that transformers gives to classes without names."""
ONE_CLASS = "single_label_classification"
"""transformers' name of the task: each text has one class."""
SEVERAL = "multi_label_classification"
"""The same of texts that may have several classes, or none."""
_OTHER_TASK = re.compile(r".*For(TokenClassification|MultipleChoice)")
"""Classes of models whose heads have the names of a classifier's, but another task."""
_SHOWN = 6
"""Classes that a line lists before it counts the others."""


@dataclass(frozen=True)
class KnownClasses:
    """Classes of a model, as its config.json names them.

    names: in the order of the rows of its head. task: transformers' name of it; None where it says none.
    usable: the rows are those of a classifier's classes. remark: what else has to be said of them.
    """

    names: tuple[str, ...]
    task: str | None
    usable: bool = True
    remark: str = ""

    def unusable(self, remark: str) -> KnownClasses:
        """Return the same, for a reason of no use."""
        return replace(self, usable=False, remark=remark)


def read_classes(config: Mapping[str, Any]) -> KnownClasses:
    """Read the classes of a model from the content of its config.json; ValueError where it is damaged.

    label2id counts where id2label has no names of its own.
    """
    by_label = _by_id(config, "label2id")
    by_id = _by_id(config, "id2label") or ({} if by_label else _without_names(config))
    unnamed = all(map(UNNAMED.fullmatch, by_id.values()))
    names = by_label if by_label and unnamed else by_id
    ids = sorted(names)
    known = KnownClasses(tuple(names[id] for id in ids), config.get("problem_type"))
    other = _OTHER_TASK.fullmatch(str((config.get("architectures") or [""])[0]))
    if other:
        return known.unusable(f"the model's is for {other[1]}")
    if known.task == "regression" or len(ids) == 1:
        return known.unusable("the model's is for one number")
    if ids != list(range(len(ids))):
        said = f"the model's classes have the ids {listed(list(map(str, ids)))}, not 0 to {len(ids) - 1}"
        return known.unusable(said)
    remarks = ["it was trained to give a text several classes"] if known.task == SEVERAL else []
    if by_label not in ({}, names) and not all(map(UNNAMED.fullmatch, by_label.values())):
        remarks.append("its config.json says otherwise in label2id, which is left out")
    return replace(known, remark="; ".join(remarks))


def _by_id(config: Mapping[str, Any], field: str) -> dict[int, str]:
    """Read id2label or label2id as names by id; the latter is empty where two names share an id."""
    found = config.get(field) or {}
    try:
        if field == "id2label":
            return {int(id): str(name) for id, name in found.items()}
        names = {int(id): str(name) for name, id in found.items()}
        return names if len(names) == len(found) else {}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{field} in its config.json is no mapping of ids and names") from error


def _without_names(config: Mapping[str, Any]) -> dict[int, str]:
    """Name classes as transformers does where config.json names none."""
    count = config.get("num_labels")
    return {id: f"LABEL_{id}" for id in range(count if isinstance(count, int) else 2)}


def rows_by_name(known: Sequence[str], wanted: Sequence[str]) -> list[int | None]:
    """Find the place in `known` of each wanted name; None where there is no such name, or two of it.

    Names that differ by case, blanks or Unicode form alone are the same, where no other is meant.
    """
    rows: list[int | None] = [None] * len(wanted)
    for form in (_as_written, _folded):
        taken = set(rows)
        left = [place for place in range(len(known)) if place not in taken]
        open_ = [place for place, row in enumerate(rows) if row is None]
        places = _unique((form(known[place]), place) for place in left)
        asked = _unique((form(wanted[place]), place) for place in open_)
        for name, place in asked.items():
            rows[place] = places.get(name)
    return rows


def listed(names: Sequence[str]) -> str:
    """Write names in a line, of many the first ones."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _as_written(name: str) -> str:
    return name


def _folded(name: str) -> str:
    return "".join(normalize("NFKC", name).casefold().split())


def _unique(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Map the names that stand there once to their places."""
    pairs = list(pairs)
    counts = Counter(name for name, _ in pairs)
    return {name: place for name, place in pairs if counts[name] == 1}
