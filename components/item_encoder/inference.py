"""The encoder as Beam's RunInference runs it."""

from __future__ import annotations

import dataclasses
import resource
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from apache_beam.ml.inference import base

from components.item_encoder.settings import Settings
from trainer.encoders.text_encoder import TextEncoder
from trainer.encoders.tuned_weights import TunedWeights

if getattr(base, "resource", resource) is None:
    # Beam 2.74 forgets it where a library is missing that it needs beside it, and complains of that at every model.
    base.resource = resource


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Texts of one shard that are encoded by one worker, short ones first."""

    shard: int
    keys: list[bytes]
    texts: list[str]


@dataclasses.dataclass(frozen=True)
class EncodedChunk:
    """Keys and vectors, float32 `[n, width]`, of one shard."""

    shard: int
    keys: list[bytes]
    vectors: npt.NDArray[np.float32]


class TextModelHandler(base.ModelHandler[Chunk, EncodedChunk, TextEncoder]):
    """Loads the encoder once a process, and encodes a chunk at a time.

    Batches by length are the chunk's own affair: Beam would make them of texts as they come.

    Args:
      settings: The encoder.
      tuned: The folder of a revision of it, see `TunedWeights`; None for the encoder as it is.
    """

    def __init__(self, settings: Settings, tuned: str | None) -> None:
        super().__init__(max_batch_size=1)
        self._settings, self._tuned = settings, tuned

    def load_model(self) -> TextEncoder:
        tuned = None if self._tuned is None else TunedWeights.load(self._tuned)
        return TextEncoder(self._settings.folder, self._settings.max_tokens, self._settings.prefix, tuned)

    def run_inference(
        self, batch: Sequence[Chunk], model: TextEncoder, inference_args: dict[str, Any] | None = None
    ) -> Iterator[EncodedChunk]:
        for chunk in batch:
            yield EncodedChunk(chunk.shard, chunk.keys, model.encode(chunk.texts, self._settings.batch))

    def get_num_bytes(self, batch: Sequence[Chunk]) -> int:
        return sum(len(text) for chunk in batch for text in chunk.texts)

    def get_metrics_namespace(self) -> str:
        return "warmspan_item_encoder"
