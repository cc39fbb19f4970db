"""TFRS's Retrieval task in a graph that AutoGraph does not read."""

from __future__ import annotations

import tensorflow_recommenders as tfrs

from trainer.keras2 import tf


class RetrievalTask(tfrs.tasks.Retrieval):
    """`tfrs.tasks.Retrieval` without its metrics. Its `call` asks a tensor for its `len`: it alone AutoGraph reads."""

    def call(
        self,
        query_embeddings: tf.Tensor,
        candidate_embeddings: tf.Tensor,
        sample_weight: tf.Tensor,
        candidate_sampling_probability: tf.Tensor,
        candidate_ids: tf.Tensor,
    ) -> tf.Tensor:
        """The sum of the losses, a float32 scalar; see `tfrs.tasks.Retrieval`."""
        return tf.autograph.to_graph(tfrs.tasks.Retrieval.call)(
            self,
            query_embeddings,
            candidate_embeddings,
            sample_weight,
            candidate_sampling_probability,
            candidate_ids,
            compute_metrics=False,
            compute_batch_metrics=False,
        )
