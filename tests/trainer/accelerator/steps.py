"""Small models of every kind, and the training steps that the tests trace."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from trainer.checks.small_data import random_sequences
from trainer.keras2 import keras, tf
from trainer.models import build_model
from trainer.models.base import Recommender, TableSizes
from trainer.optimizers import make_optimizer
from trainer.precision import built_in
from trainer.settings import OptimizerName, Precision
from trainer.stability.base import NEW, Batches, Learner, LossTerm
from trainer.stability.distillation import Distillation
from trainer.stability.ewc import Ewc
from trainer.stability.proximal import Proximal
from trainer.stability.replay import Replay
from trainer.train_state import named_variables
from trainer.training_batches import TrainingBatches, make_training_batches

SIZES, LENGTH, BATCH = TableSizes(90, 12, 3), 6, 16
_TOWER = {"dimension": 8, "negatives": 20}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "two_tower": ("two_tower", {**_TOWER, "dropout": 0.1}),
    "sasrec": ("sasrec", {**_TOWER, "dropout": 0.1, "item_dropout": 0.1, "neighbours": 0, "reverse": True}),
    "hstu": ("hstu", {**_TOWER, "dropout": 0.1, "head": "projected", "neighbours": 0, "reverse": False}),
    "mf": ("mf", _TOWER),
    "dcn of clicks": ("dcn", {"dimension": 8, "objective": "click", "dropout": 0.1}),
    "ranking of ratings": ("ranking", {"dimension": 8}),
    "two_stage": ("two_stage", {"retrieval": _TOWER, "ranking": {"dimension": 8}}),
}


def model_of(name: str, precision: Precision = "float32") -> Recommender:
    """The same weights in every precision."""
    type_, params = MODELS[name]
    with built_in(precision):
        model = build_model(type_, SIZES, LENGTH, params)
    for number, variable in enumerate(model.trainable_variables):
        noise = tf.constant(np.random.default_rng(number).normal(0, 0.3, variable.shape), tf.float32)
        variable.assign(noise if len(variable.shape) > 1 else variable + 0.1 * noise)
    model.set_popularity(np.arange(SIZES.items, dtype=np.float64))
    return model


def batches_of(model: Recommender, fixed_shapes: bool) -> TrainingBatches:
    """With rows that are out of vocabulary among them, and events that count differently."""
    sequences = random_sequences(SIZES, 30, seed=1)
    items, random = sequences.items.copy(), np.random.default_rng(2)
    items[::7] = SIZES.first_row - 1
    weights = random.uniform(0.5, 2.0, len(items)).astype(np.float32)
    sequences = dataclasses.replace(sequences, items=items, weights=weights)
    return make_training_batches(model, sequences, BATCH, LENGTH, 1, fixed_shapes=fixed_shapes)


def parts_for(model: Recommender, before: Recommender) -> list[LossTerm]:
    """All that keep what the model `before` knew."""
    variables = named_variables(model)
    previous = {path: variable.numpy() for path, variable in named_variables(before).items()}
    fisher = {path: np.ones_like(previous[path]) for path, variable in variables.items() if variable.trainable}
    return [
        Replay(batches_of(model, fixed_shapes=False).data, BATCH, 1.0),
        Distillation(before, "both", 0.5, 2.0, 30),
        Proximal(model, variables, previous, 0.1),
        Ewc(model, variables, previous, fisher, 1.0),
    ]


def first_batches(model: Recommender) -> Batches:
    """The first ones of an epoch, for a compiled step."""
    return {NEW: next(iter(batches_of(model, fixed_shapes=True).data))}


def compiled(learner: Learner, optimizer: OptimizerName = "adam") -> Learner:
    """With an optimizer, as `update` compiles it."""
    learner.compile(optimizer=make_optimizer(optimizer, 0.01, 10.0, 1e-6, 0.1))
    return learner


def without_dropout(model: Recommender) -> Recommender:
    """The model, which draws nothing any more when it is trained."""
    for layer in model.submodules:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    model.item_dropout = 0.0
    return model
