"""The section `features` of the settings: what is known of items, keys and events besides their ids."""

from __future__ import annotations

import collections

import pydantic

from pipeline.config.section import Section
from trainer.features.declaration import Feature


class Features(Section):
    """Declared once, here: `item` features are columns of the catalogue, `key` and `context` features of the events."""

    item: tuple[Feature, ...] = ()
    key: tuple[Feature, ...] = ()
    context: tuple[Feature, ...] = ()

    @pydantic.field_validator("item", "key", "context")
    @classmethod
    def _named_once(cls, value: tuple[Feature, ...]) -> tuple[Feature, ...]:
        names = collections.Counter(feature.name for feature in value)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"must have each name once. Received: {', '.join(map(repr, twice))} more than once.")
        return value

    @pydantic.field_validator("key", "context")
    @classmethod
    def _of_items_alone(cls, value: tuple[Feature, ...]) -> tuple[Feature, ...]:
        if value:
            raise ValueError(
                "can't be learned from yet: only features of items are. Received: "
                f"{', '.join(repr(feature.name) for feature in value)}. Take them out."
            )
        return value
