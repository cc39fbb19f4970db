"""Which model was trained from which, and what became of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from pipeline.ledger.models import Model, ModelLineage
from pipeline.operations.rollback import BUNDLE_FOLDER
from serving.bundle import BundleError, Manifest

Fate = Literal["served", "kept", "retired", "refused", "revoked"]

# What each is called on the page.
FATES: dict[Fate, str] = {
    "served": "served",
    "kept": "kept in the folder",
    "retired": "was served, left the folder",
    "refused": "refused",
    "revoked": "revoked",
}
_MOST = 40  # versions in a graph; more could not be told apart


@dataclasses.dataclass(frozen=True)
class Version:
    """A trained model.

    Attributes:
      version, span: what it is pushed as, and the last span it learned.
      bases: versions that it was trained from; empty where training began with fresh weights.
      learned: how many spans it and its bases have trained on since the last fresh weights; None where it is not known.
      fate: what became of it.
      reason: why it was revoked; else empty.
      teacher: version of the teacher that taught it; None without one.
    """

    version: int
    span: int
    bases: tuple[int, ...]
    learned: int | None
    fate: Fate
    reason: str
    teacher: int | None = None


def read_lineage(lineage: ModelLineage, present: Sequence[int], first: int) -> tuple[Version, ...]:
    """The models of the spans from `first` on with those that they come from, oldest first.

    Args:
      family: all models.
      present: versions in TF Serving's folder, oldest first.
      first: the first span of the report.
    """
    by_id = {model.id: model for model in lineage.models}
    chosen = {model.id for model in lineage.models if model.span >= first}
    for model_id in sorted(chosen):
        chosen |= by_id[model_id].bases & by_id.keys()
    models = [model for model in lineage.models if model.id in chosen][-_MOST:]
    served = present[-1] if present else None
    return tuple(
        Version(
            version=model.version,
            span=model.span,
            bases=tuple(sorted(by_id[base].version for base in model.bases if base in by_id)),
            learned=None if (spans := learned_spans(model)) is None else len(spans),
            fate=_fate(model, served, present),
            reason=model.reason,
            teacher=model.taught_by[-1] if model.taught_by else None,
        )
        for model in models
    )


def _fate(model: Model, served: int | None, present: Collection[int]) -> Fate:
    if model.revoked:
        return "revoked"
    if model.pushed is None:
        return "refused"
    if model.version == served:
        return "served"
    return "kept" if model.version in present else "retired"


def learned_spans(model: Model) -> tuple[int, ...] | None:
    """The spans that a model and its bases have trained on, as its bundle says; None once that is gone."""
    try:
        return tuple(Manifest.read(Path(model.uri) / BUNDLE_FOLDER).about.get("learned", ()))
    except BundleError:
        return None
