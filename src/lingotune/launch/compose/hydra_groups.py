"""Hydra's composition of groups, without Hydra's own section.

`hydra.compose` scans for plugins and composes a section `hydra` from ten more files: launchers, sweepers,
logging. Nothing here uses them, and they take more than half of the time.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins import structured_config_source
from hydra._internal.defaults_list import DefaultsList, create_defaults_list
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lingotune.launch.compose.file_source import GroupFileSource

SCHEMA = "schema"
"""Name under which `LaunchConfig` is registered."""


def compose_groups(
    folders: Iterable[Path], primary: str, choices: Sequence[str]
) -> tuple[DictConfig, dict[str, Any]]:
    """Compose a primary config; returns it with the option of each group, those that files choose too.

    folders: those of group files; the first one that has a file wins. choices: overrides of groups.
    Raises what `hydra.compose` raises.
    """
    loader = ConfigLoaderImpl(ConfigSearchPathImpl())
    try:
        found, repository = _defaults(folders, primary, choices)
        config = loader._compose_config_from_defaults_list(found.defaults, repository)
        OmegaConf.set_struct(config, True)
        loader._apply_overrides_to_config(found.config_overrides, config)
    except OmegaConfBaseException as error:
        raise ConfigCompositionException() from error
    return config, found.overrides.known_choices


def defaults_of(folders: Iterable[Path], primary: str, choices: Sequence[str]) -> DefaultsList:
    """Find the files and schemas of a config in their order, and the tree by which they are chosen."""
    return _defaults(folders, primary, choices)[0]


def _defaults(
    folders: Iterable[Path], primary: str, choices: Sequence[str]
) -> tuple[DefaultsList, _Repository]:
    version.setbase("1.3")
    overrides = OverridesParser.create().parse_overrides([*choices])
    repository = _Repository(folders)
    found = create_defaults_list(
        repository, primary, overrides, prepend_hydra=False, skip_missing=False
    )
    return found, repository


class StructuredConfigSource(structured_config_source.StructuredConfigSource):
    """The schema and jobs to start from; Hydra tells schemas by this name of the class."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Copy a config that is registered; loading a pickle is four times faster than copy.deepcopy."""
        if config_path != SCHEMA:
            return super().load_config(config_path)
        result: ConfigResult = pickle.loads(self._schema)
        return result

    @functools.cached_property
    def _schema(self) -> bytes:
        return pickle.dumps(super().load_config(SCHEMA))


@functools.cache
def _structured() -> StructuredConfigSource:
    return StructuredConfigSource(SCHEMA, "structured://")


class _Repository(ConfigRepository):
    """Group files and the schema. Hydra asks for each config several times; it is read once."""

    def __init__(self, folders: Iterable[Path]) -> None:
        files = [GroupFileSource.of(folder) for folder in folders]
        self.sources = [*files, _structured()]
        self._read: dict[str, ConfigResult | None] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Read a config by its path without .yaml; None where there is none."""
        if config_path not in self._read:
            self._read[config_path] = super().load_config(config_path)
        return self._read[config_path]
