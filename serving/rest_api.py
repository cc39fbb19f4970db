"""TensorFlow Serving's REST contract as a function from a request to an answer, without a network.

Every wrong path or method under `/v1/` is a malformed request (400); there is no list of models and no health route.
"""

from __future__ import annotations

import json
import logging
import re
import time
import urllib.parse
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving import json_request, json_response
from serving.json_reader import read_json
from serving.metrics import Metrics
from serving.model_manager import ModelManager, VersionStatus
from serving.saved_model import DEFAULT_SIGNATURE, SavedModel
from serving.status import ServingError, invalid

_VERSION = r"(?:(?:/versions/(?P<version>\d+))|(?:/labels/(?P<label>[^/:]+)))?"
_PREDICTION = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE | re.ASCII
)
_STATUS = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<resource>metadata))?", re.IGNORECASE | re.ASCII
)
_MAX_VERSION = 2**63 - 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True)
class _Target:
    name: str
    version: int | None
    label: str | None
    method: str


class RestApi:
    """Answers requests from the models of a manager. Thread safe; a POST blocks for as long as the model computes."""

    def __init__(self, manager: ModelManager, metrics: Metrics) -> None:
        self._manager = manager
        self._metrics = metrics

    def answer(self, http_method: str, path: str, body: bytes = b"") -> Answer:
        """The answer to a request for a path under `/v1/`, percent signs still in it, without its query."""
        began = time.perf_counter()
        target = None
        try:
            target = _parse(http_method, path)
            answer = Answer(200, self._dispatch(target, body))
            code = "OK"
        except ServingError as error:
            answer, code = Answer(error.http_status, json_response.error_body(error.message)), error.code
        except Exception:
            _log.exception("Could not answer %s %s", http_method, path)
            message = "The server failed at this request. Its log tells where; please report it."
            answer, code = Answer(500, json_response.error_body(message)), "INTERNAL"
        # A name nobody configured is not counted under itself: names come from outside and would fill the memory.
        name = target.name if target is not None and self._manager.serves(target.name) else ""
        self._metrics.request_count.add(name, code)
        if code == "OK" and target is not None and http_method == "POST":
            self._metrics.request_latency.observe((time.perf_counter() - began) * 1e6, name, target.method, "REST")
        return answer

    def _dispatch(self, target: _Target, body: bytes) -> bytes:
        if target.method == "status":
            # Labels are not looked at here, in TF Serving neither.
            return _status_body(self._manager.status(target.name, target.version))
        if target.method == "metadata":
            with self._manager.use(target.name, target.version, target.label) as model:
                return model.metadata().encode()
        document = read_json(body)
        signature = json_request.signature_name(document)
        if target.method == "predict":
            return self._predict(target, document, signature)
        examples = json_request.examples(document)
        with self._manager.use(target.name, target.version, target.label) as model:
            outputs = self._run_examples(model, target.method, signature, examples)
        return _classify(outputs, len(examples)) if target.method == "classify" else _regress(outputs, len(examples))

    def _predict(self, target: _Target, document: dict[str, Any], signature: str) -> bytes:
        with self._manager.use(target.name, target.version, target.label) as model:
            inputs, rows = json_request.predict_inputs(document, model.signature(signature).inputs)
            outputs = self._run(model, "Predict", signature, inputs)
        return json_response.predictions(outputs, rows)

    def _run_examples(
        self, model: SavedModel, method: str, name: str, examples: list[json_request.Example]
    ) -> dict[str, np.ndarray]:
        if (signature := model.signatures.get(name or DEFAULT_SIGNATURE)) is None:
            raise invalid(f"No signature was found with the name: {name or DEFAULT_SIGNATURE}")
        if len(signature.inputs) != 1:
            raise invalid("Expected one input Tensor.")
        if method == "regress" and len(signature.outputs) != 1:
            raise invalid("Expected one output Tensor.")
        if method == "classify" and len(signature.outputs) > 2:
            raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
        wanted = {"classes", "scores"} if method == "classify" else {"outputs"}
        kind = "classification" if method == "classify" else "regression"
        if "inputs" not in signature.inputs:
            raise ServingError(
                "FAILED_PRECONDITION", f"No {kind} inputs found in SignatureDef: {dict(signature.inputs)}"
            )
        if not wanted & signature.outputs.keys():
            raise ServingError(
                "FAILED_PRECONDITION",
                f"Expected {kind} signature outputs to contain at least one of {sorted(wanted)}. Signature was: "
                f"{dict(signature.outputs)}",
            )
        return self._run(model, method.capitalize(), name, {"inputs": model.serialize(examples)})

    def _run(self, model: SavedModel, api: str, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        began = time.perf_counter()
        outputs = model.run(signature, inputs)
        self._metrics.runtime_latency.observe((time.perf_counter() - began) * 1e6, model.name, api, "TF1")
        return outputs


def _parse(http_method: str, path: str) -> _Target:
    pattern = {"POST": _PREDICTION, "GET": _STATUS}.get(http_method)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        raise invalid(f"Malformed request: {http_method} {path}")
    parts = match.groupdict()
    if not parts["name"]:
        raise invalid("Missing model name in request.")
    version = int(parts["version"]) if parts["version"] else None
    if version is not None and version > _MAX_VERSION:
        raise invalid(f"Failed to convert version: {parts['version']} to numeric.")
    label = urllib.parse.unquote(parts["label"], errors="surrogateescape") if parts["label"] else None
    method = parts["method"].lower() if http_method == "POST" else "metadata" if parts["resource"] else "status"
    return _Target(urllib.parse.unquote(parts["name"], errors="surrogateescape"), version, label, method)


def _status_body(versions: list[VersionStatus]) -> bytes:
    document = {
        "model_version_status": [
            {
                "version": str(version.version),
                "state": version.state,
                "status": {"error_code": version.error_code, "error_message": version.error_message},
            }
            for version in versions
        ]
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def _classify(outputs: dict[str, np.ndarray], count: int) -> bytes:
    classes, scores = outputs.get("classes"), outputs.get("scores")
    for name, tensor, kind in (("classes", classes, "STRING"), ("scores", scores, "FLOAT")):
        if tensor is None:
            continue
        if tensor.ndim != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(tensor)}")
        if tensor.dtype != (object if name == "classes" else np.float32):
            raise invalid(f"Expected {name} Tensor of DT_{kind}. Got: {tensor.dtype.name}")
        if tensor.shape[0] != count:
            raise invalid(f"Expected {name} output batch size of {count}. Got: {tensor.shape[0]}")
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid(
            "Tensors class and score should match in dim_size(1). Got "
            f"{classes.shape[1]} vs. {scores.shape[1]}"
        )
    return json_response.classifications(classes, scores)


def _regress(outputs: dict[str, np.ndarray], count: int) -> bytes:
    values = outputs["outputs"]
    if values.ndim != 1 and (values.ndim != 2 or values.shape[1] != 1):
        raise invalid(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(values)}"
        )
    if values.shape[0] != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {values.shape[0]}")
    if values.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {values.dtype.name}")
    return json_response.regressions(values.ravel())


def _shape(tensor: np.ndarray) -> str:
    return "[" + ",".join(map(str, tensor.shape)) + "]"
