"""The table says what a part brings against `best` of the same seed."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.ablation import BEST, VARIANTS, folder_of, table


def runs(seed: int, recall: float, seconds: float) -> dict[str, Any]:
    metrics = {"recall@20": recall, "mrr@20": recall / 2}
    return {"seed": seed, "cycles": [{"metrics": metrics, "train_processor_seconds": seconds}] * 2}


def cells(made: Any, row: int) -> list[str]:
    return [str(list(column.cells)[row]) for column in made.columns]


def test_a_difference_is_taken_seed_by_seed():
    measured = {BEST: [runs(1, 50.0, 10), runs(2, 52.0, 10)], "replay": [runs(1, 51.0, 20), runs(2, 53.0, 20)]}
    made = table(measured, {"recall@20": 1.5, "mrr@20": 0.5})
    assert cells(made, 0)[:4] == ["most popular", "", "1.50", "0.50"]
    assert cells(made, 1) == [BEST, "2", "51.00 ± 1.41", "25.50 ± 0.71", "", "", ""]
    assert cells(made, 2)[4:] == ["1.00 ± 0.00", "0.50 ± 0.00", "2.00 ± 0.00"]


def test_a_seed_that_best_lacks_is_compared_with_nothing():
    made = table({BEST: [runs(1, 50.0, 10)], "replay": [runs(2, 53.0, 20)]}, {"recall@20": 1.5, "mrr@20": 0.5})
    assert cells(made, 2)[2:] == ["53.00", "26.50", "", "", ""]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_differs_and_has_a_folder_of_its_own(name, tmp_path):
    others = [other for other in VARIANTS if other != name]
    assert all(VARIANTS[other] != VARIANTS[name] for other in others)
    assert folder_of(tmp_path, name) not in [folder_of(tmp_path, other) for other in others]
