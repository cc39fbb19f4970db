"""Texts to vectors by an encoder's folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.encoders.bert import BertEncoder
from trainer.encoders.extra import text_library
from trainer.encoders.folder import TOKENIZER, WEIGHTS, Architecture, EncoderError, read_architecture
from trainer.encoders.weights import load_weights
from trainer.keras2 import tf


class TextEncoder:
    """A folder's tokenizer and BERT, in memory.

    Raises:
      MissingExtraError: tokenizers or safetensors is not installed.
      EncoderError: the folder is no encoder that can be run here.
    """

    def __init__(self, folder: str | Path, max_tokens: int, prefix: str) -> None:
        folder = Path(folder)
        architecture = read_architecture(folder)
        self.width = architecture.width
        self._pad_id, self._prefix = architecture.pad_id, prefix
        self._tokenizer = _read_tokenizer(folder / TOKENIZER, architecture)
        self._tokenizer.enable_truncation(max_tokens)
        encoder = BertEncoder(architecture)
        load_weights(encoder, folder / WEIGHTS)
        self._encode = tf.function(
            encoder,
            input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)],
            autograph=False,
        )

    def encode(self, texts: Sequence[str], batch: int) -> npt.NDArray[np.float32]:
        """Vectors, `[n, width]`, in the order of the texts.

        Texts of about the same number of tokens share a batch, so that little of one is filling.

        Args:
          texts: n texts.
          batch: Most texts that are run together.
        """
        tokens = self._tokenizer.encode_batch([self._prefix + text for text in texts])
        lengths = np.array([len(encoding) for encoding in tokens], np.int32)
        vectors = np.zeros([len(texts), self.width], np.float32)
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            token_ids = np.full([len(rows), lengths[rows].max()], self._pad_id, np.int32)
            for place, row in enumerate(rows):
                token_ids[place, : lengths[row]] = tokens[row].ids
            vectors[rows] = self._encode(token_ids, lengths[rows]).numpy()
        return vectors


def _read_tokenizer(file: Path, architecture: Architecture) -> Any:
    # Its own threads speak up at every fork of the process, and tokens are a small part of the work.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    tokenizers = text_library("tokenizers")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise EncoderError(
            f"{file.name} must be a tokenizer of the library `tokenizers`. Received: {file}, {error}. "
            "Copy the encoder's folder again."
        ) from None
    tokenizer.no_padding()
    if (size := tokenizer.get_vocab_size()) > architecture.vocabulary:
        raise EncoderError(
            f"A tokenizer must have at most the tokens of its encoder, {architecture.vocabulary}. Received: {size} in "
            f"{file}. Give a folder whose files belong together."
        )
    if not tokenizer.encode("").ids:
        raise EncoderError(
            f"A tokenizer must put its first and last token around a text, [CLS] and [SEP]. Received: {file}, which "
            "adds none. Save the tokenizer again with its post-processor."
        )
    return tokenizer
