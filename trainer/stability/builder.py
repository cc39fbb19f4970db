"""Puts together the parts that an update's policy names, for each of its spans."""

from __future__ import annotations

import numpy as np

from trainer.input_pipeline import Sequences
from trainer.models.base import Recommender
from trainer.settings import Stability
from trainer.stability.base import LossTerm
from trainer.stability.distillation import Distillation, adaptive_weight
from trainer.stability.ewc import FISHER_BATCH, Ewc, averaged, fisher_diagonal
from trainer.stability.herding import herding, representations
from trainer.stability.proximal import Proximal
from trainer.stability.replay import Replay
from trainer.stability.selection import Selection, find_selection
from trainer.train_state import Arrays, ModelState, Trainable
from trainer.training_batches import TrainingBatches, make_training_batches


class StabilityBuilder:
    """The parts of one update that have something to hold on to: there may be no past yet.

    Args:
      stability: which parts.
      trainable: the model that learns, still as it was in `base`.
      base: the state that the update starts from, if any.
      teacher: the model of that state, where distillation needs one.
      batch_size: positions in a new batch.
      history_length: most items that the model sees.
      weighted: whether events count by their weights (see `Recommender.weight_role`).
      fixed_shapes: of what is replayed, see `make_training_batches`.

    Attributes:
      selection: of the replay memory's sequences.
      fisher: see `ModelState`.

    Raises:
      PolicyError: the memory's selection needs what the model does not have.
    """

    def __init__(
        self,
        stability: Stability,
        trainable: Trainable,
        base: ModelState | None,
        teacher: Recommender | None,
        batch_size: int,
        history_length: int,
        weighted: bool,
        fixed_shapes: bool,
    ) -> None:
        self._stability, self._trainable, self._base, self._teacher = stability, trainable, base, teacher
        self._batch_size, self._history_length, self._weighted = batch_size, history_length, weighted
        self._fixed_shapes = fixed_shapes
        self.fisher: Arrays = {} if base is None else base.fisher
        replay = stability.replay
        self.selection: Selection = find_selection(replay.selection, replay.half_life)
        if replay.budget and replay.selection == "herding":
            self.selection = herding(representations(trainable.model, history_length))

    def loss_terms(self, new: Sequences, batches: TrainingBatches, remembered: Sequences, seed: int) -> list[LossTerm]:
        """Those for a span of `new` sequences, which come in `batches`, with `remembered` ones from before it."""
        model, base, stability = self._trainable.model, self._base, self._stability
        replay, distil = stability.replay, stability.distillation
        loss_terms: list[LossTerm] = []
        exemplars = 0
        if replay.budget and remembered.new_events:
            count = len(remembered.positions())
            size = max(1, min(count, round(replay.fraction * self._batch_size)))
            fixed = self._fixed_shapes
            old = make_training_batches(model, remembered, size, self._history_length, seed, fixed_shapes=fixed)
            exemplars = old.examples
            if exemplars:
                loss_terms.append(Replay(old.data, size, replay.weight))
        if base is None:
            return loss_terms
        if self._teacher is not None and (distil.batches != "replayed" or exemplars):
            weight, first = distil.weight, base.sizes.first_row
            if distil.adaptive:
                items = base.sizes.items - first, model.sizes.items - first
                weight = adaptive_weight(weight, *items, exemplars, batches.examples)
            loss_terms.append(
                Distillation(
                    self._teacher, distil.batches, weight, distil.temperature, distil.candidates, self._weighted
                )
            )
        if stability.proximal.strength:
            loss_terms.append(Proximal(model, self._trainable.variables, base.weights, stability.proximal.strength))
        if stability.ewc.strength:
            fisher = {
                path: of for path, of in base.fisher.items()
                if path in base.weights and of.shape == base.weights[path].shape
            }  # fmt: skip
            # A state of before the strength was set: estimated before anything is learned, under its weights.
            fisher = fisher or self._estimate(remembered if exemplars else new, base.weights, seed)
            loss_terms.append(Ewc(model, self._trainable.variables, base.weights, fisher, stability.ewc.strength))
        return loss_terms

    def learned(self, span: Sequences, seed: int) -> None:
        """To be told of each span when it has been learned, so that the next update holds what it depends on."""
        ewc = self._stability.ewc
        if not ewc.strength:
            return
        weights = self._trainable.read()[0]
        if self.fisher and ewc.decay == 1:  # the span counts nothing; its new rows do not depend on anything yet
            of_span = {path: np.zeros_like(weights[path]) for path in self.fisher if path in weights}
        else:
            of_span = self._estimate(span, weights, seed)
        self.fisher = averaged(self.fisher, of_span, ewc.decay)

    def _estimate(self, sample: Sequences, weights: Arrays, seed: int) -> Arrays:
        training_batches = make_training_batches(
            self._trainable.model, sample, FISHER_BATCH, self._history_length, seed
        )
        batches = training_batches.data.take(-(-self._stability.ewc.sample // FISHER_BATCH))
        return fisher_diagonal(self._trainable.model, self._trainable.variables, weights, batches)
