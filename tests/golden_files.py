"""Golden files: JSON in one readable form, with the lists of metric definitions by reference.

`{"$ref": "metrics.json#six-languages", "keys": ["Name", "Regex"]}` stands for that list of metrics.json,
a test of its own, as dictionaries with these keys. Folding and unfolding are exact inverses.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lingotune.contract.log_lines import metric_definitions
from lingotune.data.sources.sample import LANGUAGES

GOLDEN = Path(__file__).resolve().parent / "golden"
METRICS = "metrics.json"
CLUSTERS = "clusters.json"
MARKS = ("<name>", "<sha256>", "<instance>")
LISTS = {
    name: [list(definition.values()) for definition in metric_definitions(languages)]
    for name, languages in (("six-languages", LANGUAGES), ("no-language", ()))
}
"""Name -> the [name, regular expression] of today's metric definitions."""


def golden_text(text: str) -> str:
    """The form in which a JSON text is kept."""
    value = json.loads(text)
    folded = _fold(value)
    assert unfold(folded, LISTS) == value
    return _lines(folded) + "\n"


def read_golden(name: str) -> Any:
    """The value of a golden file, references resolved."""
    lists = json.loads((GOLDEN / METRICS).read_text(encoding="utf-8"))
    return unfold(json.loads((GOLDEN / name).read_text(encoding="utf-8")), lists)


def folded_clusters(forms: dict[str, Any]) -> dict[str, Any]:
    """Forms of a job by cluster, those that differ by the names of job and machine alone kept once.

    {"alike": [forms with <name>, <sha256> and <instance>], "clusters": {cluster: [index, name, sha256,
    instance type]}}.
    """
    alike: list[str] = []
    clusters = {}
    for cluster, found in forms.items():
        request = found["request"]
        tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        names = [request["TrainingJobName"], tags["lingotune:job-sha256"],
                 request["ResourceConfig"]["InstanceType"]]  # fmt: skip
        text = json.dumps(found)
        for mark, name in zip(MARKS, names):
            assert mark not in text
            text = text.replace(name, mark)
        alike += [] if text in alike else [text]
        clusters[cluster] = [alike.index(text), *names]
    return {"alike": [json.loads(text) for text in alike], "clusters": clusters}


def read_clusters() -> dict[str, Any]:
    """Cluster -> forms of the job there: `folded_clusters` undone."""
    kept, found = read_golden(CLUSTERS), {}
    for cluster, (index, *names) in kept["clusters"].items():
        text = json.dumps(kept["alike"][index])
        for mark, name in zip(MARKS, names):
            text = text.replace(mark, name)
        found[cluster] = json.loads(text)
    return found


def unfold(value: Any, lists: dict[str, list[list[str]]]) -> Any:
    """The value with its references replaced by what they name."""
    if isinstance(value, list):
        return [unfold(item, lists) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" not in value:
        return {key: unfold(item, lists) for key, item in value.items()}
    named = lists[value["$ref"].removeprefix(f"{METRICS}#")]
    return [dict(zip(value["keys"], pair)) for pair in named]


def _fold(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _fold(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    for name, pairs in LISTS.items():
        if all(isinstance(d, dict) for d in value) and [list(d.values()) for d in value] == pairs:
            return {"$ref": f"{METRICS}#{name}", "keys": list(value[0])}
    return [_fold(item) for item in value]


def _lines(value: Any, indent: str = "", taken: int = 0) -> str:
    """JSON, a list or dictionary on one line where it fits into 120 columns."""
    line = json.dumps(value)
    if not isinstance(value, (dict, list)) or len(indent) + taken + len(line) < 120:
        return line
    inner = indent + "  "
    if isinstance(value, list):
        items = [_lines(item, inner) for item in value]
    else:
        names = [f"{json.dumps(key)}: " for key in value]
        items = [n + _lines(item, inner, len(n)) for n, item in zip(names, value.values())]
    body = f",\n{inner}".join(items)
    return f"{line[0]}\n{inner}{body}\n{indent}{line[-1]}"
