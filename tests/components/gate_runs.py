"""Runs the gate on models whose metrics are known, and reads its verdict."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tfx.types import artifact, artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from components.artifacts import PairedDifferences
from components.gate.component import Executor
from components.incremental_trainer.artifact_files import SERVING_FOLDER
from components.paired_comparison.anchor import Anchor
from components.paired_comparison.comparison import Comparison
from components.paired_comparison.differences import paired
from components.paired_comparison.judgement import Judgement
from components.paired_comparison.judgement import judge as judge_differences
from components.span_pusher.verdict import Verdict, read_verdict
from pipeline.config import Config
from pipeline.parameters.comparison_rules import comparison_rules
from pipeline.parameters.eval_config import eval_config
from pipeline.parameters.graph_parameters import LOCAL_BEAM
from trainer.keras2 import tf

METRICS = ("recall", "ndcg")
# Weight and slice of each held-out event. A model's recall of an event is its factor times the weight.
EVENTS = [(0.5, b"warm"), (0.25, b"warm"), (1.0, b"cold"), (0.0, b"cold"), (0.75, b"new"), (0.5, b"new")] * 20


class Scaled(tf.Module):
    """Answers `evaluate` with recall = factor * weight and ndcg = half of that, or with recall under an only name."""

    def __init__(self, factor: float, factor_on_new: float | None = None, only: str | None = None) -> None:
        super().__init__()
        self.only = only
        self.factor, self.on_new = factor, factor if factor_on_new is None else factor_on_new

    def save(self, folder: Path) -> None:
        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "examples")])
        def evaluate(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            features = {
                "weight": tf.io.FixedLenFeature([1], tf.float32),
                "item_slice": tf.io.FixedLenFeature([1], tf.string),
            }
            parsed = tf.io.parse_example(examples, features)
            recall = parsed["weight"] * tf.where(parsed["item_slice"] == b"new", self.on_new, self.factor)
            return {self.only: recall} if self.only else {"recall": recall, "ndcg": recall / 2}

        tf.saved_model.save(self, str(folder), signatures={"evaluate": evaluate})


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one run of the gate gave."""

    blessed: bool
    verdict: Verdict
    evaluation: artifact.Artifact
    blessing: artifact.Artifact
    comparison: artifact.Artifact


def settings(**gate: Any) -> Config:
    """Settings with the given gate section."""
    columns = {"key": "user", "item": "item", "timestamp": "time"}
    return Config.model_validate({"name": "shop", "data": {"path": "events", "columns": columns}, "gate": gate})


def judge(
    folder: Path,
    gate: Mapping[str, Any],
    candidate: Scaled,
    champion: Scaled | None = None,
    events: Sequence[tuple[float, bytes]] = EVENTS,
    weighted: bool = False,
) -> Outcome:
    """Runs the gate in `folder` and reads what it wrote."""

    def made(kind: type, name: str, number: int) -> artifact.Artifact:
        created = kind()
        created.id, created.uri = number, str(folder / name)
        (folder / name).mkdir()
        return created

    config = settings(**gate)
    examples = made(standard_artifacts.Examples, "held_out", 1)
    examples.split_names = artifact_utils.encode_split_names(["eval"])
    _write(Path(examples.uri) / "Split-eval", events)
    inputs = {"examples": [examples], "model": [made(standard_artifacts.Model, "candidate", 2)]}
    candidate.save(folder / "candidate" / SERVING_FOLDER)
    if champion is not None:
        inputs["baseline_model"] = [made(standard_artifacts.Model, "champion", 3)]
        champion.save(folder / "champion" / SERVING_FOLDER)
    comparison = _compared(config, candidate, champion, events, weighted)
    compared = made(PairedDifferences, "comparison", 6)
    comparison.write(compared.uri)
    inputs["comparison"] = [compared]
    evaluation = made(standard_artifacts.ModelEvaluation, "evaluation", 4)
    blessing = made(standard_artifacts.ModelBlessing, "blessing", 5)
    metrics = (candidate.only,) if candidate.only else METRICS
    properties = {
        "eval_config": proto_utils.proto_to_json(eval_config(config, metrics, weighted)),
        "example_splits": '["verdict"]',  # the events are of a span from before there were parts
        "fairness_indicator_thresholds": "null",
    }
    context = Executor.Context(beam_pipeline_args=list(LOCAL_BEAM), tmp_dir=str(folder / "tmp"), unique_id="1")
    Executor(context).Do(inputs, {"evaluation": [evaluation], "blessing": [blessing]}, properties)
    blessed = blessing.get_int_custom_property("blessed") == 1
    return Outcome(blessed, read_verdict(evaluation.uri, blessed, comparison), evaluation, blessing, compared)


def _compared(
    config: Config, candidate: Scaled, champion: Scaled | None, events: Sequence[tuple[float, bytes]], weighted: bool
) -> Comparison:
    """What `PairedComparison` would say, every event of a key of its own."""
    rules, anchor = comparison_rules(config), Anchor(1, 1)
    if champion is None:
        return Comparison(rules, Judgement(), None, anchor)
    weights = np.array([weight for weight, _ in events])
    labels = np.array([label for _, label in events], object)
    recall = [weights * np.where(labels == b"new", model.on_new, model.factor) for model in (candidate, champion)]
    values = [{"recall": of, "ndcg": of / 2} for of in recall]
    counts = np.maximum(weights, 0) if weighted else np.ones(len(events))
    gains = paired(values[0], values[1], counts, np.arange(len(events)), {"item_slice": labels}, ())
    return Comparison(rules, judge_differences(rules, gains), anchor, anchor)


def _write(split: Path, events: Sequence[tuple[float, bytes]]) -> None:
    split.mkdir()
    with tf.io.TFRecordWriter(str(split / "held_out-00000-of-00001.gz"), "GZIP") as writer:
        for weight, item_slice in events:
            texts = {"item_slice": item_slice, "key_slice": b"warm"}
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in texts.items()
            }
            for name, value in {"weight": weight, "label": 1.0}.items():
                feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
