"""What a champion's figures on a span are to be seen beside, as ML Metadata keeps it.

Neither TFX nor Keras is imported here.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

SURROUNDINGS = "surroundings"  # the property that holds it

Bounds = tuple[float, float, float]
"""A mean and its lower and upper bound."""


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """A property of a next-span evaluation, as JSON. Of an evaluation from before there was any all is empty.

    Attributes:
      champion, popularity: metric to its mean and bounds on the span's events: of the champion, and of the items that
        were most popular before the span, the same for everybody.
      gain: of the champion over them, event by event.
      slices: as `slices.json`.
      served_lists: what is recommended to users of the span: `coverage`, `gini`, `distinct_items`, `users`,
        `recommended` and `taken`, the last two mean popularity percentiles (`trainer.diagnostics.beyond_accuracy`).
      shelf: where there is a catalogue, the champion's `recall` on `events` of items without events before, ranked
        among these alone; their number, `size`, and what `chance` finds.
    """

    champion: Mapping[str, Bounds] = dataclasses.field(default_factory=dict)
    popularity: Mapping[str, Bounds] = dataclasses.field(default_factory=dict)
    gain: Mapping[str, Bounds] = dataclasses.field(default_factory=dict)
    slices: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    served_lists: Mapping[str, float] = dataclasses.field(default_factory=dict)
    shelf: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def shelf_sentence(self) -> str:
        """What is known of the shelf, in words; empty without one."""
        if not self.shelf:
            return ""
        size, events, chance = (self.shelf[name] for name in ("size", "events", "chance"))
        if chance >= 1:
            return f"shelf of {size:,.0f} items without events: fewer than a list has places"
        on = f"recall {self.shelf['recall']:.4f} on {events:.0f} events" if "recall" in self.shelf else "no event"
        return f"shelf of {size:,.0f} items without events: {on}, by chance {chance:.4f}"

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Surroundings:
        """Reads what `to_json` wrote; nothing for an empty text."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in json.loads(text or "{}").items() if name in known})
