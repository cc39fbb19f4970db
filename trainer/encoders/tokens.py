"""Texts as the numbers that an encoder reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.encoders.extra import text_library
from trainer.encoders.folder import TOKENIZER, Architecture, EncoderError

TokenIds = npt.NDArray[np.int32]


class TextTokens:
    """The tokenizer of an encoder's folder.

    Raises:
      MissingExtraError: tokenizers is not installed.
      EncoderError: the tokenizer does not fit the encoder.
    """

    def __init__(self, folder: Path, architecture: Architecture, max_tokens: int, prefix: str) -> None:
        self._pad_id, self._prefix = architecture.pad_id, prefix
        self._tokenizer = _read_tokenizer(folder / TOKENIZER, architecture)
        self._tokenizer.enable_truncation(max_tokens)

    def of(self, texts: Sequence[str]) -> list[TokenIds]:
        """The token ids of each text."""
        encoded = self._tokenizer.encode_batch([self._prefix + text for text in texts])
        return [np.array(encoding.ids, np.int32) for encoding in encoded]

    def padded(self, tokens: Sequence[TokenIds]) -> tuple[TokenIds, npt.NDArray[np.int32]]:
        """Of n texts token ids, `[n, longest]`, and how many of each are its own, int32 `[n]`."""
        lengths = np.array([len(ids) for ids in tokens], np.int32)
        token_ids = np.full([len(tokens), lengths.max(initial=1)], self._pad_id, np.int32)
        for place, ids in enumerate(tokens):
            token_ids[place, : len(ids)] = ids
        return token_ids, lengths


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
