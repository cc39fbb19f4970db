"""What all sections of the settings have in common."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic.fields import FieldInfo

from components.object_store.address import EXAMPLES, StoreAddress

_HAS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # of two letters or more; a `Path` has one slash left of two


class Section(pydantic.BaseModel):
    """Can't be changed, and knows each of its settings.

    What the trainer or a served model is set by is defined there, as a dataclass that pydantic checks, and is a section
    all the same.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _is_of_a_file_system(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        if not is_path(annotation) or not _HAS_SCHEME.match(str(value)):
            return value
        if StoreAddress not in typing.get_args(annotation):
            raise ValueError(
                "must be a path of a file system that this machine has mounted: an address would be taken for a folder "
                f"of that name. Received: {str(value)!r}. Copy or mount what it names, and give that folder."
            )
        try:
            return StoreAddress.parse(value)
        except ValueError:
            raise ValueError(
                f"must be a path of a file system that this machine has mounted, or an address, {EXAMPLES}. Received: "
                f"{str(value)!r}. Copy or mount what it names, and give that folder."
            ) from None


def _place(value: Any) -> Path | StoreAddress:
    if isinstance(value, (str, Path)):
        return value if isinstance(value, StoreAddress) else Path(value)
    raise ValueError(f"must be a path or an address. Received: {value!r}.")


# A folder on a disk, or below an address of an object store.
Place = Annotated[Path | StoreAddress, pydantic.PlainValidator(_place)]


def is_path(annotation: Any) -> bool:
    """Whether a setting of that type names a folder or a file."""
    return annotation is Path or Path in typing.get_args(annotation)


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
