"""What a span's sequences are to a model: single positions, or windows with a loss at every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from trainer.input_pipeline import Sequences
from trainer.keras2 import tf
from trainer.models.base import SAMPLING_RATE, Recommender
from trainer.models.sampled_softmax import sampling_rate
from trainer.sequence_augmentation import SequenceAugmentation
from trainer.sequence_windows import Windows
from trainer.settings import Augmentation
from trainer.stability.base import NEW, LossTerm, PolicyError

OF_FULL_SIZE = "of_full_size"  # of a batch of positions: whether it holds as many as an epoch's others


@dataclasses.dataclass(frozen=True)
class TrainingBatches:
    """Training batches in the form that the model asks for.

    Attributes:
      data: an epoch of batches.
      examples: positions in an epoch that a loss is taken at; with augmentation at most.
      steps: batches in an epoch.
    """

    data: tf.data.Dataset
    examples: int
    steps: int


def make_training_batches(
    model: Recommender,
    sequences: Sequences,
    batch_size: int,
    history_length: int,
    seed: int,
    augmentation: Augmentation | None = None,
    fixed_shapes: bool = False,
) -> TrainingBatches:
    """Shuffled batches of about `batch_size` positions, with the `sampling_rate` of what they are made of.

    With `fixed_shapes` batches have few shapes, for a step that is compiled for each of them: windows are padded, and a
    batch of positions says with `OF_FULL_SIZE` whether it is of the one size that all but an epoch's last have.

    Raises:
      PolicyError: augmentation for a model that learns positions.
    """
    if augmentation is not None and model.form != "sequences":
        raise PolicyError(
            "`update.augmentation` has an effect with models over sequences only. Received: "
            f"{augmentation} for {type(model).__name__}, which learns single positions. Take it out."
        )
    if model.form == "sequences":
        windows = Windows.of(sequences, history_length)
        examples = windows.positions
        steps = windows.batches(batch_size)
        sizes, change = model.sizes, None
        if augmentation is not None:
            change = SequenceAugmentation(augmentation, sequences, sizes.items, sizes.first_row)
        longest = history_length if fixed_shapes else None
        data = windows.dataset(batch_size, shuffle_seed=seed, augmentation=change, longest=longest)
        items, owner, owners = *windows.events(), len(windows)
    else:
        positions = sequences.positions()
        examples = len(positions)
        steps = -(-examples // batch_size)
        data = positions.dataset(batch_size, history_length, shuffle_seed=seed)
        if fixed_shapes:
            data = data.map(lambda batch: {**batch, OF_FULL_SIZE: tf.equal(tf.shape(batch["item"])[0], batch_size)})
        items, owner, owners = positions.target, np.arange(examples), examples
    rate = tf.constant(sampling_rate(items, owner, owners, model.sizes.items, model.sizes.first_row))
    return TrainingBatches(data.map(lambda batch: {**batch, SAMPLING_RATE: rate}), examples, steps)


def mixed(batches: TrainingBatches, loss_terms: Sequence[LossTerm]) -> tf.data.Dataset:
    """What a training step gets: `batches`, and what each of the parts has mixed in; made while a step is computed."""
    data = batches.data.map(lambda batch: {NEW: batch})
    for loss_term in loss_terms:
        data = loss_term.mix(data)
    return data.prefetch(2)
