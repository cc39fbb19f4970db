"""Every row is an item's record or a reject with one reason: the first that holds, in the order written here."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.catalogue_gen.settings import Settings
from components.catalogue_gen.values import read_values, read_vectors, type_of
from components.span_example_gen.casts import shortened, text_of
from components.span_example_gen.checks import BAD_ITEM, MALFORMED, NO_COLUMN, NO_ITEM, NO_TIME, NO_VALUE
from components.span_example_gen.ids import read_ids
from components.span_example_gen.marks import Marks, Reject
from components.span_example_gen.readers.raw_batch import RawBatch
from components.span_example_gen.times import to_milliseconds
from trainer.features.declaration import ITEM, WITHDRAWN

BAD_FLAG, BAD_VECTOR = "bad_withdrawn", "bad_vector"
VALID_FROM = "valid_from"
YES, NO = frozenset({"1", "true", "t", "yes", "y"}), frozenset({"0", "false", "f", "no", "n"})


def rows_schema(settings: Settings) -> pa.Schema:
    """Of checked rows: `item` binary, `withdrawn` bool, `valid_from` int64 (unix milliseconds), then the features."""
    fixed = [(ITEM, pa.binary()), (WITHDRAWN, pa.bool_()), (VALID_FROM, pa.int64())]
    return pa.schema([*fixed, *((feature.name, type_of(feature)) for feature in settings.features)])


def check(raw: RawBatch, settings: Settings) -> tuple[pa.Table, list[Reject]]:
    """Splits rows into records of items (see `rows_schema`) and rejects, each in the order of the file."""
    count = len(raw.rows)
    marks = Marks(count)
    for name in sorted(raw.absent):
        marks.add(NO_COLUMN, name, np.ones(count, bool))
    ids = read_ids(raw, settings.item, settings.decimal_ids)
    marks.add(NO_ITEM, settings.item, ids.missing)
    marks.add(BAD_ITEM, settings.item, ids.unfit)
    withdrawn = np.zeros(count, bool)
    if settings.withdrawn is not None:
        flags = pc.utf8_lower(pc.utf8_trim_whitespace(text_of(raw.columns[settings.withdrawn]).fill_null("")))
        withdrawn, sold = (np.isin(flags.to_numpy(zero_copy_only=False), list(words)) for words in (YES, {"", *NO}))
        marks.add(BAD_FLAG, settings.withdrawn, ~(withdrawn | sold))
    millis = np.zeros(count, np.int64)
    if settings.valid_from is not None:
        millis, readable = to_milliseconds(raw.columns[settings.valid_from], "s", None)
        marks.add(NO_TIME, settings.valid_from, ~readable)
    values = {}
    for feature in settings.features:
        if feature.kind == "vector":
            values[feature.name], unfit = read_vectors(raw, feature)
            marks.add(BAD_VECTOR, feature.source, unfit & ~withdrawn)
        else:
            values[feature.name] = read_values(raw, feature, settings.decimal_ids)
    for feature in settings.features:
        if feature.missing == "reject":
            # What is withdrawn need not say more than that.
            missing = values[feature.name].is_null().to_numpy(zero_copy_only=False) & ~withdrawn
            marks.add(NO_VALUE, feature.source, missing)
    fixed = {ITEM: ids.values.cast(pa.binary()), WITHDRAWN: pa.array(withdrawn), VALID_FROM: pa.array(millis)}
    rows = pa.table({**fixed, **values}, rows_schema(settings))
    rejects = [Reject(row, MALFORMED, shortened(text)) for row, text in raw.malformed]
    if marks.any:
        rejects += marks.rejects(raw)
        rows = rows.filter(pa.array(marks.clean))
    return rows, sorted(rejects, key=lambda reject: reject.row)
