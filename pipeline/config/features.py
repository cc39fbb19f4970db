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
    def _can_be_asked_with(cls, value: tuple[Feature, ...]) -> tuple[Feature, ...]:
        for feature in value:
            if feature.kind in ("text", "vector"):
                raise ValueError(
                    f"can't be learned from {feature.kind}: that takes an item encoder. Received: {feature.name!r} of "
                    f"kind {feature.kind}. Take it out, or declare what of it is a category or a number."
                )
            if feature.pattern is not None:
                raise ValueError(
                    "can't have a `pattern`, which no request goes through: what a server gets is the value itself. "
                    f"Received: {feature.pattern!r} for {feature.name!r}. Write the value to a column of its own."
                )
        return value

    @pydantic.model_validator(mode="after")
    def _have_a_vocabulary_each(self) -> Features:
        names = collections.Counter(feature.name for feature in (*self.item, *self.key, *self.context))
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(
                "must have each name once among items, keys and context: words and variables are called by it. "
                f"Received: {', '.join(map(repr, twice))} more than once. Give one another name, and its `column`."
            )
        return self

    @property
    def of_query(self) -> tuple[Feature, ...]:
        """Those of the key, then those of the context."""
        return (*self.key, *self.context)
