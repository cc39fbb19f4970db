"""Requests that a server replays before a version takes traffic, so that no user waits for a graph's first run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

WARM_UP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"  # where TF Serving looks for it


def write_warm_up(folder: Path, requests: Iterable[tuple[str, Mapping[str, np.ndarray]]]) -> None:
    """Writes (signature name, tensors by input name) as TF Serving's PredictionLog records into a SavedModel."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path = folder / WARM_UP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.signature_name = signature
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            writer.write(log.SerializeToString())


def read_warm_up(folder: Path) -> list[tuple[str, dict[str, np.ndarray]]]:
    """What `write_warm_up` has written; nothing where there is no such file."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path = folder / WARM_UP_FILE
    if not path.exists():
        return []
    requests = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        requests.append((request.model_spec.signature_name, inputs))
    return requests
