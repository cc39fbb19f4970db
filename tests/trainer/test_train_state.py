"""A model's weights and slots by name: the same names in every process, saved and read back bit for bit."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.small_model import HISTORY, Small
from trainer.keras2 import keras, tf
from trainer.models.base import TableSizes
from trainer.train_state import ModelState, StateError, Trainable, named_variables

SIZES = TableSizes(items=9, keys=7, first_row=2)
OPTIMIZERS = {"adagrad": keras.optimizers.Adagrad, "adam": keras.optimizers.Adam}


def trainable(optimizer: str = "adam") -> Trainable:
    return Trainable(Small(SIZES, HISTORY), OPTIMIZERS[optimizer](0.1))


def filled(optimizer: str = "adam") -> ModelState:
    """A state in which every number is another one."""
    filled_state = trainable(optimizer)
    filled_state.optimizer.iterations.assign(7)
    random = np.random.default_rng(3)
    for variable in (
        *filled_state.variables.values(),
        *(slot for slots in filled_state.slots.values() for slot in slots.values()),
    ):
        variable.assign(random.normal(size=variable.shape))
    return filled_state.state(SIZES, learned=(4, 6))


def assert_same(left: ModelState, other: ModelState) -> None:
    assert (left.iterations, left.sizes, left.learned) == (other.iterations, other.sizes, other.learned)
    assert left.weights.keys() == other.weights.keys()
    assert {path: set(slots) for path, slots in left.slots.items()} == {
        path: set(slots) for path, slots in other.slots.items()
    }
    for path, value in left.weights.items():
        np.testing.assert_array_equal(value, other.weights[path])
    for path, slots in left.slots.items():
        for name, value in slots.items():
            np.testing.assert_array_equal(value, other.slots[path][name])


def test_names_are_the_attributes_that_lead_to_a_variable() -> None:
    keras.layers.Dense(2).build([None, 1])  # Keras numbers by what came before; these names may not
    assert set(trainable().variables) == {
        "item/embeddings",
        "key/embeddings",
        "bias",
        "popularity",
        "scale/layer-0/kernel",
        "scale/layer-0/bias",
    }


def test_layers_in_lists_and_dictionaries_and_inside_keras_layers_are_found() -> None:
    class Rich(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.layer_norm = keras.layers.LayerNormalization()
            self.attention = keras.layers.MultiHeadAttention(2, 3)
            self.blocks = [keras.layers.Dense(2), {"last": keras.layers.Dense(1)}]
            self.also = self.blocks[0]
            self._private = keras.layers.Dense(1)
            self.free = self.add_weight("free", [3])

    model = Rich()
    x = tf.ones([1, 2, 4])
    for layer in (model.layer_norm, model.blocks[0], model.blocks[1]["last"], model._private):
        layer(x)
    model.attention(x, x)
    variables = named_variables(model)
    parts = {
        f"attention/_{part}_dense/{of}" for part in ("query", "key", "value", "output") for of in ("kernel", "bias")
    }
    pairs = {f"{path}/{of}" for path in ("also", "blocks/1/last", "_private") for of in ("kernel", "bias")}
    assert set(variables) == parts | pairs | {"free", "layer_norm/gamma", "layer_norm/beta"}
    assert {id(variable) for variable in variables.values()} == {id(variable) for variable in model.variables}


def test_a_variable_out_of_reach_is_refused_rather_than_forgotten() -> None:
    class Hidden(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.seen = self.add_weight("seen", [1])
            weight = tf.Variable([1.0])
            self.hidden = lambda: weight

        @property
        def variables(self) -> list:
            return [*super().variables, self.hidden()]

    with pytest.raises(StateError, match="1 of 2 that are not"):
        named_variables(Hidden())


@pytest.mark.parametrize(("optimizer", "slots"), [("adagrad", {"accumulator"}), ("adam", {"m", "v"})])
def test_every_trained_variable_has_its_slots_and_no_other_has(optimizer: str, slots: set[str]) -> None:
    trained = trainable(optimizer)
    assert {path: set(of) for path, of in trained.slots.items()} == dict.fromkeys(
        set(trained.variables) - {"popularity"}, slots
    )
    for path, of in trained.slots.items():
        assert {tuple(slot.shape) for slot in of.values()} == {tuple(trained.variables[path].shape)}


def test_what_is_written_is_what_is_read() -> None:
    state, other = filled(), trainable()
    other.write(state.weights, state.slots)
    weights, slots = other.read()
    assert_same(ModelState(weights, slots, 7, SIZES, (4, 6)), state)
    weights["bias"][:] = 0  # a copy
    assert other.variables["bias"].numpy().any()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_saved_state_is_read_back_bit_for_bit(tmp_path: Path, optimizer: str) -> None:
    state = filled(optimizer)
    state.save(tmp_path / "state")
    assert_same(ModelState.load(tmp_path / "state"), state)


def test_what_the_weights_are_held_by_is_read_back_too(tmp_path: Path) -> None:
    state = filled()
    held = dataclasses.replace(state, fisher={path: np.square(value) for path, value in state.weights.items()})
    held.save(tmp_path)
    np.testing.assert_equal(ModelState.load(tmp_path).fisher, held.fisher)
    (tmp_path / "fisher.npz").write_bytes(b"")
    with pytest.raises(StateError):
        ModelState.load(tmp_path)


_IN_A_FRESH_PROCESS = """
import sys
import numpy as np
from tests.trainer.small_model import HISTORY, Small
from trainer.keras2 import keras
from trainer.models.base import TableSizes
from trainer.train_state import ModelState, Trainable
keras.layers.Dense(3).build([None, 2])
state = ModelState.load(sys.argv[1])
one = Trainable(Small(state.sizes, HISTORY), keras.optimizers.Adam(0.1))
one.write(state.weights, state.slots)
one.optimizer.iterations.assign(state.iterations)
one.state(state.sizes, state.learned).save(sys.argv[2])
"""


def test_a_fresh_process_takes_a_state_over_whole(tmp_path: Path) -> None:
    state = filled()
    state.save(tmp_path / "here")
    command = [sys.executable, "-c", _IN_A_FRESH_PROCESS, str(tmp_path / "here"), str(tmp_path / "there")]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    assert_same(ModelState.load(tmp_path / "there"), state)


def _remove(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _foreign(path: Path) -> None:
    path.write_text('["not", "this"]')


@pytest.mark.parametrize("harm", [_remove, _cut, _empty, _foreign])
@pytest.mark.parametrize("name", ["state.json", "weights.npz", "slots.npz"])
def test_a_broken_folder_says_so(tmp_path: Path, name: str, harm) -> None:
    filled().save(tmp_path)
    harm(tmp_path / name)
    with pytest.raises(StateError, match=r"must hold state.json, weights.npz and slots.npz. Received: .*retrain"):
        ModelState.load(tmp_path)


@pytest.mark.parametrize("field", ["iterations", "sizes", "learned"])
def test_a_state_without_a_field_says_so(tmp_path: Path, field: str) -> None:
    filled().save(tmp_path)
    about = json.loads((tmp_path / "state.json").read_text())
    del about[field]
    (tmp_path / "state.json").write_text(json.dumps(about))
    with pytest.raises(StateError, match=field):
        ModelState.load(tmp_path)
