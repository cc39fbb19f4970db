"""What the trainer is told, as one JSON text so that it is an execution parameter of its own in MLMD."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from trainer.update import ModelSpec, Policy


@dataclasses.dataclass(frozen=True)
class Settings:
    """Model, update and export settings.

    Attributes:
      model, policy: see `trainer.update`.
      k: cut-off of the gate's ranking metrics.
      max_k: most items that one request can get.
      exclude_seen: whether items of the history are left out, in the gate and in service.
      items_file: CSV file with the items' titles, or None.
      item_column, title_column: its columns.
      log_folder: where TensorBoard's training curves go, or None.
    """

    model: ModelSpec
    policy: Policy
    k: int
    max_k: int
    exclude_seen: bool
    items_file: str | None = None
    item_column: str = "item_id"
    title_column: str = "title"
    log_folder: str | None = None

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        raw: dict[str, Any] = json.loads(text)
        return cls(**{**raw, "model": ModelSpec(**raw["model"]), "policy": Policy.from_dict(raw["policy"])})
