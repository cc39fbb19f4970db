"""The one definition of a feature, from the settings file to the model. Neither TensorFlow nor Arrow here.

The entries of the section `features` of a settings file are `Feature`s.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import pydantic
from pydantic.dataclasses import dataclass

Kind = Literal["id", "category", "categories", "number", "text", "time", "vector"]

# Kinds whose values get a row each in a vocabulary of the feature's own, kinds that are read as one number, and kinds
# of which a model is given a vector: the user's own, or what an encoder has made of a text.
OF_WORDS: frozenset[Kind] = frozenset({"id", "category", "categories"})
OF_NUMBERS: frozenset[Kind] = frozenset({"number", "time"})
OF_VECTORS: frozenset[Kind] = frozenset({"text", "vector"})
OF_ITEMS = OF_WORDS | OF_NUMBERS | OF_VECTORS

# Rows of every feature's table, before those of words or of knots.
PADDING, MISSING, UNKNOWN = 0, 1, 2
FIRST_ROW = 3

# Columns of a catalogue that are no features.
ITEM, SINCE, CHANGED, WITHDRAWN = "item", "since", "changed", "withdrawn"
_TAKEN = (ITEM, SINCE, CHANGED, WITHDRAWN)


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class Feature:
    r"""A feature of items, keys or the context of an event.

    Attributes:
      name: of the feature, and of its variables; it stays while the feature is learned.
      kind: `id` (read by the rule of all ids) and `category` are one word, `categories` several; `number` is one, as
        `time` is, read as the timestamps of events are; `vector` is a list of `width` numbers, whose direction is
        learned from; `text` is made one by an encoder.
      column: the user's; None for the name.
      separator: between several words, or a vector's numbers, in one text; lists need none.
      pattern: a regular expression, searched in the column's text, whose first group (or whole match) is the value:
        `\((\d{4})\)` takes the year out of "Heat (1995)". Where it does not match the value is missing.
      unit: of a `time` that is a number.
      missing: what becomes of an item without a value: `row`, it has the feature's row for "missing"; `reject`, its
        record is rejected.
      min_count: how many items must have a word before it has a row of its own. Others share the row for "unknown".
      max_values: how many words of one item are kept.
      encoder: of a text, by its name in the section `encoders`; None for the only one.
      width: how many numbers each vector must have.
    """

    name: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    kind: Kind
    column: str | None = None
    separator: Annotated[str, pydantic.Field(min_length=1)] = "|"
    pattern: str | None = None
    unit: Literal["s", "ms", "us", "ns"] = "s"
    missing: Literal["row", "reject"] = "row"
    min_count: int = pydantic.Field(default=1, ge=1)
    max_values: int = pydantic.Field(default=8, ge=1)
    encoder: str | None = None
    width: int | None = pydantic.Field(default=None, ge=1)

    @property
    def source(self) -> str:
        """The column that it is read from."""
        return self.column or self.name

    @property
    def vocabulary(self) -> str:
        """The name of its vocabulary of words."""
        return f"feature_{self.name}"

    @pydantic.field_validator("name")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if value in _TAKEN:
            raise ValueError(
                f"must not be one of {', '.join(_TAKEN)}, which are columns of every catalogue. Received: {value!r}. "
                "Give it another name, and the column's under `column`."
            )
        return value

    @pydantic.field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"must be a regular expression ({error}). Received: {value!r}.") from None
        return value

    @pydantic.model_validator(mode="after")
    def _all_have_an_effect(self) -> Feature:
        for name, default, kinds in (
            ("separator", "|", {"categories", "vector"}),
            ("unit", "s", {"time"}),
            ("min_count", 1, OF_WORDS),
            ("max_values", 8, {"categories"}),
            ("encoder", None, {"text"}),
            ("width", None, {"vector"}),
        ):
            if getattr(self, name) != default and self.kind not in kinds:
                raise ValueError(
                    f"`{name}` has an effect with `kind: {' or '.join(sorted(kinds))}` only. Received: "
                    f"{getattr(self, name)!r} for {self.name!r} of kind {self.kind}. Take it out."
                )
        if self.kind == "vector" and self.width is None:
            raise ValueError(
                f"a vector must have a `width`, how many numbers it is. Received: none for {self.name!r}. Give it."
            )
        return self
