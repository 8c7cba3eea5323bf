"""Options and paths shared by all tests."""

from __future__ import annotations

import functools
import gc
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import botocore.hooks
import botocore.loaders
import botocore.utils
import pytest
import warm
from golden_files import GOLDEN, golden_text
from hypothesis import HealthCheck, settings
from waiting import PATIENCE

from lingotune.config.schema import JobConfig, LaunchConfig
from lingotune.launch.compose import compose as composing

# The developer's own group files are none of the tests'.
os.environ["LINGOTUNE_CONFIG"] = ""
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # the models are tiny; threads wait for others by spinning
warm.BEGINNING.update(os.environ)

# Shared machines stall: no example has a deadline, and none is too slow. A fixture of a function is made
# once for all examples, as these tests want it. CI repeats the same examples every time.
settings.register_profile(
    "lingotune",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("lingotune")

# Tests interrupt what they start. A shell that starts these in the background lets everything ignore that,
# and nohup the end of the terminal.
for _number, _default in {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
}.items():
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
LONGEST = (
    "launch/simulator/test_rehearsal.py", "launch/sweeps/test_submission.py", "test_docs.py",
    "launch/simulator/test_loopback.py", "hub/test_publish.py", "launch/simulator/test_host.py",
    "training/test_resume.py", "training/test_fsdp.py", "modeling/test_lean_encoder.py",
    "evaluation/test_evaluate.py", "launch/sweeps/test_on_the_wire.py", "cli/test_train.py",
    "launch/compose/test_compose.py", "launch/test_actions.py", "launch/render/test_request.py",
    "data/rows/test_cleaner.py", "launch/compose/test_fixes.py", "launch/aws/test_submit.py",
    "launch/sweeps/test_local.py", "preflight/test_preflight.py", "launch/aws/test_account.py",
)  # fmt: skip
"""Files of tests that take longest, the slow ones' first. A worker takes whole files: one that is begun
last would leave the others idle."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="accept today's output as golden")


def pytest_configure(config: pytest.Config) -> None:
    # No baseline is trained unless a test asks for it, by undoing this.
    sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]
    gc.disable()  # what the collection of tests makes is kept to the end
    # AWS's models are megabytes of JSON, which each session of boto3 would read anew.
    mock.patch.object(
        botocore.loaders, "create_loader", functools.cache(botocore.loaders.create_loader)
    ).start()
    _name_events_once()
    # Hydra composes each choice of shipped groups once for all tests of the process.
    mock.patch.object(composing, "_chosen_groups", chosen_once).start()
    _validate_once()


def _name_events_once() -> None:
    """Each client and session of boto3 translates the names of the same thousands of events."""
    make, names = botocore.hooks.EventAliaser.__init__, dict[str, str]()

    def made(aliaser: Any, emitter: Any, aliases: Mapping[str, str] | None = None) -> None:
        make(aliaser, emitter, aliases)
        if aliaser._event_aliases == botocore.utils.EVENT_ALIASES:
            aliaser._alias_name_cache = names

    mock.patch.object(botocore.hooks.EventAliaser, "__init__", made).start()


def _validate_once() -> None:
    """SageMaker's SDK checks the schema of its own settings for each session, in a tenth of a second."""
    import jsonschema  # tests in other environments take functions from here, and lack it

    validate = jsonschema.validate

    @functools.cache
    def validated(instance: str, schema: str) -> None:
        validate(json.loads(instance), json.loads(schema))

    def once(instance: object, schema: object) -> None:
        validated(json.dumps(instance), json.dumps(schema))

    mock.patch.object(jsonschema, "validate", once).start()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; `make` keeps workers from ordering them by their tests."""
    rank = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave all that is kept out of collections from now on: the Trainer makes one for each training.

    What libraries set in the environment as they are imported is undone: no command would be warm.
    """
    gc.freeze()
    gc.enable()
    # At the usual 700 a tenth of a worker's time was spent looking for garbage.
    gc.set_threshold(10_000)
    for name in os.environ.keys() - warm.BEGINNING.keys():
        if not name.startswith("PYTEST"):
            del os.environ[name]


_MODULES = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def environment_of_the_module() -> Iterator[None]:
    """Undo what libraries set in this process's environment: in another one no command would be warm.

    What the modules before have imported or read is left out of collections, too, but not their garbage,
    which is collected after every third of them.
    """
    if next(_MODULES) % 3 == 0:
        gc.collect()
        gc.freeze()
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def environment_of_the_test() -> Iterator[None]:
    """The same for each test: torch names its cache once a pipeline has been made."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a JSON text with a golden file, to the letter; a missing file is a failure."""

    def check(name: str, text: str) -> None:
        path, text = GOLDEN / name, golden_text(text)
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no golden file {name}; accept with: make golden"
        assert text == path.read_text(encoding="utf-8"), f"{name} changed; accept: make golden"

    return check


def compose(*overrides: str) -> LaunchConfig:
    """The config of overrides, unchecked."""
    composed = composing.compose_all(list(overrides), CONF, lambda config: [], multirun=False)
    return composed[0].config


def chosen_once(conf_dir: Path, extra_dir: Path | None, base: JobConfig | None) -> Any:
    """Compose a choice of shipped groups as in a sweep, once; other folders change between tests."""
    if extra_dir or base or conf_dir != CONF:
        return composed_anew(conf_dir, extra_dir, base)
    return _chosen_shipped()


composed_anew = composing._chosen_groups


@functools.cache
def _chosen_shipped() -> Any:
    return composed_anew(CONF, None, None)


def run(
    *arguments: str,
    cwd: Path = ROOT,
    timeout: float = PATIENCE,
    given: str | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command of the project as a user would; python is this one, and warm where that will do.

    given: its standard input; that of the tests by default.
    """
    whole = {**os.environ, **environment}
    if warm.is_warm(arguments, whole):
        return warm.server_for(arguments, whole).run(arguments, cwd, whole, timeout, given)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=whole,
        input=given,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
