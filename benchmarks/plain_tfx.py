"""The peer of `fixed_cost`: a day of a plain TFX pipeline, standard components only, with a TFRS two-tower model.

    python -m benchmarks.plain_tfx ROOT SPAN [SPAN ...]

Spans lie in ROOT/shop/events/YYYY-MM-DD; each is read, described, trained on from nothing for as many epochs as
warmspan's default, compared with the last blessed model and pushed. Prints a line of JSON a span: processor seconds, by
node.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import tensorflow_recommenders as tfrs
from absl import logging
from tensorflow_model_analysis.proto import config_pb2 as tfma
from tfx.components.evaluator.component import Evaluator
from tfx.components.example_gen.csv_example_gen.component import CsvExampleGen
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.pusher.component import Pusher
from tfx.components.schema_gen.component import SchemaGen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.trainer.component import Trainer
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.portable import launcher
from tfx.proto import example_gen_pb2, pusher_pb2, trainer_pb2
from tfx.types import standard_artifacts
from tfx.types.channel import Channel

from pipeline.parameters.graph_parameters import LOCAL_BEAM
from trainer.keras2 import keras, tf
from trainer.settings import Policy

K = 20
_FEATURES = {"user_id": tf.io.FixedLenFeature([], tf.string), "item_id": tf.io.FixedLenFeature([], tf.string)}


class TwoTower(tfrs.Model):
    """The two-tower model of TFRS's own guide."""

    def __init__(self, users: list[str], items: list[str], width: int = 64) -> None:
        super().__init__()
        self.query = _tower(users, width)
        self.candidate = _tower(items, width)
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return self.task(self.query(inputs["user_id"]), self.candidate(inputs["item_id"]), compute_metrics=False)


def _tower(ids: list[str], width: int) -> keras.Model:
    lookup = keras.layers.StringLookup(vocabulary=ids, mask_token=None)
    return keras.Sequential([lookup, keras.layers.Embedding(len(ids) + 1, width)])


def _dataset(patterns: list[str], shuffle: bool) -> tf.data.Dataset:
    files = [str(file) for pattern in patterns for file in sorted(Path(pattern).parent.glob(Path(pattern).name))]
    data = tf.data.TFRecordDataset(files, compression_type="GZIP")
    data = data.shuffle(10_000, seed=1) if shuffle else data
    return data.batch(256).map(lambda raw: tf.io.parse_example(raw, _FEATURES))


def run_fn(fn_args: Any) -> None:
    """Called by TFX's Trainer."""
    train = _dataset(fn_args.train_files, shuffle=True)
    ids: dict[str, set[bytes]] = {"user_id": set(), "item_id": set()}
    for batch in train:
        for name, known_ids in ids.items():
            known_ids.update(batch[name].numpy())
    users, items = ([id_.decode() for id_ in sorted(ids[name])] for name in ("user_id", "item_id"))
    model = TwoTower(users, items)
    model.compile(optimizer=keras.optimizers.Adagrad(0.1))
    model.fit(train, epochs=Policy().epochs, verbose=0)

    module = tf.Module()
    module.query, module.items = model.query, tf.Variable(items)
    module.vectors = tf.Variable(model.candidate(tf.constant(items)))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def evaluate(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.io.parse_example(examples, _FEATURES)
        scores = tf.matmul(module.query(features["user_id"]), module.vectors, transpose_b=True)
        top = tf.gather(module.items, tf.math.top_k(scores, K).indices)
        hit = tf.reduce_any(tf.equal(top, features["item_id"][:, None]), axis=1)
        return {"recall": tf.cast(hit, tf.float32)[:, None]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def label(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"label": tf.ones_like(tf.strings.length(examples), tf.float32)[:, None]}

    module.evaluate, module.label = evaluate, label
    signatures = {"serving_default": evaluate, "label": label}
    tf.saved_model.save(module, fn_args.serving_model_dir, signatures=signatures)


def create_pipeline(root: Path, span: str) -> pipeline.Pipeline:
    events = CsvExampleGen(
        input_base=str(root / "shop" / "events" / span),
        output_config=example_gen_pb2.Output(
            split_config=example_gen_pb2.SplitConfig(
                splits=[
                    example_gen_pb2.SplitConfig.Split(name="train", hash_buckets=9),
                    example_gen_pb2.SplitConfig.Split(name="eval", hash_buckets=1),
                ]
            )
        ),
    )
    statistics = StatisticsGen(examples=events.outputs["examples"])
    schema = SchemaGen(statistics=statistics.outputs["statistics"], infer_feature_shape=True)
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    training = Trainer(
        run_fn="benchmarks.plain_tfx.run_fn",
        examples=events.outputs["examples"],
        schema=schema.outputs["schema"],
        train_args=trainer_pb2.TrainArgs(splits=["train"], num_steps=1),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"], num_steps=1),
    )
    blessed = Resolver(
        strategy_class=LatestBlessedModelStrategy,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("blessed")
    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": 0.0}),
        change_threshold=tfma.GenericChangeThreshold(direction=tfma.HIGHER_IS_BETTER, absolute={"value": -1.0}),
    )
    gate = Evaluator(
        examples=events.outputs["examples"],
        model=training.outputs["model"],
        baseline_model=blessed.outputs["model"],
        eval_config=tfma.EvalConfig(
            model_specs=[
                tfma.ModelSpec(
                    signature_name="serving_default",
                    prediction_key="recall",
                    label_key="label",
                    preprocessing_function_names=["label"],
                )
            ],
            slicing_specs=[tfma.SlicingSpec()],
            metrics_specs=[
                tfma.MetricsSpec(
                    metrics=[
                        tfma.MetricConfig(class_name="ExampleCount"),
                        tfma.MetricConfig(class_name="MeanPrediction", threshold=threshold),
                    ]
                )
            ],
        ),
    )
    pusher = Pusher(
        model=training.outputs["model"],
        model_blessing=gate.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(root / "plain" / "serving"))
        ),
    )
    return pipeline.Pipeline(
        pipeline_name="plain",
        pipeline_root=str(root / "plain" / "artifacts"),
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "plain" / "metadata.sqlite")),
        components=[events, statistics, schema, validator, training, blessed, gate, pusher],
        beam_pipeline_args=list(LOCAL_BEAM),
    )


def main(root: Path, spans: list[str]) -> None:
    logging.set_verbosity(logging.ERROR)
    nodes: dict[str, float] = {}
    launch = launcher.Launcher.launch

    def timed(self: launcher.Launcher) -> Any:
        started = time.process_time()
        try:
            return launch(self)
        finally:
            nodes[self._pipeline_node.node_info.id] = time.process_time() - started

    launcher.Launcher.launch = timed
    for span in spans:
        nodes.clear()
        started = time.process_time()
        LocalDagRunner().run(create_pipeline(root, span))
        print(json.dumps({"span": span, "seconds": time.process_time() - started, "nodes": nodes}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
