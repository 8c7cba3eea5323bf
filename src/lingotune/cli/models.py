"""`lingotune models`: lists the models that a job can name, with what a batch of each takes."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections.abc import Sequence

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.schema import LaunchConfig
from lingotune.launch.compose.config_dirs import shipped_dir, user_dir
from lingotune.launch.compose.help import Command
from lingotune.launch.compose.options import composed_jobs, options_parser

PURPOSE = (
    "List the models of the group `model`, your own too: parameters, languages, longest text, the memory"
    " of a batch on a GPU, licence. Overrides of a job change the batch and its texts:"
    " data.max_length=512 per_device_bs=32 training.lora.rank=8."
)
OPTIONS = {"--json": "a list of JSON objects, with more of each"}


def command() -> Command:
    """Describe the command, for its help."""
    return Command(program("models"), PURPOSE, options=OPTIONS)


def main(argv: Sequence[str]) -> int:
    """Print the table."""
    words = [word for word in argv if word not in OPTIONS]
    if problems := [_refused(word) for word in words if word.partition("=")[0] in _CHOSEN]:
        raise ConfigError(problems)
    from lingotune.launch.models import as_dicts, lines_of, notes_of, options, row_of

    known = options_parser(command()).parse_known_args(words)[0]
    names = options(shipped_dir(), user_dir(known.config_dir, os.environ))
    each = ["-m", f"model={','.join(names)}"]
    composed = composed_jobs([*words, *each], command(), shipped_dir(), _out_of_range)
    if len(composed) > len(names):
        what = "makes several jobs of each model"
        raise ConfigError([Problem(" ".join(words), what, "one value for each setting")])
    rows = [row_of(name, one.config) for name, one in zip(names, composed)]
    if "--json" in argv:
        print(json.dumps(as_dicts(rows), indent=2, ensure_ascii=False))
        return 0
    width = shutil.get_terminal_size((100, 24)).columns
    print("\n".join(lines_of(rows, width)))
    length = rows[0].max_length
    said = (
        f"GiB: on one GPU, with texts of {length} tokens, an estimate;"
        " others: model=pretrained model.name_or_path=OWNER/NAME"
    )
    print(
        "",
        *(line for note in [said, *notes_of(rows)] for line in textwrap.wrap(note, width)),
        sep="\n",
    )
    return 0


_CHOSEN = ("model", "model.name_or_path", "-m", "--multirun", "action")


def _refused(word: str) -> Problem:
    """Refuse what the command goes through itself."""
    what = "is what is listed: each model of the group, with one job"
    fix = f"{program('launch')} {word}" if "=" in word else f"leave out {word}"
    return Problem(word, what, fix, check="models-chosen")


def _out_of_range(config: LaunchConfig) -> list[Problem]:
    """Refuse numbers that no job can have; what else is wrong with a job does not matter here."""
    from lingotune.preflight.job import JOB

    return JOB.run(config, only="out-of-range")
