"""Which model the next span starts from, as rollback and the plan see it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pipeline.ledger.models import Model, ModelLineage, model_lineage_in
from tests.pipeline.made_store import MadeStore


def model(number: int, span: int, blessed: bool = True, revoked: bool = False) -> Model:
    return Model(number, span * 100 + number, span, "", blessed, None, revoked, "", frozenset())


def champion(*models: Model) -> int | None:
    latest = ModelLineage(models, ()).champion()
    return None if latest is None else latest.id


def test_the_newest_revision_of_the_last_blessed_span():
    assert champion() is None
    assert champion(model(1, 5), model(2, 6), model(3, 6), model(4, 7, blessed=False)) == 3


def test_a_span_that_was_run_again_and_refused_has_no_champion_unless_that_run_was_taken_back():
    assert champion(model(1, 5), model(2, 6), model(3, 6, blessed=False)) == 1
    assert champion(model(1, 5), model(2, 6), model(3, 6, blessed=False, revoked=True)) == 2


def test_a_model_descends_from_those_in_whose_runs_its_teacher_learned():
    def taught(number: int, *runs: int, base: int | None = None) -> Model:
        return dataclasses.replace(model(number, number), bases=frozenset([base] if base else []), taught_by=runs)

    first, own = taught(1, 101), taught(2, 101, 202, base=1)
    anew, after = taught(3, 303), taught(4, 303, base=3)
    lineage = ModelLineage((first, own, anew, after), ())
    assert [of.id for of in lineage.with_descendants([first])] == [1, 2]
    assert [of.id for of in lineage.with_descendants([own])] == [2]
    assert [of.id for of in lineage.with_descendants([anew])] == [3, 4]
    unrelated = dataclasses.replace(after, bases=frozenset())
    assert [of.id for of in ModelLineage((anew, unrelated), ()).with_descendants([anew])] == [3, 4]


def test_what_was_blessed_and_then_refused_before_the_push_is_no_champion(tmp_path: Path):
    made = MadeStore(tmp_path)
    first = made.day("2024-05-01")
    made.day("2024-05-02", first, fit=False)
    latest = model_lineage_in(made.store, "shop").champion()
    assert latest is not None
    assert latest.version == first
