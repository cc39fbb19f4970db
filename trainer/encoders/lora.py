"""Low-rank changes of an encoder's kernels.

Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen, "LoRA: Low-rank adaptation of large language models", ICLR 2022
(2021 as a preprint): W + alpha / r * B A, of the query and value projections (section 4.2), A drawn and B zero.
"""

from __future__ import annotations

import numpy as np

from trainer.encoders.bert import BertEncoder
from trainer.keras2 import keras, tf

DOWN, UP = ".lora_A", ".lora_B"  # of the name of the kernel that is changed, as PEFT names them
_CHANGED = ("query", "value")


class LowRankDense(keras.layers.Layer):
    """A dense layer that stays as it is, and a low-rank change of its kernel.

    Args:
      dense: built, `[given, width]`.
      rank: of the change.
      scale: of the change.
      seed: of what `down` begins as, uniform within the root of 1 / given; `up` begins at zero: nothing is changed.
    """

    def __init__(self, dense: keras.layers.Dense, rank: int, scale: float, seed: int) -> None:
        super().__init__(name=f"{dense.name}_lora")
        given, width = (int(size) for size in dense.kernel.shape)
        self.dense, self.scale = dense, scale
        limit = given**-0.5
        drawn = np.random.default_rng(seed).uniform(-limit, limit, [rank, given]).astype(np.float32)
        self.down = tf.Variable(drawn, name="down")
        self.up = tf.Variable(np.zeros([width, rank], np.float32), name="up")

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """`[..., given]` to `[..., width]`."""
        low = tf.matmul(tokens, self.down, transpose_b=True)
        return self.dense(tokens) + self.scale * tf.matmul(low, self.up, transpose_b=True)


def add_lora(encoder: BertEncoder, rank: int, scale: float, seed: int) -> dict[str, tf.Variable]:
    """Puts a `LowRankDense` in the place of each query and value layer of an encoder that has its weights.

    Returns:
      The new variables, by the names of the kernels in Hugging Face's files and `DOWN` or `UP`.
    """
    variables: dict[str, tf.Variable] = {}
    for number, block in enumerate(encoder.blocks):
        for place, part in enumerate(_CHANGED):
            layer = LowRankDense(getattr(block, part), rank, scale, (seed * 1000 + number) * len(_CHANGED) + place)
            setattr(block, part, layer)
            name = f"encoder.layer.{number}.attention.self.{part}.weight"
            variables |= {name + DOWN: layer.down, name + UP: layer.up}
    return variables
