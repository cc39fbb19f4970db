"""TensorFlow Serving's REST contract as a function from a request to an answer, without a network.

Every wrong path or method under `/v1/` is a malformed request (400); there is no list of models and no health route.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.bundle.saved_model import DEFAULT_SIGNATURE, SavedModel
from serving.errors import ServingError, invalid
from serving.server import json_request, json_response
from serving.server.batch_scheduler import Batcher
from serving.server.json_parser import read_json
from serving.server.model_manager import ModelManager, VersionStatus
from serving.server.prometheus import Metrics

_VERSION = r"(?:(?:/versions/(?P<version>\d+))|(?:/labels/(?P<label>[^/:]+)))?"
_PREDICTION = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE | re.ASCII
)
_STATUS = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<resource>metadata))?", re.IGNORECASE | re.ASCII
)
_METHODS = ("classify", "regress", "predict")
# What libevent, which TF Serving stands on, takes for a path.
_PATH = re.compile(r"(?:[\w.~!$&'()*+,;=:@/?#-]|%[0-9a-f]{2})*", re.IGNORECASE | re.ASCII)
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


@dataclass(frozen=True)
class _Call:
    """What a model is asked, and how its answer is written."""

    api: str
    signature: str
    inputs: dict[str, np.ndarray]
    write: Callable[[Mapping[str, np.ndarray]], bytes]


class RestApi:
    """Answers requests from the models of a manager. Thread safe."""

    def __init__(self, manager: ModelManager, metrics: Metrics, batcher: Batcher | None = None) -> None:
        self._manager = manager
        self._metrics = metrics
        self._batcher = batcher

    def answer(self, http_method: str, path: str, body: bytes = b"") -> Answer:
        """The answer to a request for a path under `/v1/`, with percent signs and query as they were sent.

        A POST blocks for as long as the model computes, by itself.
        """
        began, target = time.perf_counter(), None
        outcome: bytes | Exception
        try:
            target = _parse(http_method, path)
            outcome = self._look_up(target) if http_method == "GET" else self._compute(target, body)
        except Exception as error:
            outcome = error
        return self._answer(http_method, path, target, began, outcome)

    def submit(self, path: str, body: bytes, done: Callable[[Answer], None]) -> None:
        """Answers a POST through the batcher: `done` gets the answer, here or later in another thread."""
        began, target, model = time.perf_counter(), None, None
        assert self._batcher is not None
        try:
            target = _parse("POST", path)
            document, model = self._open(target, body)
            call = self._call(target, document, model)
            finish = self._finisher(path, target, model, call, began, done)
            self._batcher.submit(model, call.signature, call.inputs, finish)
        except Exception as error:
            if model is not None:
                model.release()
            done(self._answer("POST", path, target, began, error))

    def _finisher(
        self, path: str, target: _Target, model: SavedModel, call: _Call, began: float, done: Callable[[Answer], None]
    ) -> Callable[[Mapping[str, np.ndarray] | Exception], None]:
        sent = time.perf_counter()

        def finish(outcome: Mapping[str, np.ndarray] | Exception) -> None:
            written: bytes | Exception
            if isinstance(outcome, Exception):
                written = outcome
            else:
                self._observe_run(call, model, sent)
                try:
                    written = call.write(outcome)
                except Exception as error:
                    written = error
            model.release()
            done(self._answer("POST", path, target, began, written))

        return finish

    def _answer(
        self, http_method: str, path: str, target: _Target | None, began: float, outcome: bytes | Exception
    ) -> Answer:
        """Counts a request, and makes an answer of its body or its error."""
        if isinstance(outcome, UnicodeEncodeError):
            # Half a pair in a body too long for the exact reader comes to light when its string is used.
            outcome = invalid("JSON Parse error: The surrogate pair in string is invalid.")
        if isinstance(outcome, bytes):
            answer, code = Answer(200, outcome), "OK"
        elif isinstance(outcome, ServingError):
            answer, code = Answer(outcome.http_status, json_response.error_body(outcome.message)), outcome.code
        else:
            _log.error("Could not answer %s %s", http_method, path, exc_info=outcome)
            message = "The server failed at this request. Its log tells where; please report it."
            answer, code = Answer(500, json_response.error_body(message)), "INTERNAL"
        # A name nobody configured is not counted under itself: names come from outside and would fill the memory.
        name = target.name if target is not None and self._manager.serves(target.name) else ""
        self._metrics.request_count.add(name, code)
        if code == "OK" and target is not None and http_method == "POST":
            self._metrics.request_latency.observe((time.perf_counter() - began) * 1e6, name, target.method, "REST")
        return answer

    def _look_up(self, target: _Target) -> bytes:
        if target.method == "status":
            # Labels are not looked at here, in TF Serving neither.
            return _status_body(self._manager.status(target.name, target.version))
        with self._manager.use(target.name, target.version, target.label) as model:
            return model.metadata().encode()

    def _compute(self, target: _Target, body: bytes) -> bytes:
        document, model = self._open(target, body)
        try:
            call = self._call(target, document, model)
            sent = time.perf_counter()
            outputs = model.run(call.signature, call.inputs)
            self._observe_run(call, model, sent)
        finally:
            model.release()
        return call.write(outputs)

    def _open(self, target: _Target, body: bytes) -> tuple[dict[str, Any], SavedModel]:
        """The parsed body, and the model that it is for, to be released by the caller."""
        document = read_json(body)
        # Checked before the model is looked for, as TF Serving does.
        json_request.signature_name(document)
        if target.method != "predict":
            document["examples"] = json_request.examples(document)
        return document, self._manager.acquire(target.name, target.version, target.label)

    def _call(self, target: _Target, document: dict[str, Any], model: SavedModel) -> _Call:
        name = json_request.signature_name(document)
        if target.method == "predict":
            inputs, rows = json_request.predict_inputs(document, model.signature(name).inputs)
            return _Call("Predict", name or DEFAULT_SIGNATURE, inputs, lambda out: json_response.predictions(out, rows))
        examples = document["examples"]
        inputs = self._example_inputs(model, target.method, name, examples)
        write = _classify if target.method == "classify" else _regress
        return _Call(
            *(target.method.capitalize(), name or DEFAULT_SIGNATURE, inputs),
            write=lambda outputs: write(outputs, len(examples)),
        )

    def _example_inputs(
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
        self._metrics.example_counts.observe(len(examples), model.name)
        self._metrics.example_count_total.add(model.name, by=len(examples))
        return {"inputs": model.serialize(examples)}

    def _observe_run(self, call: _Call, model: SavedModel, sent: float) -> None:
        self._metrics.runtime_latency.observe((time.perf_counter() - sent) * 1e6, model.name, call.api, "TF1")


@functools.lru_cache(256)
def _parse(http_method: str, path: str) -> _Target:
    pattern = {"POST": _PREDICTION, "GET": _STATUS}.get(http_method)
    match = pattern.fullmatch(path) if pattern and _PATH.fullmatch(path) else None
    parts = match.groupdict() if match else {}
    # The path may be in capitals, as TF Serving's pattern lets it, but the method must be one that it knows.
    if match is None or parts.get("method", "predict") not in _METHODS:
        raise invalid(f"Malformed request: {http_method} {path}")
    if not parts["name"]:
        raise invalid("Missing model name in request.")
    version = int(parts["version"]) if parts["version"] else None
    if version is not None and version > _MAX_VERSION:
        raise invalid(f"Failed to convert version: {parts['version']} to numeric.")
    label = urllib.parse.unquote(parts["label"], errors="surrogateescape") if parts["label"] else None
    method = parts["method"] if http_method == "POST" else "metadata" if parts["resource"] == "metadata" else "status"
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


def _classify(outputs: Mapping[str, np.ndarray], count: int) -> bytes:
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
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    return json_response.classifications(classes, scores)


def _regress(outputs: Mapping[str, np.ndarray], count: int) -> bytes:
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
