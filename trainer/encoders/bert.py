"""A BERT in Keras.

Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
NAACL 2019; a text's vector by Reimers and Gurevych, "Sentence-BERT", EMNLP 2019.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from trainer.encoders.folder import CLS, Architecture
from trainer.keras2 import keras, tf

_ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "gelu": functools.partial(tf.nn.gelu, approximate=False),
    "gelu_tanh": functools.partial(tf.nn.gelu, approximate=True),
    "relu": tf.nn.relu,
}
_MASKED = -1e9


class BertBlock(keras.layers.Layer):
    """Self-attention and two dense layers, each added to its input and normalised after that."""

    def __init__(self, architecture: Architecture, name: str) -> None:
        super().__init__(name=name)
        width = architecture.width
        self.heads, self.head_width = architecture.heads, width // architecture.heads
        self.activation = _ACTIVATIONS[architecture.activation]
        self.query, self.key, self.value, self.attended = (
            keras.layers.Dense(width, kernel_initializer="zeros", name=part)
            for part in ("query", "key", "value", "attended")
        )
        self.up = keras.layers.Dense(architecture.inner, kernel_initializer="zeros", name="up")
        self.down = keras.layers.Dense(width, kernel_initializer="zeros", name="down")
        self.attention_norm, self.output_norm = (
            keras.layers.LayerNormalization(epsilon=architecture.epsilon, name=part)
            for part in ("attention_norm", "output_norm")
        )

    def call(self, tokens: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """Token vectors `[batch, length, width]`, with `bias` `[batch, 1, 1, length]` added to their attention."""
        query, key, value = (self._heads(layer(tokens)) for layer in (self.query, self.key, self.value))
        attention = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) * self.head_width**-0.5 + bias)
        mixed = tf.transpose(tf.matmul(attention, value), [0, 2, 1, 3])
        mixed = tf.reshape(mixed, tf.shape(tokens))
        tokens = self.attention_norm(tokens + self.attended(mixed))
        return self.output_norm(tokens + self.down(self.activation(self.up(tokens))))

    def _heads(self, tokens: tf.Tensor) -> tf.Tensor:
        """`[batch, length, width]` to `[batch, heads, length, width of a head]`."""
        shape = tf.shape(tokens)
        split = tf.reshape(tokens, [shape[0], shape[1], self.heads, self.head_width])
        return tf.transpose(split, [0, 2, 1, 3])

    def checkpoint(self) -> Iterator[tuple[str, keras.layers.Layer]]:
        """The layers, each after its name in Hugging Face's files."""
        yield "attention.self.query", self.query
        yield "attention.self.key", self.key
        yield "attention.self.value", self.value
        yield "attention.output.dense", self.attended
        yield "attention.output.LayerNorm", self.attention_norm
        yield "intermediate.dense", self.up
        yield "output.dense", self.down
        yield "output.LayerNorm", self.output_norm


class BertEncoder(keras.Model):
    """Token ids to one vector a text. Begins as zeros, to be filled by `weights`; nothing of it is trained."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(name="bert_encoder", trainable=False)
        self.architecture = architecture
        self.words, self.positions, self.token_types = (
            keras.layers.Embedding(rows, architecture.width, "zeros", name=name)
            for rows, name in (
                (architecture.vocabulary, "words"),
                (architecture.positions, "positions"),
                (architecture.token_types, "token_types"),
            )
        )
        self.norm = keras.layers.LayerNormalization(epsilon=architecture.epsilon, name="norm")
        self.blocks = [BertBlock(architecture, f"block_{number}") for number in range(architecture.layers)]

    def call(self, token_ids: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """Vectors, float32 `[batch, width]`.

        Args:
          token_ids: int32 `[batch, length]`.
          lengths: int32 `[batch]`, how many tokens of each text are its own.
        """
        length = tf.shape(token_ids)[1]
        mask = tf.sequence_mask(lengths, length, dtype=tf.float32)
        tokens = self.words(token_ids) + self.positions(tf.range(length)) + self.token_types(tf.zeros([1], tf.int32))
        tokens = self.norm(tokens)
        bias = (1.0 - mask[:, None, None, :]) * _MASKED
        for block in self.blocks:
            tokens = block(tokens, bias)
        if self.architecture.pooling == CLS:
            vectors = tokens[:, 0]
        else:
            vectors = tf.einsum("blw,bl->bw", tokens, mask) / tf.cast(lengths, tf.float32)[:, None]
        return tf.math.l2_normalize(vectors, axis=1, epsilon=1e-24) if self.architecture.unit_length else vectors

    def checkpoint(self) -> Iterator[tuple[str, keras.layers.Layer]]:
        """The layers, each after its name in Hugging Face's files."""
        yield "embeddings.word_embeddings", self.words
        yield "embeddings.position_embeddings", self.positions
        yield "embeddings.token_type_embeddings", self.token_types
        yield "embeddings.LayerNorm", self.norm
        for number, block in enumerate(self.blocks):
            for name, layer in block.checkpoint():
                yield f"encoder.layer.{number}.{name}", layer
