"""What the catalogue says of the items that a model has rows for: their features, and which are not to be served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.catalogue_gen.state import load_table
from components.incremental_trainer.settings import Settings
from components.item_encoder.encodings import Encodings
from trainer.features.declaration import ITEM, WITHDRAWN
from trainer.features.feature_state import FeatureState
from trainer.features.item_features import ItemFeatures, item_features
from trainer.features.item_vectors import Encoded
from trainer.vocabulary import Vocabulary


def read_catalogue(folder: str | Path) -> pa.Table:
    """The catalogue in the folder of its artifact, see `CatalogueGen`."""
    table = load_table(folder)
    assert table is not None
    return table


def served_items(catalogue: pa.Table, ids: pa.Array, settings: Settings) -> np.ndarray:
    """Which of binary [n] ids may be served, bool [n]: none that is withdrawn; what is unlisted by the settings."""
    place = pc.index_in(ids, value_set=pa.concat_arrays([pa.array([], pa.binary()), *catalogue[ITEM].chunks]))
    withdrawn = pa.concat_arrays([pa.array([], pa.bool_()), *catalogue[WITHDRAWN].chunks]).take(place)
    return ~pc.fill_null(withdrawn, bool(settings.hide_unlisted)).to_numpy(zero_copy_only=False)


def told_features(
    catalogue: pa.Table,
    items: Vocabulary,
    vocabulary: str | Path,
    settings: Settings,
    encodings: Sequence[str | Path] = (),
) -> ItemFeatures | None:
    """What the model is told of its items; None where it is a model that takes none.

    Args:
      catalogue: of the span.
      items: the vocabulary that says which row an item has.
      vocabulary: the folder of that vocabulary, in which the state of features lies too.
      settings: of the trainer.
      encodings: folders of the encodings of texts.
    """
    features = settings.model.features
    if features is None:
        return None
    state = FeatureState.load(vocabulary, features)
    return item_features(catalogue, items, state, features, encoded_texts(items, encodings), settings.half_life_spans)


def encoded_texts(items: Vocabulary, folders: Sequence[str | Path]) -> dict[str, Encoded]:
    """What encoders have made of the items' texts, by the name of the feature."""
    every = map(Encodings.open, folders)
    return {of.text: Encoded(of.column, *of.vectors(items.ids)) for of in every}
