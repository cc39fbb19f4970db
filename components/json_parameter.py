"""Settings of a component as its execution parameter: TFX knows numbers and texts only."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeVar

import pydantic

_Settings = TypeVar("_Settings", bound="JsonParameter")


class JsonParameter:
    """Base of a frozen dataclass that travels as JSON, the same text for the same settings.

    A field that may be left out and is None leaves no trace in the text: what TFX ran before there was such a setting
    it takes from its cache afterwards.
    """

    def to_json(self) -> str:
        return json.dumps(_given(self), sort_keys=True)

    @classmethod
    def from_json(cls: type[_Settings], text: str) -> _Settings:
        return pydantic.TypeAdapter(cls).validate_json(text)


def _given(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        pairs = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {field.name: _given(held) for field, held in pairs if not (held is None and field.default is None)}
    if isinstance(value, (list, tuple)):
        return [_given(held) for held in value]
    if isinstance(value, dict):
        return {name: _given(held) for name, held in value.items()}
    return value
