"""A model's weights and optimizer slots as named arrays: what a warm start needs and a SavedModel does not hold."""

from __future__ import annotations

import dataclasses
import heapq
import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from trainer.keras2 import keras, tf
from trainer.models.base import TableSizes
from trainer.row_numbers import Numbering, RowNumbers

Arrays = dict[str, np.ndarray]

FISHER_FILE = "fisher.npz"
NUMBERS_FILE = "numbers.npz"

# What a missing, cut off or foreign file makes the readers of JSON and of zipped arrays raise.
UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error)
# Where Keras keeps, numbered, what the attributes of a model and of its layers hold too.
_KERAS_LISTS = {"variables", "trainable_variables", "non_trainable_variables", "keras_api"}
# Sequential and Functional models number their layers, once all of them and once those with weights.
_NUMBERED = re.compile(r"layer(_with_weights)?-\d+")


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
      counted: of a state that was saved before Adam counted the steps of each row: of `iterations`, those that it still
        counted after its slots were reset or decayed. None for all.
      revision: of the model's class, see `Recommender.revisions`. A state that does not say it is of the first.
      fisher: path to what the spans learned so far depend on (see `ewc.averaged`), of the weights' shapes; empty for a
        state that was trained without.
    """

    weights: Arrays
    slots: dict[str, Arrays]
    iterations: int
    sizes: TableSizes
    learned: tuple[int, ...]
    counted: int | None = None
    revision: int = 1
    fisher: Arrays = dataclasses.field(default_factory=dict)

    def save(self, folder: str | Path) -> None:
        """Writes `weights.npz`, `slots.npz`, `state.json` and, where there are any, `fisher.npz` and `numbers.npz`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "weights.npz", **self.weights)
        if self.fisher:
            np.savez(folder / FISHER_FILE, **self.fisher)
        np.savez(
            folder / "slots.npz",
            **{f"{path}|{slot}": value for path, slots in self.slots.items() for slot, value in slots.items()},
        )
        about: dict[str, Any] = {
            "iterations": self.iterations,
            "sizes": {name: getattr(self.sizes, name) for name in ("items", "keys", "first_row")},
            "learned": list(self.learned),
            "counted": self.counted,
            "revision": self.revision,
        }
        if self.sizes.words:
            about["sizes"]["words"] = self.sizes.words
        numbers = {name: of.numbers for name, of in vars(self.sizes.numbering).items() if of.numbers is not None}
        if numbers:
            np.savez(folder / NUMBERS_FILE, **numbers)
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
            words = tuple((str(name), int(rows)) for name, rows in about["sizes"].pop("words", ()))
            numbers = read_arrays(folder / NUMBERS_FILE) if (folder / NUMBERS_FILE).exists() else {}
            first_row = int(about["sizes"]["first_row"])
            numbering = Numbering(*(RowNumbers(first_row, numbers.get(name)) for name in ("items", "keys")))
            sizes = TableSizes(**about["sizes"], words=words, numbering=numbering)
            learned = tuple(int(span) for span in about["learned"])
            iterations, counted = int(about["iterations"]), about.get("counted")
            revision = int(about.get("revision", 1))
            weights = read_arrays(folder / "weights.npz")
            slots: dict[str, Arrays] = {}
            for name, value in read_arrays(folder / "slots.npz").items():
                path, slot = name.rsplit("|", 1)
                slots.setdefault(path, {})[slot] = value
            fisher = read_arrays(folder / FISHER_FILE) if (folder / FISHER_FILE).exists() else {}
        except UNREADABLE as error:
            raise StateError(
                f"A model's state must hold state.json, weights.npz and slots.npz. Received: {folder} ({error}). "
                "Start from an older model or with a full retrain."
            ) from None
        return cls(weights, slots, iterations, sizes, learned, counted, revision, fisher)


def read_arrays(path: Path) -> Arrays:
    """What `numpy.savez` wrote; raises one of `UNREADABLE`."""
    # Opened here, because NumPy leaves a file open that it can't read.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


class Trainable:
    """A model and its built optimizer, with every variable reachable by name."""

    def __init__(self, model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        self.model = model
        self.optimizer = optimizer
        self.variables = named_variables(model)
        self.slots = build_slots(optimizer, self.variables)

    @property
    def iterations(self) -> int:
        """Optimizer steps so far, over all days."""
        return int(self.optimizer.iterations.numpy())

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

    def state(self, sizes: TableSizes, learned: tuple[int, ...], fisher: Arrays | None = None) -> ModelState:
        weights, slots = self.read()
        revision = getattr(self.model, "revision", 1)
        return ModelState(weights, slots, self.iterations, sizes, learned, revision=revision, fisher=fisher or {})


def named_variables(model: tf.Module) -> dict[str, tf.Variable]:
    """Every variable of `model` by the attributes that lead to it, the same in every process.

    Keras's own names depend on what was built before in the process; the attributes do not. A variable that several
    paths lead to gets the one with the fewest private and numbered names, then the shortest, then the first by name.

    Raises:
      StateError: a variable can't be reached by attributes.
    """
    view = tf.train.TrackableView(model)
    variable_ids = {id(variable) for variable in model.variables}
    variables: dict[str, tf.Variable] = {}
    seen: set[int] = set()
    queue: list[tuple[int, int, str, int, Any]] = [(0, 0, "", 0, model)]
    while queue:
        dear, depth, path, _, node = heapq.heappop(queue)
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, tf.Variable):
            if id(node) in variable_ids:
                variables[path] = node
            continue
        for name, child in view.children(node).items():
            if name in _KERAS_LISTS or (node is model and name == "optimizer"):
                continue
            cost = dear + (name.startswith("_") or _NUMBERED.fullmatch(name) is not None)
            entry = (cost, depth + 1, f"{path}/{name}" if path else name, len(queue), child)
            heapq.heappush(queue, entry)
    if lost := len(variable_ids) - len(variables):
        raise StateError(
            "Every variable of a model must be reachable by its attributes, so that it can be carried to the next day. "
            f"Received: {lost} of {len(variable_ids)} that are not. Keep layers and variables in attributes of the "
            "model."
        )
    return variables


def build_slots(
    optimizer: keras.optimizers.Optimizer, variables: dict[str, tf.Variable]
) -> dict[str, dict[str, tf.Variable]]:
    """Builds the optimizer for those of `variables` that are trained; path to slot name to slot."""
    path_of = {id(variable): path for path, variable in variables.items()}
    slots: dict[str, dict[str, tf.Variable]] = {}
    make = optimizer.add_variable_from_reference

    def record_slot(model_variable: tf.Variable, variable_name: str, *args: Any, **kwargs: Any) -> tf.Variable:
        slot = make(model_variable, variable_name, *args, **kwargs)
        slots.setdefault(path_of[id(model_variable)], {})[variable_name] = slot
        return slot

    optimizer.add_variable_from_reference = record_slot
    try:
        optimizer.build([variable for variable in variables.values() if variable.trainable])
    finally:
        del optimizer.add_variable_from_reference
    return slots
