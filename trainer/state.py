"""A model's weights and optimizer slots as named arrays: what a warm start needs and a SavedModel does not hold."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from trainer.keras2 import keras, tf
from trainer.models.base import TableSizes

Arrays = dict[str, np.ndarray]


class StateError(ValueError):
    """A saved state can't be used; the message says which part and why."""


@dataclasses.dataclass(frozen=True)
class ModelState:
    """Everything that training changes, by the variable's path in the model (`item_embedding/embeddings`).

    Attributes:
      weights: path to array.
      slots: path to slot name to array (`{"item_embedding/embeddings": {"accumulator": ...}}`).
      iterations: optimizer steps so far, over all days.
      sizes: rows of the tables.
      learned: spans that the weights were trained on since the last cold start, in order.
    """

    weights: Arrays
    slots: dict[str, Arrays]
    iterations: int
    sizes: TableSizes
    learned: tuple[int, ...]

    def save(self, folder: str | Path) -> None:
        """Writes `weights.npz`, `slots.npz` and `state.json` into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "weights.npz", **self.weights)
        np.savez(
            folder / "slots.npz",
            **{f"{path}|{slot}": value for path, slots in self.slots.items() for slot, value in slots.items()},
        )
        about = {
            "iterations": self.iterations,
            "sizes": dataclasses.asdict(self.sizes),
            "learned": list(self.learned),
        }
        (folder / "state.json").write_text(json.dumps(about, indent=1))

    @classmethod
    def load(cls, folder: str | Path) -> ModelState:
        """Reads what `save` wrote.

        Raises:
          StateError: a part is missing or can't be read.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / "state.json").read_text())
            with np.load(folder / "weights.npz", allow_pickle=False) as file:
                weights = {name: file[name] for name in file.files}
            slots: dict[str, Arrays] = {}
            with np.load(folder / "slots.npz", allow_pickle=False) as file:
                for name in file.files:
                    path, slot = name.rsplit("|", 1)
                    slots.setdefault(path, {})[slot] = file[name]
        except (OSError, ValueError, KeyError) as error:
            raise StateError(
                f"A model's state must hold state.json, weights.npz and slots.npz. Received: {folder} ({error}). "
                "Start from an older model or with a full retrain."
            ) from None
        return cls(weights, slots, about["iterations"], TableSizes(**about["sizes"]), tuple(about["learned"]))


class Trainable:
    """A model and its built optimizer, with every variable reachable by name."""

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        self.model = model
        self.optimizer = optimizer
        self.variables = named_variables(model)
        self.slots = _build_slots(optimizer, self.variables)

    def read(self) -> tuple[Arrays, dict[str, Arrays]]:
        """Copies of all weights and all slots."""
        weights = {path: variable.numpy() for path, variable in self.variables.items()}
        slots = {path: {name: slot.numpy() for name, slot in of.items()} for path, of in self.slots.items()}
        return weights, slots

    def write(self, weights: Arrays, slots: dict[str, Arrays]) -> None:
        """Sets all weights and slots named; shapes must agree."""
        for path, value in weights.items():
            self.variables[path].assign(value)
        for path, of in slots.items():
            for name, value in of.items():
                self.slots[path][name].assign(value)

    def state(self, sizes: TableSizes, learned: tuple[int, ...]) -> ModelState:
        weights, slots = self.read()
        return ModelState(weights, slots, int(self.optimizer.iterations.numpy()), sizes, learned)


def named_variables(model: tf.Module) -> dict[str, tf.Variable]:
    """Every variable of `model` by the attributes that lead to it, the same in every process.

    Keras's own names depend on what was built before in the process; the attributes do not.
    """
    view = tf.train.TrackableView(model)
    found: dict[str, tf.Variable] = {}
    seen: set[int] = {id(model)}
    queue: deque[tuple[str, Any]] = deque([("", model)])
    wanted = {id(variable) for variable in model.variables}
    while queue:
        prefix, node = queue.popleft()
        for name, child in sorted(view.children(node).items()):
            # Keras tracks its layers a second time under these names, and numbers them.
            if name.startswith(("layer", "_")) or name in {"variables", "keras_api", "optimizer"}:
                continue
            if id(child) in seen:
                continue
            seen.add(id(child))
            path = f"{prefix}/{name}" if prefix else name
            if isinstance(child, tf.Variable):
                if id(child) in wanted:
                    found[path] = child
            else:
                queue.append((path, child))
    lost = len(wanted) - len(found)
    if lost:
        raise StateError(
            f"Every variable of a model must be reachable by its attributes, so that it can be carried to the next "
            f"day. Received: {lost} of {len(wanted)} that are not. Keep layers in attributes without a leading '_'."
        )
    return found


def _build_slots(
    optimizer: keras.optimizers.Optimizer, variables: dict[str, tf.Variable]
) -> dict[str, dict[str, tf.Variable]]:
    """Builds the optimizer and notes which slot it makes for which variable."""
    path_of = {id(variable): path for path, variable in variables.items()}
    slots: dict[str, dict[str, tf.Variable]] = {}
    make = optimizer.add_variable_from_reference

    def noting(model_variable: tf.Variable, variable_name: str, *args: Any, **kwargs: Any) -> tf.Variable:
        slot = make(model_variable, variable_name, *args, **kwargs)
        slots.setdefault(path_of[id(model_variable)], {})[variable_name] = slot
        return slot

    optimizer.add_variable_from_reference = noting
    try:
        optimizer.build([variable for variable in variables.values() if variable.trainable])
    finally:
        del optimizer.add_variable_from_reference
    return slots
