"""The settings of the component as one plain, picklable value that travels as JSON in the execution properties."""

from __future__ import annotations

import dataclasses
from typing import Literal

from components.json_parameter import JsonParameter
from components.span_example_gen.errors import SpanError
from trainer.features.declaration import Feature

_DAY = 86_400_000  # milliseconds


class CatalogueError(SpanError):
    """A catalogue can't be used; the message says what is wrong, the rule, what was received and what to do next."""


@dataclasses.dataclass(frozen=True)
class Settings(JsonParameter):
    """Where deliveries lie, how a row becomes an item, and how much may be wrong with them.

    Attributes:
      path, pattern, format, delivery, withdrawn, valid_from, max_reject_fraction, max_withdrawn_fraction,
        max_changed_fraction: see the section `catalogue` of the settings.
      item: the column of item ids.
      decimal_ids: as of events (see `components.span_example_gen.ids`).
      features: columns that are kept.
      digests: the file where digests of files are kept, which need not be read again; None for nowhere.
    """

    path: str
    pattern: str | None
    format: str
    delivery: Literal["snapshot", "changes"]
    item: str
    withdrawn: str | None
    valid_from: str | None
    decimal_ids: str
    max_reject_fraction: float
    max_withdrawn_fraction: float
    max_changed_fraction: float
    features: tuple[Feature, ...]
    digests: str | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The user's columns that are read, each once."""
        special = (name for name in (self.item, self.withdrawn, self.valid_from) if name is not None)
        return tuple(dict.fromkeys([*special, *(feature.source for feature in self.features)]))

    def ends(self, span: int) -> int | None:
        """The end of a span that is a date, unix milliseconds: a change that holds from later on has to wait."""
        return None if self.valid_from is None else (span + 1) * _DAY
