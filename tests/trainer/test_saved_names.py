"""The names under which a model's variables are saved: a state of an earlier day is found again by them alone."""

from __future__ import annotations

import pytest

from trainer.models import build_model
from trainer.models.base import TableSizes
from trainer.train_state import named_variables

_BLOCK = [
    *(f"blocks/0/{norm}/{part}" for norm in ("before_attention", "before_inner") for part in ("beta", "gamma")),
    *(f"blocks/0/{dense}/{part}" for dense in ("inner", "outer") for part in ("bias", "kernel")),
    *(f"blocks/0/{projection}/kernel" for projection in ("query", "key", "value", "output_")),
]
_TRANSITIONS = [
    "transitions/counts",
    *(f"transitions/{lists}/{part}" for lists in ("following", "together") for part in ("rows", "weights_")),
]
_AROUND_BLOCKS = [
    *_TRANSITIONS,
    "before_head/beta",
    "before_head/gamma",
    "distance_bias",
    "head_key/kernel",
    "head_query/kernel",
    "item_embedding/embeddings",
    "log_scale",
    "mixture/network/bias",
    "mixture/network/hidden",
    "mixture/network/output",
    "mixture/weights_",
    "places",
    "popularity/average",
    "popularity/counts",
]
_DCN = [
    *(f"crosses/{cross}/_dense_{part}" for cross in (0, 1) for part in ("u/kernel", "v/bias", "v/kernel")),
    "item_bias/embeddings",
    "item_embedding/embeddings",
    "key_embedding/embeddings",
    *(f"mlp/layer-{layer}/{part}" for layer in (0, 1, 2) for part in ("bias", "kernel")),
    "moments",
    "pooling/distance_bias",
]
SAVED = {
    "two_tower": [
        "history_scale",
        "item_embedding/embeddings",
        "key_embedding/embeddings",
        "pooling/distance_bias",
        "popularity/average",
        "popularity/counts",
        "slope",
    ],
    "ranking": [
        "item_bias/embeddings",
        "item_embedding/embeddings",
        "key_embedding/embeddings",
        *(f"{dense}/{part}" for dense in ("item_part", "key_part") for part in ("bias", "kernel")),
        *(f"mlp/layer-{layer}/{part}" for layer in (0, 1) for part in ("bias", "kernel")),
        "moments",
        "pooling/distance_bias",
    ],
    "dcn": _DCN,
    "two_stage": [
        *(f"ranking/{path}" for path in _DCN),
        "retrieval/history_scale",
        "retrieval/item_embedding/embeddings",
        "retrieval/key_embedding/embeddings",
        "retrieval/pooling/distance_bias",
        "retrieval/popularity/average",
        "retrieval/popularity/counts",
        "retrieval/slope",
        "share",
    ],
    "mf": ["item_embedding/embeddings", "key_embedding/embeddings", "popularity/average", "popularity/counts"],
    "sasrec": [*_BLOCK, *_AROUND_BLOCKS],
    "hstu": [
        *(f"blocks/0/{norm}/{part}" for norm in ("after_attention", "before") for part in ("beta", "gamma")),
        *(f"blocks/0/{dense}/{part}" for dense in ("expand", "output_") for part in ("bias", "kernel")),
        "blocks/0/distance_bias",
        *_AROUND_BLOCKS,
    ],
}


@pytest.mark.parametrize("model_type", SAVED)
def test_a_model_saves_its_variables_under_the_names_that_it_always_had(model_type):
    model = build_model(model_type, TableSizes(items=7, keys=5, first_row=2), 6, {})
    assert sorted(named_variables(model)) == sorted(SAVED[model_type])
