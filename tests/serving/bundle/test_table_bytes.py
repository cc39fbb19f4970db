"""A bundle is hardly larger than what it is made of: ids, columns and vectors, each once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.bundle import Manifest
from serving.bundle.index_settings import IndexSettings, Precision
from tests.serving.recommenders import FIRST, export, make_shop

ITEMS, KEYS, WIDTH = 15_000, 3_000, 64


@pytest.mark.parametrize(
    ("type_", "table", "params"),
    [
        ("two_tower", "float32", {}),
        ("two_tower", "int8", {}),
        ("two_tower", "float32", {"key_embedding": False}),
        ("sasrec", "float32", {"neighbours": 0}),
    ],
)
def test_a_bundle_is_at_most_a_fifth_larger_than_its_tables(
    tmp_path: Path, type_: str, table: Precision, params: dict[str, Any]
) -> None:
    shop = make_shop(ITEMS, KEYS, type_, dimension=WIDTH, **params)
    needed = ITEMS * WIDTH * np.dtype(table).itemsize + sum(map(len, shop.ids))
    needed += sum(len(text) for texts in shop.catalogue.columns.values() for text in texts)
    if type_ == "two_tower" and params.get("key_embedding", True):
        needed += (FIRST + KEYS) * WIDTH * 4 + sum(map(len, shop.keys.ids.to_pylist()))
    folder = export(shop, tmp_path / "bundle", 10, IndexSettings(table=table))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    # The graph costs what it costs, whatever the catalogue.
    assert size - (folder / "saved_model.pb").stat().st_size < 1.15 * needed
    assert (folder / "saved_model.pb").stat().st_size < 1_000_000
    about = Manifest.read(folder).about
    assert needed < sum(about["tables"].values()) < 1.15 * needed


def test_ids_of_users_are_kept_only_where_a_score_depends_on_them(tmp_path: Path) -> None:
    folders = {
        with_keys: export(make_shop(50, 2_000, dimension=4, key_embedding=with_keys), tmp_path / str(with_keys), 10)
        for with_keys in (True, False)
    }
    content = {
        with_keys: b"".join(path.read_bytes() for path in folder.rglob("*data*"))
        for with_keys, folder in folders.items()
    }
    assert b"user 1999" in content[True]
    assert b"user 1" not in content[False]
