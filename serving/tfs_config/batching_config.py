"""How requests are batched: TensorFlow Serving's batching parameters file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.tfs_config.text_format import ServerConfigError, read_text


@dataclass(frozen=True)
class BatchingConfig:
    """TensorFlow Serving's batching parameters, with its defaults.

    Attributes:
      max_batch_size: rows in a batch, at most; a request with more of them is refused.
      batch_timeout_micros: how long a batch that is not full waits for more requests once a thread is free.
      max_enqueued_batches: full batches whose rows may wait, for each signature of each version; beyond that a request
        gets 503.
      num_batch_threads: batches that compute at once.
      thread_pool_name: the label of the batching metrics.
      allowed_batch_sizes: a batch is filled up to the next of these sizes with copies of its first row; () for any.
      pad_variable_length_inputs: whether inputs of different inner sizes are filled up with zeros or "" and go
        together. Otherwise only requests of one shape meet in a batch.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("max_batch_size", 1),
            ("batch_timeout_micros", 0),
            ("max_enqueued_batches", 1),
            ("num_batch_threads", 1),
        ):
            if (value := getattr(self, name)) < least:
                raise ServerConfigError(f"`{name}` must be at least {least}. Received: {value}.")
        sizes = self.allowed_batch_sizes
        if sizes and (sizes[0] < 1 or list(sizes) != sorted(set(sizes))):
            raise ServerConfigError(f"`allowed_batch_sizes` must be positive and rise. Received: {list(sizes)}.")
        if sizes and sizes[-1] != self.max_batch_size:
            raise ServerConfigError(
                f"The last of `allowed_batch_sizes` must be `max_batch_size`, {self.max_batch_size}. Received: "
                f"{list(sizes)}."
            )

    def rounded(self, rows: int) -> int:
        """The size that a batch of `rows` rows is filled up to."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def read_batching_parameters(path: str | Path) -> BatchingConfig:
    """Reads the file of `--batching_parameters_file`, a BatchingParameters message in text form.

    Raises:
      ServerConfigError: the file is missing, is not such a message, or has a value that can't be used.
    """
    message = read_text(path, "BatchingParameters")
    given: dict[str, Any] = {
        field.name: getattr(message, field.name).value
        for field, _ in message.ListFields()
        if field.message_type is not None
    }
    given["allowed_batch_sizes"] = tuple(message.allowed_batch_sizes)
    given["pad_variable_length_inputs"] = message.pad_variable_length_inputs
    try:
        return BatchingConfig(**given)
    except ServerConfigError as error:
        raise ServerConfigError(f"{path}: {error}") from None
