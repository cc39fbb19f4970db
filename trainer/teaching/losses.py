"""How a student is held to what its teacher says: by its distribution over the items, or by the list of its best."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from trainer.compiled_step import uniform
from trainer.keras2 import tf
from trainer.metrics import UNAVAILABLE, weighted_mean
from trainer.models.base import Recommender
from trainer.replicas import everyones
from trainer.settings import TeacherSettings
from trainer.stability.base import NEW, Batches, LossTerm
from trainer.stability.distillation import divergence

if TYPE_CHECKING:
    from trainer.teaching.teacher import Teacher

# Tang and Wang (2018) choose both by the data; these make a list's tenth place count a third of its first, and hold a
# student that ranks an item ten places too low to it with three quarters of the force.
_SHARPNESS_OF_PLACES = 10.0
_SHARPNESS_OF_DISCREPANCY = 0.1


class Teaching(LossTerm):
    """weight * mean over the new positions of what separates the student from its teacher, over items that both have.

    Where they share more than `candidates` items those are compared that the batch holds, as histories or as what is to
    be predicted, and so many drawn evenly: a step's cost follows the batch, not the catalogue.

    Args:
      teacher: is asked, and not trained.
      settings: of the teaching.
      weighted: whether the mean is by the events' weights (see `Recommender.weight_role`).
    """

    def __init__(self, teacher: Teacher, settings: TeacherSettings, weighted: bool) -> None:
        self._teacher, self._settings, self._weighted = teacher, settings, weighted

    def loss(self, model: Recommender, batches: Batches) -> tf.Tensor:
        batch = batches[NEW]
        item = tf.boolean_mask(batch["item"], batch["item"] > 0)
        candidates = self._candidates(batch)
        of_teacher = tf.stop_gradient(self._teacher.score_batch(batch, model.form, candidates))
        each = self.separation(of_teacher, model.score_batch(batch, candidates), candidates, item)
        events = tf.boolean_mask(batch["weight"], batch["item"] > 0) if self._weighted else tf.ones_like(each)
        return self._settings.weight * weighted_mean(each, events)

    @abc.abstractmethod
    def separation(
        self, of_teacher: tf.Tensor, of_student: tf.Tensor, candidates: tf.Tensor, item: tf.Tensor
    ) -> tf.Tensor:
        """What separates both at each position, float32 [p].

        Args:
          of_teacher, of_student: float32 [p, c], the scores of both.
          candidates: int64 [c], the rows that were scored.
          item: int64 [p], the row that came.
        """

    def _candidates(self, batch: dict[str, tf.Tensor]) -> tf.Tensor:
        """int64 [c] rows that both have, each once."""
        shared = self._teacher.shared
        if shared.shape[0] <= self._settings.candidates:
            return shared
        rows = everyones(tf.concat([tf.reshape(batch["item"], [-1]), tf.reshape(batch["history"], [-1])], axis=0))
        rows = tf.boolean_mask(rows, self._teacher.knows(rows))
        drawn = uniform([self._settings.candidates], 0, shared.shape[0], tf.int64)
        return tf.unique(tf.concat([rows, tf.gather(shared, drawn)], axis=0))[0]


class SoftTargets(Teaching):
    """temperature^2 * KL(teacher || student) of both softmaxes at that temperature.

    (Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015, eq. 1 and section 2; temperature^2
    keeps the gradients as long at every temperature.)
    """

    def separation(
        self, of_teacher: tf.Tensor, of_student: tf.Tensor, candidates: tf.Tensor, item: tf.Tensor
    ) -> tf.Tensor:
        return divergence(of_teacher, of_student, self._settings.temperature)


class RankedList(Teaching):
    """The teacher's `top_k` best items are further answers, each with a weight of its place.

    (Tang and Wang, "Ranking distillation: learning compact ranking models with high performance for recommender
    system", KDD 2018, eq. 7 to 9: exp(-place / 10), normalised, times tanh(0.1 * (the student's place - place)), 0
    where the student has it high enough already.) The item that came is none of them, as there. Otherwise than there,
    where models learn pairs by a sigmoid, an answer's loss is its softmax over the candidates: that is what the
    models here learn, and their scores have no zero. The student's place among all items is estimated by that among
    the candidates.
    """

    def separation(
        self, of_teacher: tf.Tensor, of_student: tf.Tensor, candidates: tf.Tensor, item: tf.Tensor
    ) -> tf.Tensor:
        count = tf.shape(candidates)[0]
        others = tf.where(candidates[None, :] == item[:, None], UNAVAILABLE, of_teacher)
        listed = tf.math.top_k(others, tf.minimum(self._settings.top_k, count)).indices
        log_probs = tf.gather(tf.nn.log_softmax(of_student), listed, batch_dims=1)
        place = tf.range(1.0, tf.cast(tf.shape(listed)[1], tf.float32) + 1.0)
        of_place = tf.nn.softmax(-place / _SHARPNESS_OF_PLACES)
        scores = tf.stop_gradient(tf.gather(of_student, listed, batch_dims=1))
        above = tf.math.count_nonzero(of_student[:, None, :] > scores[:, :, None], axis=2, dtype=tf.float32)
        share = tf.cast(tf.size(self._teacher.shared), tf.float32) / tf.cast(count, tf.float32)
        of_discrepancy = tf.tanh(tf.nn.relu(_SHARPNESS_OF_DISCREPANCY * (1.0 + share * above - place)))
        return -tf.reduce_sum(of_place * of_discrepancy * log_probs, axis=1)


_LOSSES: dict[str, type[Teaching]] = {"softmax": SoftTargets, "ranking": RankedList}


def make_teaching(teacher: Teacher, settings: TeacherSettings, weighted: bool) -> Teaching:
    """The loss term that `settings` name."""
    return _LOSSES[settings.loss](teacher, settings, weighted)
