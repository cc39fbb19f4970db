"""The texts of a vocabulary's items, as the catalogue has them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainer.encoders.text_positions import NONE, ItemTexts
from trainer.encoders.texts import normalize_text
from trainer.features.declaration import ITEM
from trainer.vocabulary import Vocabulary


def item_texts(catalogue: pa.Table, text: str, items: Vocabulary) -> ItemTexts:
    """What the column `text` says of the items that have rows; one that the catalogue does not name has none."""
    values = [normalize_text(value) for value in catalogue[text].to_pylist()]
    texts = tuple(dict.fromkeys(value for value in values if value))
    code_of = {value: code for code, value in enumerate(texts)}
    of_row = np.array([code_of.get(value, NONE) for value in values] + [NONE], np.int64)
    place = pc.index_in(items.ids, value_set=pa.concat_arrays([pa.array([], pa.binary()), *catalogue[ITEM].chunks]))
    codes = np.full(items.size, NONE, np.int64)
    codes[items.first_row :] = of_row[pc.fill_null(place, len(values)).to_numpy(zero_copy_only=False)]
    return ItemTexts(texts, codes)
