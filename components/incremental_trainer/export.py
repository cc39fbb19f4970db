"""From a trained model to a bundle, and to what it must answer once it is one."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.incremental_trainer.settings import Settings
from serving.bundle import Manifest, write_bundle
from serving.bundle.kept_places import KeptPlaces
from serving.bundle.protocols import Catalogue
from serving.bundle.pruning import pruned
from serving.bundle.query_inputs import RequestFeature
from serving.bundle.reference_answers import Reference, make_reference
from serving.bundle.retrieval_index import ApproximateIndex, IndexSettingsError, describe
from serving.bundle.signatures import Signatures
from trainer.features.query_values import row_of
from trainer.input_pipeline import Positions
from trainer.keras2 import tf
from trainer.models.base import Recommender
from trainer.models.pruned_weights import tables_and_kernels
from trainer.vocabulary import Vocabulary

_log = logging.getLogger(__name__)
_POSITIONS = 64  # that the export is held against the model on


@dataclasses.dataclass(frozen=True)
class Export:
    """A written bundle.

    Attributes:
      manifest: the bundle's.
      reference: what it must answer.
      notes: what it cost to keep the items in another way than they were trained, a sentence each.
    """

    manifest: Manifest
    reference: Reference
    notes: tuple[str, ...]


def catalogue_of(
    items: Vocabulary, keys: Vocabulary, columns: Mapping[str, Sequence[str]], available: np.ndarray | None
) -> Catalogue:
    """What a bundle over these vocabularies says of its items (see `Catalogue`)."""
    numbers = items.numbers, keys.numbers
    return Catalogue(items.ids.to_pylist(), keys.ids.to_pylist(), columns, items.first_row, available, *numbers)


def export(
    model: Recommender,
    catalogue: Catalogue,
    held_out: Positions,
    examples: Sequence[bytes],
    settings: Settings,
    folder: Path,
    about: Mapping[str, Any],
    query_features: Sequence[RequestFeature] = (),
    kept: KeptPlaces | None = None,
) -> Export:
    """Freezes `model` and writes it as the bundle `folder`.

    Args:
      model: trained.
      catalogue: the ids behind its tables.
      held_out: positions, and `examples`, the same serialised; some of them become the reference.
      settings: of the export.
      folder: must not exist.
      query_features: of key and context, that a request may bring.
      kept: places for new items; None for none.
      about: for the manifest, to which `index` is added: its settings and what it loses against the exact one.

    Raises:
      IndexSettingsError: the model has no room for the index, or for the pruning, that is asked for.
    """
    k = min(settings.k, settings.max_k)
    # Before the model is frozen and its items are put into fewer bits.
    reference = _reference(model, catalogue, held_out, examples, k, settings.exclude_seen, kept)
    tables, kernels = tables_and_kernels(model) if settings.index.pruning else ([], [])
    if settings.index.pruning and not tables and not kernels:
        raise IndexSettingsError(
            "`serving.index.pruning` can be above 0 only where a model has item vectors or kernels. Received: "
            f"{settings.index.pruning:g} with model {settings.model.type}, which has neither. Set it to 0."
        )
    model.freeze()
    # What is traced within is saved as it is there; whoever has the model afterwards has all of its weights.
    with pruned(tables, kernels, settings.index.pruning):
        made = Signatures(
            model,
            catalogue,
            settings.k,
            settings.max_k,
            settings.exclude_seen,
            settings.index,
            settings.model.type,
            query_features,
            kept,
        )
        index, notes = _measured(made, reference, settings, k)
        manifest = write_bundle(made, folder, {**about, "index": index})
    return Export(manifest, reference, notes)


def read_examples(files: Sequence[str]) -> list[bytes]:
    """The serialised examples of gzipped TFRecord files, in the order in which `read_held_out` gives them."""
    names = tf.constant(list(files), tf.string)  # typed, because there may be none
    return list(tf.data.TFRecordDataset(names, compression_type="GZIP").as_numpy_iterator())


def _reference(
    model: Recommender,
    catalogue: Catalogue,
    held_out: Positions,
    examples: Sequence[bytes],
    k: int,
    exclude_seen: bool,
    kept: KeptPlaces | None,
) -> Reference:
    """On held-out positions; where there are none, on strangers who have met one item each.

    Of features of key and context nothing is said, as nothing is in a request to `serving_default`.
    """
    chosen = _spread(len(held_out))
    if len(chosen):
        batch = next(iter(held_out.take(chosen).dataset(_POSITIONS, model.history_length)))
        key, history = row_of(batch["key"]).numpy(), batch["history"].numpy()
    else:
        item_rows = _spread(len(catalogue.items)) + catalogue.first_row
        key, history = np.ones(len(item_rows), np.int64), np.zeros((len(item_rows), model.history_length), np.int64)
        history[:, -1] = item_rows
    chosen_examples = [examples[at] for at in chosen]
    return make_reference(model.score_all, key, history, chosen_examples, catalogue, k, exclude_seen, kept)


def _spread(count: int) -> np.ndarray:
    """At most `_POSITIONS` of `count` numbers, evenly over all of them."""
    return np.unique(np.linspace(0, count - 1, min(count, _POSITIONS)).astype(np.int64))


def _measured(
    made: Signatures, reference: Reference, settings: Settings, k: int
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the manifest says of the index, with what it loses against the exact one, and a note where it may lose."""
    index = dataclasses.asdict(settings.index)
    if settings.index.lossless:
        return index, ()
    recall = _tuned(made, reference, settings)
    less = f" and {settings.index.pruning:.0%} of the weights pruned" if settings.index.pruning else ""
    note = (
        f"Export: the {settings.index.type} index with a table of {settings.index.table}{less} finds {recall:.2%} of "
        f"the exact best {k} on {len(reference)} events, a loss of {1 - recall:.2%}."
    )
    _log.warning(note) if recall < settings.index.min_recall else _log.info(note)
    return {**index, **describe(made.index), "recall": recall}, (note,)


def _tuned(made: Signatures, reference: Reference, settings: Settings) -> float:
    """The recall of the index, which looks at as many lists as it takes where their number is left to it."""
    recall = _recall(made, reference)
    while (
        isinstance(made.index, ApproximateIndex)
        and settings.index.probes is None
        and recall < settings.index.min_recall
        and made.index.probes < made.index.lists
    ):
        made.index.probes = min(2 * made.index.probes, made.index.lists)
        recall = _recall(made, reference)
    return recall


def _recall(made: Signatures, reference: Reference) -> float:
    answers = []
    for position in range(len(reference)):
        answer = made.recommend(**{name: tf.constant(value) for name, value in reference.request(position).items()})
        answers.append(answer["item_ids"].numpy()[0].tolist())
    return reference.recall(answers)
