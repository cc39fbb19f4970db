"""Reads the settings file; a mistake in it is a sentence that names the key, the rule and what was received."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic
import yaml

from components.object_store.address import is_address
from pipeline.config.config import Config, ConfigError
from pipeline.config.effects import ineffective
from pipeline.config.root_address import at_home, decimal_ids_of
from pipeline.config.section import is_section, settings_in


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would silently keep the last, and takes `on:` for a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:bool":  # as YAML 1.1 has it: yes, no, on, off
                key.tag = "tag:yaml.org,2002:str"
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.composer.ComposerError(
                    "a key must be given once", node.start_mark, f"received `{key.value}` twice", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        return node


def load_config(path: str | Path, anywhere: bool = False) -> Config:
    """Reads the YAML file at `path`.

    Args:
      path: the settings file.
      anywhere: take a root that was moved or copied since it was made too.

    Raises:
      ConfigError: the file is missing, not YAML, or has a key or value that can't be used or has no effect.
      MovedRootError: its root does not stand where it was made.
    """
    path = Path(path)
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise ConfigError(
            f"The settings file must exist. Received: {str(path)!r}. Write one with `warmspan init`."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} must be a YAML file that can be read. {error}") from None
    if not isinstance(raw, dict):
        received = "an empty file" if raw is None else type(raw).__name__
        raise ConfigError(f"{path} must hold keys and values. Received: {received}.")
    try:
        config = Config.model_validate(raw)
    except pydantic.ValidationError as error:
        raise ConfigError(f"{path} can't be used:\n" + "\n".join(_explain(error))) from None
    if idle := ineffective(config):
        raise ConfigError(f"{path} can't be used:\n" + "\n".join(f"  {setting}" for setting in idle))
    config = _absolute(config, path.resolve().parent)
    return _as_begun(config if anywhere else at_home(config))


def with_settings(config: Config, changes: Mapping[str, Any], source: str) -> Config:
    """The settings with some replaced, section by section, and checked as when they are read.

    Of the others, those that have no effect any more go back to their defaults.

    Args:
      config: the settings.
      changes: nested settings, as in the YAML file.
      source: where the changes come from, for the message.

    Raises:
      ConfigError: a key or value that can't be used or has no effect.
    """
    merged = _merged(config.model_dump(), changes)
    try:
        changed = Config.model_validate(merged)
        while idle := ineffective(changed):  # without one setting another may have no effect either
            if given := [setting for setting in idle if _names(changes, setting.effect.setting)]:
                raise ConfigError(f"{source} can't be used:\n" + "\n".join(f"  {setting}" for setting in given))
            for setting in idle:
                back = setting.effect.default
                for name in reversed(setting.effect.setting.split(".")):
                    back = {name: back}
                merged = _merged(merged, back)
            changed = Config.model_validate(merged)
        return changed
    except pydantic.ValidationError as error:
        raise ConfigError(f"{source} can't be used:\n" + "\n".join(_explain(error))) from None


def _names(changes: Any, setting: str) -> bool:
    for name in setting.split("."):
        if not isinstance(changes, Mapping) or name not in changes:
            return False
        changes = changes[name]
    return True


def _merged(settings: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for name, value in changes.items():
        inner = settings.get(name)
        merged[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return merged


def _absolute(config: Config, base: Path) -> Config:
    data = config.data.model_copy(
        update={
            "path": config.data.path if is_address(config.data.path) else base / config.data.path,
            "items": None if config.data.items is None else base / config.data.items,
        }
    )
    catalogue = config.catalogue
    if catalogue is not None:
        catalogue = catalogue.model_copy(update={"path": base / catalogue.path})
    encoders = {name: of.model_copy(update={"path": base / of.path}) for name, of in config.encoders.items()}
    changed = {"root": base / config.root, "data": data, "catalogue": catalogue, "encoders": encoders}
    return config.model_copy(update=changed)


def _as_begun(config: Config) -> Config:
    data = config.data.model_copy(update={"decimal_ids": decimal_ids_of(config)})
    return config.model_copy(update={"data": data})


def _explain(error: pydantic.ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            near = _nearest(str(problem["loc"][-1]), _known_keys(problem["loc"][:-1]))
            lines.append(f"  `{where}` is not a setting. Did you mean `{near}`?")
        elif problem["type"] == "missing":
            lines.append(f"  `{where}` must be given.")
        else:
            message = problem["msg"].removeprefix("Value error, ").removesuffix(".")
            received = "" if "Received" in message else f" Received: {problem['input']!r}."
            lines.append(f"  `{where}`: {message}.{received}")
    return lines


def _nearest(name: str, known: list[str]) -> str:
    # A settings file is written by hand: capitals and hyphens are the commonest slips.
    return difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.0)[0]


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """The settings of the section at `location`, through the lists and mappings that hold sections."""
    annotation: Any = Config
    no_section = (Ellipsis, type(None))
    for part in location:
        if is_section(annotation):
            annotation = settings_in(annotation)[str(part)].annotation
        else:
            annotation = next(inner for inner in reversed(typing.get_args(annotation)) if inner not in no_section)
        if type(None) in typing.get_args(annotation):  # a section that may be left out
            annotation = next(inner for inner in typing.get_args(annotation) if inner not in no_section)
    return list(settings_in(annotation))
