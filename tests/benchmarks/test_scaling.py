"""The scaling benchmark measures the model that a cell's name says, and shows what is there so far."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import scaling
from benchmarks.scaling import ARCHITECTURES, TRAINING, cell, table
from benchmarks.session_policies import POLICIES, SessionPolicy
from benchmarks.session_spans import read_spans
from tests.benchmarks.test_continual_sessions import COLUMNS, shop, tiny
from trainer.models import build_model
from trainer.models.base import TableSizes
from trainer.train_state import ModelState


def test_a_cell_is_best_but_for_what_its_name_says() -> None:
    best = POLICIES["best"]
    assert cell("sasrec", 128, 1, "best") == dataclasses.replace(
        best, spec=dataclasses.replace(best.spec, params={**best.spec.params, "blocks": 1})
    )
    for architecture in ARCHITECTURES:
        for training in TRAINING:
            made = cell(architecture, 16, 2, training)
            model = build_model(made.spec.type, TableSizes(9, 3, 2), 6, made.spec.params)
            assert (model.item_embedding.embeddings.shape[1], len(model.blocks)) == (16, 2)
    assert cell("sasrec", 16, 1, "decay").update.weight_decay > 0
    assert cell("sasrec", 16, 1, "cosine").update.schedule.within == "cosine"


def test_cells_are_kept_one_by_one_beside_the_most_popular_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, results = tmp_path / "data", tmp_path / "results"
    shop(data, spans=3)
    small = cell

    def tiny_cell(architecture: str, width: int, blocks: int, training: str) -> SessionPolicy:
        made = tiny(small(architecture, width, blocks, training))
        return dataclasses.replace(
            made, spec=dataclasses.replace(made.spec, params={**made.spec.params, "dimension": width})
        )

    monkeypatch.setattr(scaling, "cell", tiny_cell)
    arguments = ["scaling", str(data), "--widths", "4", "--blocks", "1", "--cycles", "1-2", "--results", str(results)]
    monkeypatch.setattr("sys.argv", [*arguments, "--architecture", "hstu"])
    scaling.main()
    kept = json.loads((results / "scaling.json").read_text())
    assert kept.keys() == {"most popular", "hstu 4x1 best"}
    assert (results / "scaling.png").stat().st_size > 5000
    assert table(kept).row_count == 2
    width = ModelState.load(results / "hstu 4x1 best" / "seed-1" / "state").weights["places"].shape[1]
    assert width == 4
    # By hand: an item's events, of a span earlier the root of a half of them; a tie counts against the list.
    spans = read_spans(data / "events", *COLUMNS)
    counts = sum(np.bincount(spans.sequences(n).items, minlength=40) * 0.5 ** ((1 - n) / 2) for n in (0, 1))
    counts = counts[spans.first_row : spans.items_until(1)].astype(np.float32)
    before_it = [(counts >= counts[target - spans.first_row]).sum() - 1 for target in spans.test_positions(2).target]
    recall = 100 * np.mean(np.array(before_it) < 20)
    assert kept["most popular"][0]["cycles"][1]["metrics"]["recall@20"] == pytest.approx(recall)
    # Nothing is measured again.
    monkeypatch.setattr(scaling, "read_spans", lambda *of: spans)
    before = (results / "hstu 4x1 best" / "seed-1" / "figures.json").read_text()
    scaling.main()
    assert (results / "hstu 4x1 best" / "seed-1" / "figures.json").read_text() == before
