"""What all sections of the settings have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pydantic
from pydantic.fields import FieldInfo


class Section(pydantic.BaseModel):
    """Can't be changed, and knows each of its settings.

    What the trainer or a served model is set by is defined there, as a dataclass that pydantic checks, and is a section
    all the same.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


def is_section(annotation: Any) -> bool:
    """Whether settings of that type have settings in them."""
    return isinstance(annotation, type) and (
        issubclass(annotation, pydantic.BaseModel) or dataclasses.is_dataclass(annotation)
    )


def settings_in(section: Any) -> Mapping[str, FieldInfo]:
    """The settings of a section, by name."""
    if issubclass(section, pydantic.BaseModel):
        return section.model_fields
    return section.__pydantic_fields__  # type: ignore[no-any-return]
