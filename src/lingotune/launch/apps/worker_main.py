"""Start of an application's job in its training container, in place of the script itself.

It travels alone, with nothing of lingotune, and needs Hydra only. The script runs as
`script.py --config-path CHANNEL --config-name job`; what its main function returns, or the error that it
raises, is written into the job's output. Nodes that had a dataclass get it back, as YAML keeps none.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

RETURNED = "sagemaker-return.json"
"""File in the output with the return value or the error."""
LINE = "the job returned "
"""Beginning of the log line with a returned number, which SageMaker reads as a metric."""


def main() -> None:
    """Run the application as `job.json` in its input channel says."""
    channel = os.environ["SM_CHANNEL_HYDRA"]
    about = json.loads(Path(channel, "job.json").read_text(encoding="utf-8"))
    output = os.environ.get("SM_OUTPUT_DATA_DIR", "/opt/ml/output/data")
    Path(output).mkdir(parents=True, exist_ok=True)
    _watch_main(about, output)
    sys.argv = [about.get("script") or about["module"], "--config-path", channel]
    sys.argv += ["--config-name", "job", *about["overrides"]]
    for place in ("run.dir", "sweep.dir"):
        sys.argv.append(f"hydra.{place}={_quoted(output)}")
    here = str(Path(__file__).resolve().parent)
    sys.path.insert(0, here)
    if about.get("function"):
        getattr(importlib.import_module(about["module"]), about["function"])()
    elif about.get("module"):
        runpy.run_module(about["module"], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(here, about["script"]).parent))
        runpy.run_path(str(Path(here, about["script"])), run_name="__main__")


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "\\'") + "'"


def _watch_main(about: dict[str, Any], output: str) -> None:
    """Let `hydra.main` pass the settings with their types, and write down how the function ends."""
    import hydra

    original = hydra.main

    @functools.wraps(original)
    def watched(*arguments: Any, **options: Any) -> Any:
        decorate = original(*arguments, **options)

        def decorated(function: Any) -> Any:
            @functools.wraps(function)
            def run(config: Any) -> Any:
                return _run(function, with_types(config, about["types"]), output)

            return decorate(run)

        return decorated

    hydra.main = watched


def _run(function: Any, config: Any, output: str) -> Any:
    try:
        value = function(config)
    except BaseException as error:
        if isinstance(error, SystemExit) and not error.code:
            _write(output, {"value": None})
            raise
        told = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        _write(output, told)
        raise
    written = plain(value)
    _write(output, written)
    if isinstance(written.get("value"), (int, float)) and not isinstance(written["value"], bool):
        print(f"{LINE}{float(written['value']):.10g}", flush=True)
    return value


def plain(value: Any) -> dict[str, Any]:
    """Write a return value as JSON can: numbers of numpy and torch as numbers, tuples as lists."""
    if getattr(value, "size", None) == 1 or _is_scalar_tensor(value):
        value = value.item()
    try:
        return {"value": json.loads(json.dumps(value, default=_item))}
    except (TypeError, ValueError):
        return {"value": None, "lost": type(value).__name__}


def _is_scalar_tensor(value: Any) -> bool:
    return hasattr(value, "numel") and value.numel() == 1


def _item(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(type(value).__name__)


def _write(output: str, told: dict[str, Any]) -> None:
    """Write the file, on the first process of the first machine alone."""
    hosts = sorted(json.loads(os.environ.get("SM_HOSTS", '[""]')))
    first = os.environ.get("SM_CURRENT_HOST", hosts[0]) == hosts[0]
    if first and os.environ.get("RANK", "0") == "0":
        Path(output, RETURNED).write_text(json.dumps(told), encoding="utf-8")


def with_types(config: Any, types: list[Any]) -> Any:
    """Give the nodes of a config back the dataclasses that they were composed with.

    types: path of a node as a list of its keys, module and name of its class; parents come first.
    """
    if not types:
        return config
    from omegaconf import DictConfig, OmegaConf, open_dict, read_write

    raw = OmegaConf.to_container(config, resolve=False)
    kinds = [(tuple(path), _found(module, name)) for path, module, name in types]
    root = OmegaConf.structured(kinds.pop(0)[1]) if not kinds[0][0] else OmegaConf.create({})
    with read_write(root), open_dict(root):
        for path, kind in kinds:
            node = functools.reduce(lambda a, key: a[key], path[:-1], _with_parents(root, path))
            with read_write(node), open_dict(node):
                node[path[-1]] = OmegaConf.structured(kind)
        merged = OmegaConf.merge(root, raw)
    assert isinstance(merged, DictConfig)
    _drop_defaults(merged, raw)
    OmegaConf.copy_cache(config, merged)
    OmegaConf.set_struct(merged, True)
    return merged


def _with_parents(root: Any, path: tuple[Any, ...]) -> Any:
    from omegaconf import open_dict

    node = root
    for key in path[:-1]:
        with open_dict(node):
            if key not in node or node._get_node(key)._is_none():
                node[key] = {}
        node = node[key]
    return root


def _drop_defaults(node: Any, raw: Any) -> None:
    """Delete keys of dictionaries that the dataclass has by default and the composed config has not."""
    from omegaconf import DictConfig, OmegaConf, open_dict, read_write

    if not isinstance(node, DictConfig) or not isinstance(raw, dict) or node._is_interpolation():
        return
    is_class = dataclasses.is_dataclass(OmegaConf.get_type(node))
    for key in [] if node._is_none() or node._is_missing() else list(node.keys()):
        if key in raw:
            _drop_defaults(node._get_node(key), raw[key])
        elif not is_class:
            with read_write(node), open_dict(node):
                del node[key]


def _found(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


if __name__ == "__main__":
    main()
