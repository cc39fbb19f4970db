"""What the tuning of an encoder came to in a run, as ML Metadata has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

TUNED_ENCODER = "WarmspanTunedEncoder"


@dataclasses.dataclass(frozen=True)
class TuningOfRun:
    """The tuning of the encoder of one text (see `EncoderTuner`).

    Attributes:
      text: the name of the feature.
      method: `lora` or `full`.
      positions: that it learned from.
      spans: how many spans it has learned, it and those that it goes on from.
      revision: the first digits of what texts are encoded with; empty for the encoder as it is.
      published: whether that is new in this run.
      reason: why it is, or is not.
      moved: how far the texts' vectors are from those of the revision before, the mean of 1 - cosine; None without any.
    """

    text: str
    method: str
    positions: int
    spans: int
    revision: str
    published: bool
    reason: str
    moved: float | None

    @classmethod
    def of_all(cls, tuned: Iterable[Mapping[str, Any]]) -> tuple[TuningOfRun, ...]:
        """From the properties of a span's tuned encoders, oldest first; of a text tuned twice the last counts."""
        by_text = {
            of["text"]: cls(
                text=of["text"],
                method=of["method"],
                positions=of["positions"],
                spans=of["learned_spans"],
                revision=of["revision"][:12],
                published=of["published"] == 1,
                reason=of["reason"],
                moved=of.get("moved"),
            )
            for of in tuned
        }
        return tuple(by_text[text] for text in sorted(by_text))

    def __str__(self) -> str:
        """In words: `title: tuned (lora) on 812 positions, 9 spans by now; encodes as revision 3f2a01bc4d5e. …`"""
        learned = f"{self.text}: tuned ({self.method}) on {self.positions:,} positions, {self.spans} spans by now"
        encodes = f"encodes as revision {self.revision}" if self.revision else "encodes as it came"
        moved = "" if self.moved is None or not self.published else f", {self.moved:.4f} from the last by cosine"
        return f"{learned}; {encodes}{', new today' * self.published}{moved}. {self.reason}"
