"""From a trained model to a bundle, and to what it must answer once it is one."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.incremental_trainer.item_columns import item_columns
from components.incremental_trainer.settings import Settings
from serving.bundle import Manifest, write_bundle
from serving.index import ApproximateIndex, describe
from serving.reference import Reference, make_reference
from serving.servable import Catalogue
from serving.signatures import Signatures
from trainer.input import Positions
from trainer.keras2 import tf
from trainer.models.base import Recommender
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


def export(
    model: Recommender,
    items: Vocabulary,
    keys: Vocabulary,
    held_out: Positions,
    examples: Sequence[bytes],
    settings: Settings,
    folder: Path,
    about: Mapping[str, Any],
) -> Export:
    """Freezes `model` and writes it as the bundle `folder`.

    Args:
      model: trained.
      items, keys: the vocabularies behind its tables.
      held_out: positions, and `examples`, the same serialised; some of them become the reference.
      settings: of the export.
      folder: must not exist.
      about: for the manifest, to which `index` is added: its settings and what it loses against the exact one.

    Raises:
      ItemsFileError: the items file can't be used.
      IndexSettingsError: the model has no room for the index that is asked for.
    """
    columns, available = item_columns(items.ids, settings)
    catalogue = Catalogue(items.ids.to_pylist(), keys.ids.to_pylist(), columns, items.first_row, available)
    chosen = np.unique(np.linspace(0, max(0, len(held_out) - 1), _POSITIONS).astype(np.int64))[: len(held_out)]
    sample = held_out.take(chosen)
    batch = next(iter(sample.dataset(_POSITIONS, model.history_length))) if len(sample) else None
    k = min(settings.k, settings.max_k)
    reference = make_reference(
        model.score_all,  # before it is frozen and its items are put into fewer bits
        np.zeros(0, np.int64) if batch is None else batch["key"].numpy(),
        np.zeros((0, model.history_length), np.int64) if batch is None else batch["history"].numpy(),
        [examples[at] for at in chosen],
        catalogue,
        k,
        settings.exclude_seen,
    )
    model.freeze()
    name = type(model).__name__
    made = Signatures(model, catalogue, settings.k, settings.max_k, settings.exclude_seen, settings.index, name)
    index = dataclasses.asdict(settings.index)
    notes: list[str] = []
    if not settings.index.lossless:
        recall = _tuned(made, reference, settings)
        index |= {**describe(made.index), "recall": recall}
        note = (
            f"Export: the {settings.index.type} index with a table of {settings.index.table} finds {recall:.2%} of the "
            f"exact best {k} on {len(reference)} held-out events, a loss of {1 - recall:.2%}."
        )
        _log.warning(note) if recall < settings.index.min_recall else _log.info(note)
        notes.append(note)
    manifest = write_bundle(made, folder, {**about, "index": index})
    return Export(manifest, reference, tuple(notes))


def read_examples(files: Sequence[str]) -> list[bytes]:
    """The serialised examples of gzipped TFRecord files, in the order in which `read_held_out` gives them."""
    names = tf.constant(list(files), tf.string)  # typed, because there may be none
    return list(tf.data.TFRecordDataset(names, compression_type="GZIP").as_numpy_iterator())


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
