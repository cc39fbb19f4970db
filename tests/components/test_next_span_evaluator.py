"""The champion on a span before anything trains on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tfx.types import artifact

from components import artifacts
from components.incremental_trainer.artifact_files import STATE_FOLDER
from components.next_span_evaluator.component import Executor
from components.update_decider.decision import Decision
from tests.components.trained_days import HISTORY, Day, made, make_day, train
from trainer.input_pipeline import Positions, read_held_out, read_sequences
from trainer.keras2 import keras, tf
from trainer.models import build_model
from trainer.train_state import ModelState, Trainable


def evaluate(folder: Path, day: Day, champion: artifact.Artifact | None, **how: int) -> tuple[artifact.Artifact, dict]:
    output = made(artifacts.NextSpanEvaluation, folder)
    inputs = {
        "sequences": [day.sequences],
        "held_out": [day.held_out],
        "model": [] if champion is None else [champion],
    }
    properties = {"span": day.span, "history_length": HISTORY, **how}
    Executor(Executor.Context()).Do(inputs, {"evaluation": [output]}, properties)
    return output, json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> artifact.Artifact:
    folder = tmp_path_factory.mktemp("champion")
    day = make_day(folder / "days", 7, 4, [(2, [2, 3, 4, 5], 0), (3, [4, 2], 0)])
    return train(folder, day, Decision("cold_start", "", (7,)))


def recall_by_loop(champion: artifact.Artifact, parts: list[Positions], k: int) -> float:
    """Recall of the champion's weights, position by position."""
    state = ModelState.load(Path(champion.uri) / STATE_FOLDER)
    model = build_model("tests.trainer.small_model.Small", state.sizes, HISTORY, {})
    Trainable(model, keras.optimizers.Adagrad()).write(state.weights, {})
    hits = []
    for part in parts:
        for at in range(len(part)):
            rows = part.items[part.begin[at] : part.end[at]][-HISTORY:]
            known = [row if row < state.sizes.items else 1 for row in rows.tolist()]
            history = np.array([[0] * (HISTORY - len(known)) + known])
            scores = model.score_all(part.key[at : at + 1], history).numpy()[0]
            target = int(part.target[at])
            if target >= state.sizes.items:
                hits.append(0.0)
                continue
            others = set(range(state.sizes.first_row, state.sizes.items)) - set(known) - {target}
            hits.append(float(sum(scores[row] >= scores[target] for row in others) < k))
    return float(np.mean(hits))


def test_every_event_of_the_span_counts_once_and_new_items_count_as_missed(
    tmp_path: Path, champion: artifact.Artifact
) -> None:
    # Rows 6 and 7 came after the champion.
    histories = [(2, [2, 3, 4, 5, 2, 6], 3), (4, [5, 7, 2], 0), (3, [4, 2, 5], 1)]
    day = make_day(tmp_path / "days", 8, 6, histories)
    output, metrics = evaluate(tmp_path / "evaluation", day, champion)
    train_part = read_sequences([str(path) for path in Path(day.sequences.uri).rglob("*.gz")]).positions()
    held_out, _ = read_held_out([str(path) for path in Path(day.held_out.uri).rglob("*.gz")])
    assert metrics["events"] == len(train_part) + len(held_out) == 8 + 3
    assert metrics["recall"] == pytest.approx(recall_by_loop(champion, [train_part, held_out], k=3))
    assert 0 < metrics["mrr"] < metrics["ndcg"] < metrics["recall"] < 1
    for name, value in metrics.items():
        assert output.get_float_custom_property(name) == value
    assert output.get_int_custom_property("champion_version") == 701
    assert output.get_int_custom_property("span") == 8


def test_yesterdays_held_out_events_are_not_the_days_own(tmp_path: Path, champion: artifact.Artifact) -> None:
    """They were in the champion's gate already."""
    day = make_day(tmp_path / "days", 8, 4, [(2, [2, 3, 4, 5], 1)])
    [path] = Path(day.sequences.uri).rglob("*.gz")
    sequences = read_sequences([str(path)])
    assert len(sequences.positions(today_only=True)) == 3
    _rewrite_first_today(path, 3)
    _, metrics = evaluate(tmp_path / "evaluation", day, champion)
    assert metrics["events"] == 1 + 1


def _rewrite_first_today(path: Path, first: int) -> None:
    raw = [bytes(record) for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()]
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for record in raw:
            example = tf.train.Example.FromString(record)
            example.features.feature["first_today"].int64_list.value[:] = [first]
            writer.write(example.SerializeToString())


def test_by_weight_the_means_are_the_events(tmp_path: Path, champion: artifact.Artifact) -> None:
    day = make_day(tmp_path / "days", 8, 4, [(2, [2, 3, 4, 5], 0), (3, [4, 2], 0)])
    _, alike = evaluate(tmp_path / "alike", day, champion)
    _, ones = evaluate(tmp_path / "ones", day, champion, weighted=1)
    assert ones == alike
    paths = [*Path(day.sequences.uri).rglob("*.gz"), *Path(day.held_out.uri).rglob("*.gz")]
    single = []
    for place in range(8):  # six events are in the training part, two are held out
        _rewrite_weights(paths, [float(number == place) for number in range(8)])
        single.append(evaluate(tmp_path / str(place), day, champion, weighted=1)[1]["mrr"])
    assert len(set(single)) > 1
    weights = [3.0, 0.0, 1.0, 2.0, -4.0, 5.0, 1.0, 7.0]
    _rewrite_weights(paths, weights)
    _, metrics = evaluate(tmp_path / "weighted", day, champion, weighted=1)
    assert metrics["events"] == 8
    assert metrics["mrr"] == pytest.approx(np.average(single, weights=np.maximum(weights, 0)))
    assert evaluate(tmp_path / "unweighted", day, champion)[1] == alike
    _rewrite_weights(paths, [0.0] * 8)
    assert evaluate(tmp_path / "zero", day, champion, weighted=1)[1] == {"events": 8.0}


def _rewrite_weights(paths: list[Path], weights: list[float]) -> None:
    given = iter(weights)
    for path in paths:
        raw = [bytes(record) for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()]
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for record in raw:
                example = tf.train.Example.FromString(record)
                for name in {"weight", "weights"} & set(example.features.feature):
                    values = example.features.feature[name].float_list.value
                    values[:] = [next(given) for _ in values]
                writer.write(example.SerializeToString())


def test_an_empty_span_has_no_metric(tmp_path: Path, champion: artifact.Artifact) -> None:
    output, metrics = evaluate(tmp_path / "evaluation", make_day(tmp_path / "days", 8, 4, []), champion)
    assert metrics == {"events": 0.0}
    assert output.get_int_custom_property("span") == 8


def test_without_a_champion_there_is_nothing_to_test(tmp_path: Path) -> None:
    output, metrics = evaluate(tmp_path / "evaluation", make_day(tmp_path / "days", 8, 4, [(2, [2, 3], 0)]), None)
    assert metrics == {}
    assert not output.has_custom_property("champion_version")


def test_the_slices_hold_every_event_once(tmp_path: Path, champion: artifact.Artifact) -> None:
    day = make_day(tmp_path / "days", 8, 5, [(2, [2, 3, 4, 5, 6], 3), (4, [6, 5], 0)])
    output = made(artifacts.NextSpanEvaluation, tmp_path / "evaluation")
    inputs = {
        "sequences": [day.sequences],
        "held_out": [day.held_out],
        "model": [champion],
        "vocabulary": [day.vocabulary],
    }
    properties = {"span": 8, "history_length": HISTORY, "cold_below": 5}
    Executor(Executor.Context()).Do(inputs, {"evaluation": [output]}, properties)
    slices = json.loads((tmp_path / "evaluation" / "slices.json").read_text())
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    for kind in ("item_slice", "key_slice"):
        of_kind = [of_slice for where, of_slice in slices.items() if where.startswith(kind)]
        assert sum(of_slice["events"] for of_slice in of_kind) == metrics["events"]
        total = sum(of_slice["events"] * of_slice["recall"] for of_slice in of_kind)
        assert total / metrics["events"] == pytest.approx(metrics["recall"])
