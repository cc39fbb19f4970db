"""What a night's comparison leaves for the gate, for the pusher and for the nights after it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pydantic

from components.paired_comparison.anchor import Anchor
from components.paired_comparison.judgement import Judgement, Rules

COMPARISON_FILE, CHAMPION_FILE, ANCHOR_FILE = "comparison.json", "champion.npz", "anchor.npz"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A night's comparison.

    Attributes:
      rules: it was judged by.
      judgement: what it came to.
      anchor: the anchor that it was measured against; None without a champion.
      following: the anchor of the night after, if the candidate is pushed.
      if_gone: metric to what is carried over where the files of `following` are there no more.
      retention_spans: how many spans before were tested.
      levels: metric to the candidate's own on the verdict part, which it has not learned.
    """

    rules: Rules
    judgement: Judgement
    anchor: Anchor | None
    following: Anchor
    if_gone: dict[str, float] = dataclasses.field(default_factory=dict)
    retention_spans: int = 0
    levels: dict[str, float] = dataclasses.field(default_factory=dict)

    def write(self, folder: str | Path) -> None:
        (Path(folder) / COMPARISON_FILE).write_text(json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def read(cls, folder: str | Path) -> Comparison:
        return pydantic.TypeAdapter(cls).validate_json((Path(folder) / COMPARISON_FILE).read_text())
