"""A folder or file is named by its path: an address of an object store is refused by name, and makes no folder."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from pipeline.config import Config, ConfigError, load_config
from pipeline.config.section import is_path, is_section, settings_in

MINIMAL = {
    "name": "shop",
    "data": {"path": "events", "columns": {"key": "user_id", "item": "item_id", "timestamp": "ts"}},
}
# What a section that may be left out must have beside its path.
BESIDE = {"catalogue": {"item": "item"}}


def paths_in(section: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The settings that are paths, each as the names that lead to it; sections by name go by the name `a`."""
    for name, field in settings_in(section).items():
        if is_path(field.annotation):
            yield (*before, name)
        kinds = typing.get_args(field.annotation)
        for kind in (field.annotation, *kinds):
            if is_section(kind):
                yield from paths_in(kind, (*before, name, "a") if str in kinds else (*before, name))


PATHS = list(paths_in(Config))


def settings_with(place: tuple[str, ...], value: str) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(yaml.safe_dump(MINIMAL))
    at = settings
    for name in place[:-1]:
        at = at.setdefault(name, dict(BESIDE.get(name, {})))
    at[place[-1]] = value
    return settings


def test_all_paths_are_looked_at():
    assert {".".join(place) for place in PATHS} >= {"root", "data.path", "data.items", "catalogue.path"}


@pytest.mark.parametrize("address", ["gs://bucket/run", "s3://bucket/run", "hdfs:///run", "file:///srv/run", "s3:/run"])
@pytest.mark.parametrize("place", PATHS, ids=".".join)
def test_an_address_is_refused_by_name(place, address, tmp_path):
    file = tmp_path / "warmspan.yaml"
    file.write_text(yaml.safe_dump(settings_with(place, address)), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_config(file)
    name = f"`{'.'.join(place)}`"
    (line,) = [line for line in str(error.value).splitlines() if name in line]
    assert f"{name}: must be a path of a file system" in line
    assert f"Received: {address!r}" in line
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("path", ["events", "./a:b/events", "/srv/2024:05/events", "C:/events", "a b/c"])
def test_a_path_with_a_colon_is_a_path(path, tmp_path):
    file = tmp_path / "warmspan.yaml"
    file.write_text(yaml.safe_dump(settings_with(("data", "path"), path)), encoding="utf-8")
    assert load_config(file).data.path == tmp_path / path
