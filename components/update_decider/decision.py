"""Skip, fine-tune or train from nothing: the rule, without any TFX."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Action = Literal["skip", "fine_tune", "cold_start", "retrain"]


@dataclasses.dataclass(frozen=True)
class Decision:
    """What is done with a span.

    Attributes:
      action: `skip` leaves the champion as it is; `cold_start` and `retrain` start from fresh weights.
      reason: one sentence.
      train_on: spans to train on, oldest first; the last is the span itself.
    """

    action: Action
    reason: str
    train_on: tuple[int, ...]

    def write(self, folder: str) -> None:
        (Path(folder) / "decision.json").write_text(json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def read(cls, folder: str) -> Decision:
        raw = json.loads((Path(folder) / "decision.json").read_text())
        return cls(raw["action"], raw["reason"], tuple(raw["train_on"]))


def decide(
    span: int,
    champion_span: int | None,
    past: Sequence[int],
    new_events: int,
    held_out: int,
    min_held_out: int,
    max_owed: int,
    retrain_spans: int,
) -> Decision:
    """Decides on one span.

    Args:
      span: the span's number.
      champion_span: the last span that the model in service learned, None without one.
      past: earlier spans whose sequences are at hand, oldest first.
      new_events: new positions in the span's sequences.
      held_out: events that the gate can be decided on, which must be at least `min_held_out`.
      max_owed: how many earlier spans may be caught up before a full retrain is due.
      retrain_spans: how many spans, this one included, a training from fresh weights uses.
    """
    recent = (*past, span)[-retrain_spans:]
    owed = tuple(one for one in past if champion_span is not None and one > champion_span)
    if not new_events and not owed:
        return Decision("skip", "The span has no event to train on.", ())
    if held_out < min_held_out:
        return Decision(
            "skip",
            f"{held_out} held-out events are too few to judge a candidate by (gate.min_events {min_held_out}).",
            (),
        )
    if champion_span is None:
        return Decision("cold_start", "No model is in service yet.", recent)
    if len(owed) > max_owed:
        return Decision(
            "retrain",
            f"The champion owes at least {len(owed)} spans, more than update.max_owed_spans {max_owed}.",
            recent,
        )
    reason = (
        f"The champion owes {len(owed)} earlier span{'s' * (len(owed) > 1)}."
        if owed
        else "The champion has learned every earlier span."
    )
    return Decision("fine_tune", reason, (*owed, span))
