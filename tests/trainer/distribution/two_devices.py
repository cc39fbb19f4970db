"""The same trainings on one device and on two of the same machine, for `test_replicas`.

As a program, `python -m tests.trainer.distribution.two_devices FILE NAME…` writes how far the results of the named
trainings are apart, of all of them with `all`: a process of its own, since TensorFlow divides a CPU into devices before
it computes anything.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from tests.trainer.accelerator.steps import BATCH, MODELS, batches_of, compiled, model_of, parts_for, without_dropout
from tests.trainer.policy_runs import POLICIES
from trainer.checks import PolicyCase
from trainer.checks.policy_case import DAYS, day
from trainer.checks.recommender_case import spec_of
from trainer.checks.small_data import held_out
from trainer.distribution import ALONE, Distribution
from trainer.keras2 import tf
from trainer.replicas import across, everyones, shared_step
from trainer.shared_learner import SharedLearner
from trainer.train_state import ModelState, named_variables
from trainer.training_batches import mixed
from trainer.update import Span, Update, update

MODELS["ranking of labels"] = ("ranking", {"dimension": 8, "objective": "label"})
# With negatives of the batch, and none that each replica draws for its own rows: these are others on other replicas.
STEPS = ("two_tower",)
WITH_PARTS = "two_tower with all parts"
OPERATIONS = ("everyones", "clicks")
FURTHER = ("sasrec", "hstu", "mf", "ranking of ratings", "ranking of labels")  # with `all`: models that do not say it
UPDATES = {"plain": ALONE, "all together": None}  # beside what: the process alone, or, where draws differ, one device


def on_devices(count: int) -> Distribution:
    return Distribution(tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(count)]))


def after_an_epoch(name: str, distribution: Distribution, with_parts: bool = False) -> dict[str, np.ndarray]:
    """The weights of a model after a few steps, with all parts that keep old days or with none."""
    with distribution.scope():
        model = without_dropout(model_of(name))
        parts = parts_for(model, model_of(name)) if with_parts else []
        learner = compiled(SharedLearner(model, parts, [], 7))
    batches = batches_of(model, fixed_shapes=False)
    assert batches.examples % BATCH % 2, "the last batch must be of a size that can't be halved"
    distribution.fit(learner, mixed(batches, parts), batches.steps, epochs=2)
    return {path: variable.numpy() for path, variable in named_variables(model).items()}


def second_day(case: PolicyCase, before: Update, distribution: Distribution) -> Update:
    sizes = DAYS[1]
    watched, popularity = held_out(sizes, 6, seed=9), np.ones(sizes.items)
    how = {"base": before.state, "memory": before.memory, "distribution": distribution}
    return update(spec_of(case.model, case.params), sizes, [Span(1, day(1))], watched, popularity, case.policy, **how)


def loss_of_clicks(distribution: Distribution) -> float:
    """Of given candidates: the sum over the replicas, each of which has every second row."""
    model = model_of("dcn of clicks")
    random = np.random.default_rng(3)
    rows = {
        "logits": random.normal(size=(9, 3)).astype(np.float32),
        "candidates": random.integers(3, 90, (9, 3)),
        "history": random.integers(3, 90, (9, 6)),
        "item": random.integers(3, 90, 9),
        "weight": random.uniform(0.5, 2.0, 9).astype(np.float32),
    }
    replicas = distribution.replicas

    def of_replica() -> tf.Tensor:
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        with shared_step():
            return across(
                model.loss_of_clicks(**{name: tf.constant(values)[number::replicas] for name, values in rows.items()})
            )

    strategy = distribution._strategy
    return float(strategy.experimental_local_results(tf.function(lambda: strategy.run(of_replica))())[-1])


def everyones_rows(distribution: Distribution) -> list[list[int]]:
    """What each replica is given, the first of which has a row and the second two."""

    def of_replica() -> tf.Tensor:
        number = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int64)
        with shared_step():
            return everyones(10 * number + tf.range(number + 1))

    strategy = distribution._strategy
    given = strategy.experimental_local_results(tf.function(lambda: strategy.run(of_replica))())
    return [rows.numpy().tolist() for rows in given]


def apart(expected: Mapping[str, np.ndarray], received: Mapping[str, np.ndarray]) -> float:
    """The largest difference of two sets of weights."""
    return max(float(np.abs(expected[path] - received[path]).max(initial=0)) for path in expected)


def states_apart(expected: ModelState, received: ModelState) -> float:
    slots = [apart(of, received.slots[path]) for path, of in expected.slots.items()]
    return max(apart(expected.weights, received.weights), *slots)


def compared_update(name: str, single: Distribution, double: Distribution) -> dict[str, object]:
    case = POLICIES[name]
    case = dataclasses.replace(case, policy=dataclasses.replace(case.policy, patience=9))
    before = case.first
    alone, shared = (second_day(case, before, of) for of in (UPDATES[name] or single, double))
    learned = {
        path: of[: len(before.state.weights[path])] if of.ndim else of for path, of in shared.state.weights.items()
    }
    return {
        name: states_apart(alone.state, shared.state),
        f"{name}, counted": [[of.examples, of.epochs, of.train_loss, of.watched] for of in (alone, shared)],
        f"{name}, moved": apart(before.state.weights, learned),
    }


def main(file: Path, names: Collection[str]) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    single, double = on_devices(1), on_devices(2)
    results: dict[str, object] = {}
    for name in (*UPDATES, *OPERATIONS, *STEPS, WITH_PARTS, *FURTHER) if "all" in names else names:
        if name in UPDATES:
            results |= compared_update(name, single, double)
        elif name == "clicks":
            results[name] = [loss_of_clicks(single), loss_of_clicks(double)]
        elif name == "everyones":
            results[name] = everyones_rows(double)
        else:
            how = (STEPS[0], True) if name == WITH_PARTS else (name, False)
            weights = [after_an_epoch(how[0], of, with_parts=how[1]) for of in (single, double)]
            results[name] = apart(*weights)
        file.write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
