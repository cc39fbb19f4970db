"""Texts to vectors by an encoder's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.encoders.bert import BertEncoder
from trainer.encoders.folder import WEIGHTS, read_architecture
from trainer.encoders.tokens import TextTokens
from trainer.encoders.tuned_weights import TunedWeights
from trainer.encoders.weights import load_weights, variables_of
from trainer.keras2 import tf
from trainer.train_state import Arrays


class TextEncoder:
    """A folder's tokenizer and BERT, in memory, with what was tuned of it.

    Raises:
      MissingExtraError: tokenizers or safetensors is not installed.
      EncoderError: the folder is no encoder that can be run here, or `tuned` is of another.
    """

    def __init__(self, folder: str | Path, max_tokens: int, prefix: str, tuned: TunedWeights | None = None) -> None:
        folder = Path(folder)
        architecture = read_architecture(folder)
        self.width = architecture.width
        self._tokens = TextTokens(folder, architecture, max_tokens, prefix)
        self._encoder = BertEncoder(architecture)
        load_weights(self._encoder, folder / WEIGHTS)
        self._changed: Arrays = {}
        self.become(tuned)
        self._encode = tf.function(
            self._encoder,
            input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)],
            autograph=False,
        )

    def become(self, tuned: TunedWeights | None) -> None:
        """Encodes as a tuned revision from now on; None: as the encoder in its folder.

        Raises:
          EncoderError: `tuned` is of another encoder.
        """
        variables = variables_of(self._encoder)
        for name, array in self._changed.items():
            variables[name].assign(array)
        self._changed = {}
        if tuned is not None:
            self._changed = {name: variables[name].numpy() for name in tuned.kernels if name in variables}
            tuned.apply(self._encoder)

    def encode(self, texts: Sequence[str], batch: int) -> npt.NDArray[np.float32]:
        """Vectors, `[n, width]`, in the order of the texts.

        Texts of about the same number of tokens share a batch, so that little of one is filling.

        Args:
          texts: n texts.
          batch: Most texts that are run together.
        """
        tokens = self._tokens.of(texts)
        vectors = np.zeros([len(texts), self.width], np.float32)
        order = np.argsort([len(ids) for ids in tokens], kind="stable")
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            vectors[rows] = self._encode(*self._tokens.padded([tokens[row] for row in rows])).numpy()
        return vectors
