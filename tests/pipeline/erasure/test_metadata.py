"""An id leaves ML Metadata, and the rest of it is what it was."""

from __future__ import annotations

import contextlib
import sqlite3

from pipeline.erasure.formats.ledger import Ledger
from pipeline.erasure.id_matcher import IdMatcher
from pipeline.erasure.metadata import erase_in_store
from tests.pipeline.made_store import MadeStore

GONE = b"user-4711"
SOUGHT = IdMatcher.of([GONE])


def test_the_store_keeps_its_texts_without_the_id_and_no_free_page_with_it(made: MadeStore) -> None:
    made.chain(1)
    (decision,) = made.store.get_artifacts_by_type("WarmspanDecision")
    decision.custom_properties["note"].string_value = f"{'x' * 50_000} asked by user-4711"
    made.store.put_artifacts([decision])
    path = made.config.root / "metadata.sqlite"
    assert Ledger().count(path, SOUGHT)
    assert erase_in_store(made.config, made.store, SOUGHT) == 1
    assert Ledger().count(path, SOUGHT) == 0
    assert GONE not in path.read_bytes()
    (decision,) = made.store.get_artifacts_by_type("WarmspanDecision")
    assert decision.custom_properties["note"].string_value.endswith("asked by [forgotten]")
    assert decision.custom_properties["reason"].string_value == "As told."
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
