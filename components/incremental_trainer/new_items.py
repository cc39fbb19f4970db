"""Places of the list that are kept for new items: which items are new, and what the places cost."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from components.incremental_trainer.settings import Settings
from serving.bundle.kept_places import KeptPlaces
from trainer.features.launches import NEVER, Launches
from trainer.input_pipeline import Positions
from trainer.models import kept_places
from trainer.models.base import Recommender
from trainer.vocabulary import Vocabulary

_BATCH = 256


def new_items(catalogue: pa.Table, items: Vocabulary, settings: Settings) -> np.ndarray:
    """Which items of the vocabulary are new by the settings, bool [items]: by their age, their events, or both."""
    launches = Launches.of(catalogue, items, settings.half_life_spans or 1.0)
    kept = settings.places_for_new
    assert kept is not None
    new = launches.sold & (launches.since != NEVER)
    if kept.younger_than is not None:
        new &= launches.span - launches.since < kept.younger_than
    if kept.fewer_events_than is not None:
        new &= launches.events < kept.fewer_events_than
    return new[items.first_row :]


def keep_places(
    model: Recommender,
    catalogue: pa.Table | None,
    items: Vocabulary,
    available: np.ndarray | None,
    held_out: Positions,
    settings: Settings,
) -> tuple[KeptPlaces | None, str]:
    """Makes `model` evaluate the list as it will be served; gives the rule for the export and a sentence on its cost.

    Args:
      model: trained.
      catalogue: of the span; None where there is none, and no place is kept.
      items: the vocabulary.
      available: bool [items], which may be recommended; None for all.
      held_out: what the cost is measured on.
      settings: of the trainer.
    """
    kept = settings.places_for_new
    if kept is None or catalogue is None:
        return None, ""
    new, k = new_items(catalogue, items, settings), min(settings.k, settings.max_k)
    if available is not None:
        new &= available
    without = _recall(model, held_out, settings)
    by_row = np.concatenate([np.zeros(items.first_row, bool), new])
    model.kept_places = kept_places.KeptPlaces(by_row, kept.places, k)
    rule = KeptPlaces(new, kept.places, k)
    about = f"Places for new items: {kept.places} of {k} for {int(new.sum()):,} items"
    if without is None:
        return rule, f"{about}."
    recall = _recall(model, held_out, settings)
    return rule, f"{about}; recall {recall:.4f} with them and {without:.4f} without, on {len(held_out):,} events."


def _recall(model: Recommender, held_out: Positions, settings: Settings) -> float | None:
    """The mean over all positions; None without any, and for a model that is not measured by its lists."""
    if not len(held_out) or "recall" not in model.metric_names(settings.model.params):
        return None
    values = [
        model.evaluate_positions(
            batch["key"], batch["history"], batch["item"], batch["weight"], settings.k, settings.exclude_seen
        )["recall"].numpy()
        for batch in held_out.dataset(_BATCH, model.history_length)
    ]
    return float(np.concatenate(values).mean())
