"""One loaded version of a model: a SavedModel in a session of its own, as TensorFlow Serving's runtime holds it.

The graph is run through its signatures' tensor names and no Python object of the model is rebuilt. Compared with
`tf.saved_model.load` a request costs an eighth (40 against 320 microseconds), inputs are checked by the graph alone, so
that an error is the one TF Serving gives, and closing the session gives the memory back at once.

A graph without loops is run by the thread that asks: handing its operations to TensorFlow's own threads and back takes
as long as scoring 10,000 items. TensorFlow can't stop what runs in that thread, so that its time is looked at when it
is done; only what may go on for ever needs to be stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serving.bundle.example_features import Example
from serving.errors import ServingError, code_name, invalid

DEFAULT_SIGNATURE = "serving_default"
WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
# As many as TF Serving replays.
MAX_WARMUP_RECORDS = 1000
_LOOPS = {"While", "StatelessWhile", "For", "NextIteration", "RefNextIteration"}
_THREAD_THAT_ASKS = -1


@dataclass(frozen=True)
class Signature:
    """Input and output names with TensorFlow's names of their types (`float`, `int64`, `string`, ...)."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...] | None]
    output_shapes: Mapping[str, tuple[int, ...] | None]

    @property
    def batches(self) -> bool:
        """Whether the first dimension of all inputs and outputs is left open, so that it can be that of a batch."""
        shapes = [*self.shapes.values(), *self.output_shapes.values()]
        return all(shape is None or (shape and shape[0] == -1) for shape in shapes)


class SavedModel:
    """A loaded version. `run` may be called from many threads at once."""

    def __init__(self, name: str, version: int, path: str | Path, timeout_ms: int = 30_000) -> None:
        """Loads the SavedModel in the folder `path`.

        A request may take `timeout_ms` in the graph, at 0 as long as it likes.

        Raises:
          ServingError: the folder does not hold a SavedModel for serving.
        """
        # Whoever imports Keras later in this process must get Keras 2, whatever was imported first.
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
        import tensorflow as tf
        from tensorflow.python.saved_model.loader_impl import SavedModelLoader

        self.name = name
        self.version = version
        self.path = Path(path)
        self._tf = tf
        self._timeout_ms = timeout_ms
        self._users = 0
        self._retired: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        try:
            meta_graph = SavedModelLoader(str(path)).load(self._session, ["serve"])
            self._definitions = meta_graph.signature_def
            self._loops = _has_loops(meta_graph.graph_def)
            self.signatures = {key: _signature(definition) for key, definition in self._definitions.items()}
            callable_keys = [key for key, signature in self.signatures.items() if signature.inputs]
            self._runners = {key: self._runner(key) for key in callable_keys}
            # The signatures whose requests may share a batch, as far as their shapes tell.
            self.batchable = {key for key in callable_keys if self.signatures[key].batches}
        except Exception as error:
            self._session.close()
            if isinstance(error, tf.errors.OpError):
                raise ServingError(code_name(error.error_code), error.message) from error
            # The loader raises whatever the parser of a broken file raises; a broken version must never end the server.
            raise ServingError("INVALID_ARGUMENT", f"Cannot load {path}: {error}") from error

    def run(self, signature_name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature on tensors by input name; returns tensors by output name.

        Raises:
          ServingError: the signature is unknown, inputs are missing, or the graph refuses them.
        """
        signature = self.signature(signature_name)
        if inputs.keys() != signature.inputs.keys():
            sent, wanted = sorted(inputs), sorted(signature.inputs)
            raise invalid(
                f"input size does not match signature: {len(sent)}!={len(wanted)} len({{{','.join(sent)}}}) != "
                f"len({{{','.join(wanted)}}}). Sent extra: {{{','.join(sorted(set(sent) - set(wanted)))}}}. "
                f"Missing but required: {{{','.join(sorted(set(wanted) - set(sent)))}}}."
            )
        began = time.monotonic()
        try:
            outputs = self._runners[signature_name or DEFAULT_SIGNATURE](*(inputs[name] for name in signature.inputs))
        except self._tf.errors.OpError as error:
            raise ServingError(code_name(error.error_code), error.message) from error
        except UnicodeDecodeError as error:
            # The graph's error quotes bytes of the request that are no text; its code is lost on the way to Python.
            raise invalid(error.object.decode("utf-8", "replace")) from error
        if 0 < self._timeout_ms < (time.monotonic() - began) * 1000:
            raise ServingError("DEADLINE_EXCEEDED", "Timed out waiting for notification")
        # A fetched scalar comes as a bare NumPy number or bytes.
        return {
            name: value if isinstance(value, np.ndarray) else np.array(value, object if kind == "string" else None)
            for (name, kind), value in zip(signature.outputs.items(), outputs, strict=True)
        }

    def signature(self, name: str) -> Signature:
        """The signature `name`, or the default one for "".

        Raises:
          ServingError: there is none of that name, or it has no inputs.
        """
        signature = self.signatures.get(name or DEFAULT_SIGNATURE)
        if signature is None:
            raise invalid(f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in signature def')
        if not signature.inputs:
            raise invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
        return signature

    def serialize(self, examples: list[Example]) -> np.ndarray:
        """tf.Example bytes [batch] of parsed examples."""
        train = self._tf.train
        lists = {
            "bytes": lambda values: train.Feature(bytes_list=train.BytesList(value=values)),
            "float": lambda values: train.Feature(float_list=train.FloatList(value=values)),
            "int64": lambda values: train.Feature(int64_list=train.Int64List(value=values)),
            "": lambda values: train.Feature(),
        }
        serialized = np.empty(len(examples), object)
        for row, example in enumerate(examples):
            features = {name: lists[kind](values) for name, (kind, values) in example.items()}
            serialized[row] = train.Example(features=train.Features(feature=features)).SerializeToString()
        return serialized

    def metadata(self) -> str:
        """The body of the metadata answer, in proto3 JSON with every field printed."""
        signatures = {
            key: {
                "inputs": {name: _describe(info) for name, info in definition.inputs.items()},
                "outputs": {name: _describe(info) for name, info in definition.outputs.items()},
                "method_name": definition.method_name,
                "defaults": {},
            }
            for key, definition in self._definitions.items()
        }
        document = {
            "model_spec": {"name": self.name, "signature_name": "", "version": str(self.version)},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }
        return json.dumps(document, indent=1) + "\n"

    def warm_up(self) -> int:
        """Runs the recorded warm-up requests, else one small request on each signature. Returns how many it ran.

        Raises:
          ServingError: a recorded request can't be read, or the model refuses it.
        """
        recorded = self.path / WARMUP_FILE
        if recorded.exists():
            try:
                return sum(bool(self.run(name, inputs)) for name, inputs in self._recorded_requests(recorded))
            except (self._tf.errors.OpError, ValueError, TypeError) as error:
                raise ServingError("INVALID_ARGUMENT", f"Cannot read {recorded}: {error}") from error
        ran = 0
        for name, inputs in self._small_requests():
            # An empty string or a zero may be nothing the model takes; it was worth trying.
            with contextlib.suppress(ServingError):
                self.run(name, inputs)
                ran += 1
        return ran

    def acquire(self) -> bool:
        """Counts one more user of the session; False when the version is on its way out."""
        with self._lock:
            if self._retired is not None:
                return False
            self._users += 1
            return True

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0 and self._retired is not None
        if last:
            self._close()

    def retire(self, when_closed: Callable[[], None]) -> None:
        """Takes no more users, and closes the session when the last one has left; then calls `when_closed`."""
        with self._lock:
            if self._retired is not None:
                return
            self._retired = when_closed
            idle = self._users == 0
        if idle:
            self._close()

    def _close(self) -> None:
        # The runners hold handles into the session: they have to go first.
        self._runners.clear()
        self._session.close()
        assert self._retired is not None
        self._retired()

    def _runner(self, key: str) -> Callable[..., list[Any]]:
        from tensorflow.core.protobuf import config_pb2

        definition, signature = self._definitions[key], self.signatures[key]
        options = config_pb2.CallableOptions()
        options.feed.extend(definition.inputs[name].name for name in signature.inputs)
        options.fetch.extend(definition.outputs[name].name for name in signature.outputs)
        options.run_options.timeout_in_ms = self._timeout_ms
        if not self._loops:
            options.run_options.inter_op_thread_pool = _THREAD_THAT_ASKS
        # Keras 2's own backend stands on this method, which spares a request the checks and the dictionary of `run`.
        return self._session._make_callable_from_options(options)

    def _small_requests(self) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        for key, signature in self.signatures.items():
            tensors = {name: self._small_tensor(signature, name) for name in signature.inputs}
            if tensors:
                yield key, {name: tensor for name, tensor in tensors.items() if tensor is not None}

    def _small_tensor(self, signature: Signature, name: str) -> np.ndarray | None:
        """One element a dimension of unknown size; None for a type that no request can carry."""
        kind, shape = signature.inputs[name], [abs(size) for size in signature.shapes[name] or ()]
        if kind in ("resource", "variant"):
            return None
        if kind == "string":
            return np.full(shape, b"", object)
        return np.zeros(shape, self._tf.as_dtype(kind).as_numpy_dtype)

    def _recorded_requests(self, path: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        from tensorflow_serving.apis import prediction_log_pb2

        records = self._tf.data.TFRecordDataset(str(path)).take(MAX_WARMUP_RECORDS)
        for record in records.as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if log.WhichOneof("log_type") == "predict_log":
                request = log.predict_log.request
                inputs = {name: self._tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
                yield request.model_spec.signature_name, inputs


def _has_loops(graph: Any) -> bool:
    parts = [graph.node, *(function.node_def for function in graph.library.function)]
    return any(node.op in _LOOPS for nodes in parts for node in nodes)


def _signature(definition: Any) -> Signature:
    return Signature(
        inputs={name: _kind(info) for name, info in sorted(definition.inputs.items())},
        outputs={name: _kind(info) for name, info in sorted(definition.outputs.items())},
        shapes=_shapes(definition.inputs),
        output_shapes=_shapes(definition.outputs),
    )


def _shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...] | None]:
    return {
        name: None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
        for name, info in tensors.items()
    }


def _kind(info: Any) -> str:
    return _type_name(info).removeprefix("DT_").lower()


def _type_name(info: Any) -> str:
    from tensorflow.core.framework import types_pb2

    return types_pb2.DataType.Name(info.dtype)


def _describe(info: Any) -> dict[str, Any]:
    return {
        "dtype": _type_name(info),
        "tensor_shape": {
            "dim": [{"size": str(dim.size), "name": dim.name} for dim in info.tensor_shape.dim],
            "unknown_rank": info.tensor_shape.unknown_rank,
        },
        "name": info.name,
    }
