"""One night's tuning, as the daily graph and a backtest have it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from components.encoder_tuner.settings import Settings
from trainer.encoders.contrastive import loss_over_all
from trainer.encoders.text_encoder import TextEncoder
from trainer.encoders.text_positions import NONE, ItemTexts, TextPositions, sampled, text_positions
from trainer.encoders.tuned_weights import TunedWeights
from trainer.encoders.tuning import EncoderTuning, TuningState
from trainer.input_pipeline import Positions, Sequences

_COMPARED = 256  # held-out positions: of a few texts each, so that a comparison takes seconds
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What a night has come to.

    Attributes:
      state: that the next one goes on from.
      weights: to encode with.
      positions: that were learned from, of all spans.
      loss: of the last span; NaN of nothing.
      before, after: losses on held-out positions of the present encoder and of `weights`; NaN without any.
      moved: how far the vectors of those positions' texts have moved, the mean of 1 - cosine; NaN without any.
    """

    state: TuningState
    weights: TunedWeights
    positions: int
    loss: float
    before: float
    after: float
    moved: float


class Tuner:
    """The encoder of one text, in memory, that learns night after night.

    Args:
      settings: The encoder, and how it learns.

    Raises:
      MissingExtraError, EncoderError: as `EncoderTuning`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        where = settings.folder, settings.max_tokens, settings.prefix
        self._tuning = EncoderTuning(*where, settings.tuning, settings.seed)
        self._encoder = TextEncoder(*where)

    @property
    def base(self) -> str:
        """The digest of the encoder as it came."""
        return self._tuning.base

    @property
    def spec(self) -> str:
        """What a state must have in common with it to be gone on from."""
        return self._tuning.spec

    def tune(
        self,
        items: ItemTexts,
        spans: Mapping[int, Sequences],
        held_out: Positions,
        base: TuningState | None,
        present: TunedWeights | None,
    ) -> Tuned:
        """Learns `spans` one after the other, each as if it had been on its own day.

        Args:
          items: The texts of the vocabulary's items.
          spans: What was not learned yet, by number, oldest first.
          held_out: Not learned; says whether what was tuned is better than what is there.
          base: What it goes on from; None for the encoder as it came.
          present: The revision that texts are encoded with now; None for the encoder as it came.

        Raises:
          EncoderError: `base` or `present` is of another encoder.
        """
        of = self.settings.tuning
        self._tuning.go_on_from(base)
        learned = [
            self._tuning.learn(number, text_positions(sequences.positions(), items, of.history))
            for number, sequences in spans.items()
        ]
        weights = self._tuning.tuned()
        compared = sampled(text_positions(held_out, items, of.history), _COMPARED, self.settings.seed)
        before = after = moved = float("nan")
        if len(compared):
            old, new = (self._vectors(which, compared) for which in (present, weights))
            before, after = (loss_over_all(compared, vectors, of.temperature) for vectors in (old, new))
            moved = _moved(old, new)
        positions = sum(span.positions for span in learned)
        return Tuned(self._tuning.state(), weights, positions, learned[-1].loss, before, after, moved)

    def _vectors(self, weights: TunedWeights | None, positions: TextPositions) -> np.ndarray:
        """float32 [texts, width], zeros of texts that do not occur."""
        codes = np.unique(np.concatenate([positions.target, positions.history.ravel()]))
        codes = codes[codes != NONE]
        vectors = np.zeros([len(positions.texts), self._encoder.width], np.float32)
        self._encoder.become(weights)
        vectors[codes] = self._encoder.encode([positions.texts[code] for code in codes], _BATCH)
        return vectors


def _moved(old: np.ndarray, new: np.ndarray) -> float:
    there = old.any(axis=1)
    old, new = (vectors[there] / np.linalg.norm(vectors[there], axis=1, keepdims=True) for vectors in (old, new))
    return float(1 - np.mean(np.sum(old * new, axis=1)))
