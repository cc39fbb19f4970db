"""Distillation: the model that learns is held to the answers of the one before it."""

from __future__ import annotations

import math

from trainer.compiled_step import uniform
from trainer.keras2 import tf
from trainer.metrics import weighted_mean
from trainer.models.base import Recommender, TableSizes
from trainer.replicas import everyones
from trainer.settings import DistilledBatches
from trainer.stability.base import NEW, REPLAYED, Batches, LossTerm

_WEIGHT = "distillation"


class Distillation(LossTerm):
    """weight * temperature^2 * mean over positions of KL(teacher || student), both over the same old items.

    The teacher is the model that the update started from, as it was. On new data this is "learning without
    forgetting" (Li and Hoiem, ECCV 2016, eq. 2), on replayed data ADER (Mi, Lin and Faltings, "ADER: adaptively
    distilled exemplar replay towards continual learning for session-based recommendation", RecSys 2020, eq. 2), both
    with the softened answers of Hinton, Vinyals and Dean ("Distilling the knowledge in a neural network", 2015,
    eq. 1); temperature^2 keeps the gradients as long at every temperature.

    Items that the teacher does not have are no answers, and stand for an unknown item in the histories that it sees.
    Where it has more than `candidates` items, the answers are so many drawn for each step and those that the batch is
    to predict, so that a step's cost follows the batch.

    Args:
      teacher: the model before; is not trained.
      batches: whether the teacher answers to replayed batches, to new ones or to both.
      weight: see above; `adaptive_weight` gives ADER's.
      temperature: above 0.
      candidates: most items that are compared, but for those of the batch.
      weighted: whether the mean is by the events' weights (see `Recommender.weight_role`).
    """

    def __init__(
        self,
        teacher: Recommender,
        batches: DistilledBatches,
        weight: float,
        temperature: float,
        candidates: int,
        weighted: bool = False,
    ) -> None:
        self._teacher = lambda: teacher
        self._on = (NEW, REPLAYED) if batches == "both" else (NEW if batches == "new" else REPLAYED,)
        self._weight, self._temperature, self._candidates = weight, temperature, candidates
        self._weighted = weighted

    def mix(self, data: tf.data.Dataset) -> tf.data.Dataset:
        weight = tf.constant(self._weight)  # adapted to each span, so that it can't be a part of the graph
        return data.map(lambda batches: {**batches, _WEIGHT: {_WEIGHT: weight}})

    def loss(self, model: Recommender, batches: Batches) -> tf.Tensor:
        each = [self._divergence(model, batches[name]) for name in self._on if name in batches]
        if not each:
            return tf.constant(0.0)
        return batches[_WEIGHT][_WEIGHT] * tf.add_n(each)

    def _divergence(self, model: Recommender, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        teacher = self._teacher()
        known = {
            **batch,
            "key": teacher.known(batch["key"], teacher.sizes.keys),
            "history": teacher.known(batch["history"], teacher.sizes.items),
            "item": teacher.known(batch["item"], teacher.sizes.items),
        }
        candidates = self._shared(batch["item"], teacher.sizes)
        of_teacher, of_student = teacher.score_batch(known, candidates), model.score_batch(batch, candidates)
        each = divergence(of_teacher, of_student, self._temperature)
        events = tf.boolean_mask(batch["weight"], batch["item"] > 0) if self._weighted else tf.ones_like(each)
        return weighted_mean(each, events)

    def _shared(self, item: tf.Tensor, old: TableSizes) -> tf.Tensor:
        """int64 [c] old item rows, each once."""
        if old.items - old.first_row <= self._candidates:
            return tf.range(old.first_row, old.items, dtype=tf.int64)
        drawn = uniform([self._candidates], old.first_row, old.items, tf.int64)
        item = everyones(tf.reshape(item, [-1]))
        item = tf.boolean_mask(item, (item >= old.first_row) & (item < old.items))
        return tf.unique(tf.concat([item, drawn], axis=0))[0]


def divergence(of_teacher: tf.Tensor, of_student: tf.Tensor, temperature: float) -> tf.Tensor:
    """temperature^2 * KL(teacher || student) at each position, float32 [p], by both's scores [p, c].

    Of no candidate there is none.
    """
    teacher_log_probs = tf.stop_gradient(tf.nn.log_softmax(of_teacher / temperature))
    student_log_probs = tf.nn.log_softmax(of_student / temperature)
    each = tf.reduce_sum(tf.exp(teacher_log_probs) * (teacher_log_probs - student_log_probs), axis=1)
    return temperature**2 * each


def adaptive_weight(base: float, old_items: int, items: int, exemplars: int, new: int) -> float:
    """ADER's weight, eq. 3: base * sqrt(old_items / items * exemplars / new).

    The more of the items are old, and the more is remembered for what is new, the more the old answers count.

    Args:
      old_items, items: of the previous model and of this one.
      exemplars, new: positions of the memory and of the span.
    """
    return base * math.sqrt((old_items / max(items, 1)) * (exemplars / max(new, 1)))
