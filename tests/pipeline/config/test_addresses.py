"""A path is of a file system: an address is refused by name, and makes no folder, but where one may stand."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from components.object_store.address import StoreAddress
from pipeline.config import Config, ConfigError, load_config, with_settings
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
# Where an address of an object store is taken.
MAY_BE_IN_A_STORE = [("data", "path")]
STORES, OTHERS = ["gs://bucket/run", "s3://bucket/run"], ["hdfs:///run", "file:///srv/run", "s3:/run", "s3:///run"]


def settings_with(place: tuple[str, ...], value: str) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(yaml.safe_dump(MINIMAL))
    at = settings
    for name in place[:-1]:
        at = at.setdefault(name, dict(BESIDE.get(name, {})))
    at[place[-1]] = value
    return settings


def test_all_paths_are_looked_at():
    assert {".".join(place) for place in PATHS} >= {"root", "data.path", "data.items", "catalogue.path"}


@pytest.mark.parametrize(
    ("place", "address"),
    [(place, address) for place in PATHS for address in (OTHERS if place in MAY_BE_IN_A_STORE else [*STORES, *OTHERS])],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else value,
)
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


@pytest.mark.parametrize("place", [*MAY_BE_IN_A_STORE, ("push", "path")], ids=".".join)
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("s3://bucket/run", "s3://bucket/run"),
        ("gs://bucket/a/b/", "gs://bucket/a/b"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
    ],
)
def test_an_address_is_taken_where_one_may_stand(place, written, meant, tmp_path):
    file = tmp_path / "warmspan.yaml"
    file.write_text(yaml.safe_dump(settings_with(place, written)), encoding="utf-8")
    section, name = place
    config = load_config(file)
    assert getattr(getattr(config, section), name) == StoreAddress(meant)
    # Also where other settings are changed, as a backtest does.
    changed = with_settings(config, {"push": {"keep_versions": 3}}, "a test")
    assert isinstance(getattr(getattr(changed, section), name), StoreAddress)


@pytest.mark.parametrize("path", ["/srv/models", "models", "s3://bucket//models", "s3://bucket/../models", "hdfs:///x"])
def test_models_are_published_to_an_address_alone(path, tmp_path):
    file = tmp_path / "warmspan.yaml"
    file.write_text(yaml.safe_dump(settings_with(("push", "path"), path)), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"`push.path`: must be an address .*s3://bucket/folder") as error:
        load_config(file)
    assert f"Received: {path!r}" in str(error.value)


@pytest.mark.parametrize(
    ("address", "bucket", "key"),
    [("s3://b/x/y", "s3://b", "x/y"), ("gs://b", "gs://b", ""), ("s3://b/x", "s3://b", "x")],
)
def test_an_address_has_a_bucket_and_a_key(address, bucket, key):
    parsed = StoreAddress.parse(address)
    assert (parsed.bucket, parsed.key) == (bucket, key)
    assert isinstance(parsed.bucket, StoreAddress)
