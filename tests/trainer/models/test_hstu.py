"""HSTU: its equations, and blocks that begin with nothing to add."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.features.declaration import FIRST_ROW, Feature
from trainer.keras2 import tf
from trainer.models import ModelError, build_model
from trainer.models.base import TableSizes
from trainer.models.hstu import HstuBlock
from trainer.models.sequence_model import SequenceModel
from trainer.train_state import named_variables

SIZES, LENGTH = TableSizes(30, 4, 2), 8
TINY = {"dimension": 8, "negatives": 5, "neighbours": 0, "heads": 2, "inner": 2}


def silu(values: np.ndarray) -> np.ndarray:
    return values / (1 + np.exp(-values))


def normal(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(-1, keepdims=True)) / np.sqrt(values.var(-1, keepdims=True) + 1e-6)


def test_a_block_is_the_published_equations() -> None:
    random = np.random.default_rng(1)
    width, heads, inner, length = 6, 2, 4, 5
    block = HstuBlock(width, heads, inner, dropout=0.0, longest=LENGTH)
    for variable in block.trainable_variables:
        if "gamma" not in variable.name and "beta" not in variable.name:
            variable.assign(random.normal(0, 0.5, variable.shape))
    steps = random.normal(0, 2, [length, width])
    visible = np.tril(np.ones([length, length], bool))
    visible[:, 0] = False  # padding
    expanded = silu(normal(steps) @ block.expand.kernel.numpy() + block.expand.bias.numpy())
    gate, value, query, key = np.split(expanded, [inner, 2 * inner, 2 * inner + width], axis=1)
    seen = np.zeros([length, inner])
    for head in range(heads):
        of, wide = slice(head * inner // heads, (head + 1) * inner // heads), slice(head * 3, head * 3 + 3)
        for step in range(length):
            for other in range(step + 1):
                if visible[step, other]:
                    score = query[step, wide] @ key[other, wide] + block.distance_bias.numpy()[step - other]
                    seen[step, of] += silu(score) / LENGTH * value[other, of]
    expected = steps + (normal(seen) * gate) @ block.output_.kernel.numpy() + block.output_.bias.numpy()
    got = block(tf.constant(steps[None], tf.float32), tf.constant(visible[None])).numpy()[0]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("type_", ["sasrec", "hstu"])
def test_a_new_model_of_any_depth_is_one_without_blocks(type_: str) -> None:
    history = tf.constant([[3, 4, 5, 0, 0], [6, 7, 8, 9, 3]], tf.int64)
    deep, flat = (
        build_model(type_, SIZES, LENGTH, {**TINY, "blocks": 3, "head": "projected"}),
        build_model(type_, SIZES, LENGTH, {**TINY, "blocks": 0, "heads": 1, "inner": 1, "head": "projected"}),
    )
    assert isinstance(deep, SequenceModel)
    assert isinstance(flat, SequenceModel)
    flat.item_embedding.embeddings.assign(deep.item_embedding.embeddings)
    flat.places.assign(deep.places)
    ours, plain = (model._sessions(history, training=False).numpy() for model in (deep, flat))
    np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)
    # What a block adds, and the items that it is added to, are of one length once it adds something.
    lengths = np.linalg.norm(deep.item_embedding(history[1]).numpy() * 8**0.5, axis=-1)
    assert 0.5 < lengths.mean() / 8**0.5 < 2
    before = deep.blocks[0].output_.kernel
    before.assign(np.random.default_rng(2).normal(0, before.shape[0] ** -0.5, before.shape))
    assert not np.allclose(deep._sessions(history, training=False).numpy(), plain, atol=1e-3)


def test_it_has_the_towers_of_features_that_sasrec_has() -> None:
    """What these make of a score is tested with `sasrec`: the code is the one of `SequenceModel`."""
    sizes = TableSizes(30, 4, 2, (("feature_device", FIRST_ROW + 2), ("feature_kind", FIRST_ROW + 3)))
    of_items, of_query = (Feature(name="kind", kind="category"),), (Feature(name="device", kind="category"),)
    sasrec, hstu = (build_model(type_, sizes, LENGTH, {}, of_items, of_query) for type_ in ("sasrec", "hstu"))
    around = [{path for path in named_variables(model) if not path.startswith("blocks/")} for model in (sasrec, hstu)]
    assert around[0] == around[1]
    assert sasrec.feature_tables == hstu.feature_tables
    assert "query_features/of/device/vectors" in hstu.feature_tables
    # Items without events yet would score nothing.
    hstu = build_model("hstu", sizes, LENGTH, {}, None, of_query)
    key, history = tf.constant([1, 1]), tf.constant([[0] * 7 + [3]] * 2, tf.int64)
    hstu.query_features.of["device"].vectors.assign(np.random.default_rng(1).normal(size=[FIRST_ROW + 2, 128]))
    asked = {"row": tf.cast(key, tf.int64), "feature_device": tf.constant([[FIRST_ROW], [FIRST_ROW + 1]], tf.int64)}
    first, second = hstu.score_all(asked, history).numpy()
    assert not np.allclose(first, second), "what is known of the request says which items are wanted"


@pytest.mark.parametrize("type_", ["sasrec", "hstu"])
@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"dropout": 1.0}, "from 0 to below 1, not 1.0"),
        ({"item_dropout": -0.1}, "from 0 to below 1"),
        ({"temperature": 0}, "temperature must be above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(type_: str, params: dict, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build_model(type_, SIZES, LENGTH, params)
