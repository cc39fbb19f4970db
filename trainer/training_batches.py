"""What a span's sequences are to a model: single positions, or windows with a loss at every step."""

from __future__ import annotations

import dataclasses

import numpy as np

from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.models.base import SAMPLING_RATE, Recommender
from trainer.models.sampled_softmax import sampling_rate
from trainer.sequence_windows import Windows


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """Training batches in the form that the model asks for.

    Attributes:
      data: an epoch of batches.
      examples: positions in an epoch that a loss is taken at.
      steps: batches in an epoch.
    """

    data: tf.data.Dataset
    examples: int
    steps: int


def make_training_batches(
    model: Recommender, sequences: Sequences, batch_size: int, history_length: int, seed: int
) -> TrainingBatches:
    """Shuffled batches of about `batch_size` positions, with the `sampling_rate` of what they are made of."""
    if model.form == "sequences":
        windows = Windows.of(sequences, history_length)
        examples = windows.positions
        steps = windows.batches(batch_size)
        data = windows.dataset(batch_size, shuffle_seed=seed)
        items, owner, owners = *windows.events(), len(windows)
    else:
        positions = sequences.positions()
        examples = len(positions)
        steps = -(-examples // batch_size)
        data = positions.dataset(batch_size, history_length, shuffle_seed=seed)
        items, owner, owners = positions.target, np.arange(examples), examples
    rate = tf.constant(sampling_rate(items, owner, owners, model.sizes.items, model.sizes.first_row))
    return TrainingBatches(data.map(lambda batch: {**batch, SAMPLING_RATE: rate}), examples, steps)
