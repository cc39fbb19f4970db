"""Settings of a component as its execution parameter: TFX knows numbers and texts only."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeVar

import pydantic

_Settings = TypeVar("_Settings", bound="JsonParameter")


class JsonParameter:
    """Base of a frozen dataclass that travels as JSON, the same text for the same settings."""

    def to_json(self) -> str:
        settings: Any = self  # a dataclass in each subclass
        return json.dumps(dataclasses.asdict(settings), sort_keys=True)

    @classmethod
    def from_json(cls: type[_Settings], text: str) -> _Settings:
        return pydantic.TypeAdapter(cls).validate_json(text)
