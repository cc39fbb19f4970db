"""Settings as execution parameters: there and back, and without a trace of what is not set."""

from __future__ import annotations

import dataclasses
import json

import pytest

from components.json_parameter import JsonParameter


@dataclasses.dataclass(frozen=True)
class Inner:
    rows: int
    shelf: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Sample(JsonParameter):
    file: str | None
    inner: Inner
    several: tuple[Inner, ...] = ()
    later: bool | None = None


@pytest.mark.parametrize(
    "sample",
    [
        Sample(file=None, inner=Inner(1)),
        Sample(file="items.csv", inner=Inner(2, ("a", "b")), several=(Inner(3), Inner(4, ())), later=False),
    ],
)
def test_settings_come_back_as_they_went(sample: Sample) -> None:
    assert Sample.from_json(sample.to_json()) == sample


def test_a_setting_that_is_not_in_use_leaves_the_text_of_a_version_without_it() -> None:
    text = Sample(file=None, inner=Inner(1), several=(Inner(3),)).to_json()

    assert json.loads(text) == {"file": None, "inner": {"rows": 1}, "several": [{"rows": 3}]}
