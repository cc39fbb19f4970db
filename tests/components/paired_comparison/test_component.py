"""The comparison of bundles: candidate, champion and anchor on the same events, night after night."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tfx.types import artifact, standard_artifacts

from components import artifacts, loaded_bundles
from components.incremental_trainer.artifact_files import SERVING_FOLDER
from components.paired_comparison.comparison import ANCHOR_FILE, CHAMPION_FILE, Comparison
from components.paired_comparison.component import Executor
from components.paired_comparison.differences import Differences
from components.paired_comparison.judgement import OVERALL, Rules
from tests.components.plain_settings import gate_rules
from tests.components.trained_days import _write, made
from trainer.held_out_parts import SELECT, VERDICT
from trainer.keras2 import tf

RULES = gate_rules(max_drop={OVERALL: {"recall": 0.02}}, pool_events=150)
OOV_ROWS = 1


class Hits(tf.Module):
    """Has a hit on an item whose row modulo 10 is below `tenths`."""

    def __init__(self, tenths: int) -> None:
        super().__init__()
        self.tenths = tenths

    def save(self, folder: Path) -> None:
        signature = [
            tf.TensorSpec([None], tf.int64, "key"),
            tf.TensorSpec([None, None], tf.int64, "history"),
            tf.TensorSpec([None], tf.int64, "item"),
            tf.TensorSpec([None], tf.float32, "weight"),
        ]

        @tf.function(autograph=False, input_signature=signature)
        def evaluate_rows(key: tf.Tensor, history: tf.Tensor, item: tf.Tensor, weight: tf.Tensor) -> dict:
            hit = tf.cast(item % 10 < self.tenths, tf.float32)
            return {"recall": hit, "mrr": hit / 2}

        tf.saved_model.save(self, str(folder), signatures={"evaluate_rows": evaluate_rows})


def model(folder: Path, span: int, tenths: int) -> artifact.Artifact:
    created = made(standard_artifacts.Model, folder / f"model {span} {tenths}", span=span, version=100 * span + 1)
    Hits(tenths).save(Path(created.uri) / SERVING_FOLDER)
    return created


def held_out(folder: Path, span: int, parts: Mapping[str, Sequence[int]]) -> artifact.Artifact:
    """Event `n` of a part is of the item and of the key in row n; those of one row in four are without a row."""
    created = made(standard_artifacts.Examples, folder / f"held_out {span}", span=span)
    for part, rows in parts.items():
        examples = [
            {
                "key": b"key %d" % row,
                "key_row": [1 if row % 4 == 0 else row],
                "history": [2],
                "item_row": [row],
                "timestamp": [9],
                "weight": [1.0],
                "item_slice": b"new" if row % 2 else b"warm",
                "key_slice": b"warm",
            }
            for row in rows
        ]
        _write(Path(created.uri) / f"Split-{part}", examples)
    return created


def compare(folder: Path, span: int, tenths: int, rules: Rules = RULES, **inputs: Any) -> artifact.Artifact:
    output = made(artifacts.PairedDifferences, folder / f"comparison {span} {tenths}")
    tonight = inputs.pop("tonight", None) or held_out(folder, span, {SELECT: range(500, 510), VERDICT: range(100, 200)})
    every = {"held_out": [tonight], "model": [model(folder, span, tenths)], **inputs}
    properties = {"span": span, "history_length": 3, "oov_rows": OOV_ROWS, "weighted": 0, "rules": rules.to_json()}
    Executor(Executor.Context()).Do(every, {"comparison": [output]}, properties)
    return output


def test_the_first_model_is_its_own_anchor(tmp_path: Path) -> None:
    comparison = Comparison.read((output := compare(tmp_path, 3, 5)).uri)
    assert not comparison.judgement.refused
    assert comparison.anchor is None
    assert comparison.following.version == output.get_int_custom_property("next_anchor") == 301
    assert not Path(output.uri, CHAMPION_FILE).exists()


def test_both_stay_loaded_for_the_gate(tmp_path: Path) -> None:
    champion, anchor = model(tmp_path, 3, 5), model(tmp_path, 2, 5)
    compare(tmp_path, 4, 4, champion=[champion], anchor=[anchor])
    for uri, stays in {str(tmp_path / "model 4 4"): True, champion.uri: True, anchor.uri: False}.items():
        assert (loaded_bundles.load(uri) is loaded_bundles.load(uri)) == stays
    loaded_bundles.drop()


def test_candidate_and_champion_meet_on_the_verdict_part(tmp_path: Path) -> None:
    champion = model(tmp_path, 3, 5)
    output = compare(tmp_path, 4, 4, champion=[champion])
    comparison, kept = Comparison.read(output.uri), Differences.load(Path(output.uri, CHAMPION_FILE))
    assert len(kept) == 100
    assert kept.gains["recall"].sum() == -10
    finding = comparison.judgement.champion[OVERALL]["recall"]
    assert finding.gain.mean == pytest.approx(-0.1)
    assert finding.outcome == "worse"
    assert output.get_int_custom_property("refused") == 1
    assert comparison.judgement.champion["item_slice:warm"]["recall"].gain.mean == pytest.approx(-0.2)
    # A champion from before there were anchors is the anchor.
    assert output.get_int_custom_property("anchor") == 301
    assert not Path(output.uri, ANCHOR_FILE).exists()
    assert not Comparison.read(compare(tmp_path, 5, 5, champion=[champion]).uri).judgement.refused


def test_no_id_is_kept_and_keys_without_a_row_are_told_apart(tmp_path: Path) -> None:
    output = compare(tmp_path, 4, 4, champion=[model(tmp_path, 3, 5)])
    keys = Differences.load(Path(output.uri, CHAMPION_FILE)).keys
    assert len(np.unique(keys)) == 100
    assert (keys < 0).sum() == 25
    assert b"key 101" not in b"".join(path.read_bytes() for path in Path(output.uri).iterdir())


def test_held_out_events_from_before_there_were_parts_are_all_used(tmp_path: Path) -> None:
    whole = held_out(tmp_path, 4, {"eval": range(100, 180)})
    output = compare(tmp_path, 4, 4, tonight=whole, champion=[model(tmp_path, 3, 5)])
    assert Comparison.read(output.uri).judgement.champion[OVERALL]["recall"].gain.events == 80


def test_the_anchor_stays_until_it_is_outdone_and_small_nights_are_pooled(tmp_path: Path) -> None:
    first, second = model(tmp_path, 3, 5), compare(tmp_path, 4, 5, champion=[model(tmp_path, 3, 4)])
    # Better by the bound: it becomes the anchor.
    assert second.get_int_custom_property("next_anchor") == 401
    fourth = model(tmp_path / "4", 4, 5)
    third = compare(tmp_path, 5, 5, champion=[fourth], anchor=[fourth], comparisons=[second])
    assert third.get_int_custom_property("anchor") == third.get_int_custom_property("next_anchor") == 401
    assert Comparison.read(third.uri).judgement.nights == 1, "what another anchor was compared with does not count"
    fifth = model(tmp_path / "5", 5, 5)
    output = compare(tmp_path, 6, 5, champion=[fifth], anchor=[fourth], comparisons=[second, third])
    comparison = Comparison.read(output.uri)
    assert comparison.judgement.nights == 2
    assert comparison.judgement.anchor["recall"].gain.events == 200
    assert Path(output.uri, ANCHOR_FILE).exists()
    assert first.uri


def test_an_anchor_whose_files_are_gone_leaves_what_was_lost(tmp_path: Path) -> None:
    anchor, champion = model(tmp_path / "3", 3, 6), model(tmp_path / "4", 4, 5)
    loose = gate_rules(max_drop={OVERALL: {"recall": 0.2}})
    before = compare(tmp_path, 4, 5, loose, champion=[anchor])
    assert before.get_int_custom_property("next_anchor") == 301
    shutil.rmtree(anchor.uri)
    comparison = Comparison.read(compare(tmp_path, 5, 5, loose, champion=[champion], comparisons=[before]).uri)
    assert comparison.anchor is not None
    assert comparison.anchor.version == 401
    assert comparison.anchor.carried["recall"] == pytest.approx(-0.1)
    assert comparison.judgement.anchor["recall"].allowed == pytest.approx(0.4 - 0.1)


def test_a_slow_slide_is_refused_by_the_night_the_budget_says(tmp_path: Path) -> None:
    """Each night loses a hit in ten and may lose .15; the budget is twice that."""
    rules = gate_rules(max_drop={OVERALL: {"recall": 0.15}}, pool_events=1)
    line, nights, models = [9, 8, 7, 6], [], [model(tmp_path / "1", 1, 9)]
    for span, tenths in enumerate(line[1:], start=2):
        inputs = {"champion": models[-1:], "anchor": models[:1], "comparisons": nights}
        nights.append(compare(tmp_path, span, tenths, rules, **inputs))
        models.append(model(tmp_path / f"{span}", span, tenths))
    assert [night.get_int_custom_property("refused") for night in nights] == [0, 0, 0]
    output = compare(tmp_path, 5, 5, rules, champion=models[-1:], anchor=models[:1], comparisons=nights)
    judgement = Comparison.read(output.uri).judgement
    assert judgement.champion[OVERALL]["recall"].outcome != "worse"
    assert judgement.anchor["recall"].refused


def test_a_slide_that_the_world_causes_is_no_loss(tmp_path: Path) -> None:
    """Recall falls from 1 to 0, that of the anchor on the same events as well."""
    models, nights = [model(tmp_path / "1", 1, 5)], []
    for span, first in enumerate((0, 1, 3, 5), start=2):
        events = [row for row in range(100, 1_000) if row % 10 in range(first, first + 5)]
        tonight = held_out(tmp_path, span, {VERDICT: events})
        inputs = {"champion": models[-1:], "anchor": models[:1], "comparisons": nights, "tonight": tonight}
        nights.append(compare(tmp_path, span, 5, **inputs))
        models.append(model(tmp_path / f"{span}", span, 5))
    assert [night.get_int_custom_property("refused") for night in nights] == [0, 0, 0, 0]


@pytest.mark.parametrize(("unlearned", "refused"), [(5, True), (4, False)])
def test_what_both_have_learned_is_tested_again(tmp_path: Path, unlearned: int, refused: bool) -> None:
    """The champion has .5 there, the candidate .4; what the models of those nights had decides whether that is bad."""
    older = [held_out(tmp_path, span, {SELECT: range(50), VERDICT: range(50, 100)}) for span in (1, 2)]
    nights = [compare(tmp_path / "then", span, unlearned, tonight=older[span - 1]) for span in (1, 2)]
    # Tonight's events have no item on which they differ.
    tonight = held_out(tmp_path, 4, {VERDICT: range(100, 1_100, 10)})
    inputs = {"champion": [model(tmp_path, 3, 5)], "older_held_out": older, "comparisons": nights, "tonight": tonight}
    comparison = Comparison.read(compare(tmp_path, 4, 4, **inputs).uri)
    judgement = comparison.judgement
    assert comparison.retention_spans == 2
    assert judgement.retention["recall"].gain.events == 100
    assert judgement.retention["recall"].gain.mean == pytest.approx(-0.1)
    assert judgement.unlearned["recall"] == pytest.approx(0.4 - unlearned / 10)
    assert judgement.retention["recall"].refused == refused
    assert not judgement.champion[OVERALL]["recall"].refused
    without = gate_rules(max_drop=RULES.max_drop, retention=None)
    (tmp_path / "without").mkdir()
    assert not Comparison.read(compare(tmp_path / "without", 4, 4, without, **inputs).uri).judgement.retention


def test_spans_whose_nights_left_no_level_are_not_tested_again(tmp_path: Path) -> None:
    older = [held_out(tmp_path, span, {VERDICT: range(50, 100)}) for span in (1, 2)]
    night = compare(tmp_path / "then", 2, 5, tonight=older[1])
    inputs = {"champion": [model(tmp_path, 3, 5)], "older_held_out": older}
    assert Comparison.read(compare(tmp_path / "with", 4, 4, **inputs, comparisons=[night]).uri).retention_spans == 1
    comparison = Comparison.read(night.uri)
    dataclasses.replace(comparison, levels={}).write(night.uri)
    assert not Comparison.read(compare(tmp_path, 4, 4, **inputs, comparisons=[night]).uri).judgement.retention
