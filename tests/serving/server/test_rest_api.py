"""Requests over HTTP against what TensorFlow Serving is known to answer."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.server.rest_server import RestServer
from serving.tfs_config.model_config import All, ModelConfig
from tests.serving import rest_models


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    root = tmp_path_factory.mktemp("models")
    rest_models.catalogue(root / "many" / "1")
    for version in (1, 2, 3):
        rest_models.half_plus(root / "half" / str(version), version)
    models = [
        ModelConfig("many", root / "many"),
        ModelConfig("half", root / "half", All(), {"stable": 1, "gone": 9}),
        ModelConfig("empty", root / "empty"),
    ]
    (root / "empty").mkdir()
    with RestServer(models) as running:
        yield running


def ask(server: RestServer, method: str, path: str, body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    return urllib3.request(method, server.url + path, body=data, headers=headers, retries=False)


def predict(server: RestServer, signature: str, **body: Any) -> Any:
    response = ask(server, "POST", "/v1/models/many:predict", {"signature_name": signature, **body})
    assert response.status == 200, response.data
    return response.json()


def refusal(response: urllib3.BaseHTTPResponse) -> tuple[int, str]:
    document = response.json()
    assert list(document) == ["error"]
    assert response.headers["Content-Type"] == "application/json"
    return response.status, document["error"]


def test_rows_and_columns_in_and_out(server: RestServer) -> None:
    assert ask(server, "POST", "/v1/models/half:predict", {"instances": [1.0, 2]}).json() == {"predictions": [3.5, 4.0]}
    assert ask(server, "POST", "/v1/models/half:predict", {"inputs": {"x": [[1.0]]}}).json() == {"outputs": [[3.5]]}
    assert ask(server, "POST", "/v1/models/half:predict", {"inputs": 1}).json() == {"outputs": 3.5}
    assert ask(server, "POST", "/v1/models/half:predict", {"inputs": []}).json() == {"outputs": []}
    rows = [{"user": "u", "price": 2, "dims": [1, 2]}, {"user": "v", "price": 0.5, "dims": [3, 4]}]
    columns = {"user": ["u", "v"], "price": [2, 0.5], "dims": [[1, 2], [3, 4]]}
    assert predict(server, "three", instances=rows) == {
        "predictions": [
            {"score": 4.0, "tag": "u!", "dims_out": [2, 3]},
            {"score": 1.0, "tag": "v!", "dims_out": [4, 5]},
        ]
    }
    assert predict(server, "three", inputs=columns) == {
        "outputs": {"score": [4.0, 1.0], "tag": ["u!", "v!"], "dims_out": [[2, 3], [4, 5]]}
    }
    assert predict(server, "uneven", inputs=[1.0]) == {"outputs": {"a": [1.0], "b": [1.0, 1.0]}}
    assert predict(server, "wide", instances=[1.0]) == {"predictions": [[[], []]]}


@pytest.mark.parametrize(
    ("signature", "values"),
    [
        ("float32", [0.2, -3.3, 16777216.0]),
        ("float64", [0.1, 1e300]),
        ("int8", [-128, 127]),
        ("int16", [-32768, 32767]),
        ("int32", [-(2**31), 2**31 - 1]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("uint8", [0, 255]),
        ("uint32", [0, 2**32 - 1]),
        ("uint64", [0, 2**64 - 1]),
        ("bool", [True, False]),
        ("string", ["", "héllo 你好 😀", 'quote " and \\ and \n']),
    ],
)
def test_every_type_comes_back_as_it_went(server: RestServer, signature: str, values: list[Any]) -> None:
    assert predict(server, signature, instances=values)["predictions"] == values
    assert predict(server, signature, inputs={"x": values[0]})["outputs"] == values[0]


def test_numbers_that_are_none(server: RestServer) -> None:
    body = b'{"signature_name": "float32", "instances": [NaN, Infinity, -Infinity]}'
    response = ask(server, "POST", "/v1/models/many:predict", body)
    assert b"[NaN, Infinity, -Infinity" in response.data
    first, *rest = response.json()["predictions"]
    assert math.isnan(first)
    assert rest == [math.inf, -math.inf]


def test_bytes_are_base64_where_the_name_says_so(server: RestServer) -> None:
    row = {"b64": "aGVsbG8="}
    assert predict(server, "picture", instances=[row]) == {"predictions": [{"thumb_bytes": row, "caption": "hello"}]}
    body = json.dumps({"signature_name": "string", "instances": [{"b64": "/w=="}]}).encode()
    assert b'["\xff"' in ask(server, "POST", "/v1/models/many:predict", body).data


def test_classify_and_regress(server: RestServer) -> None:
    def results(method: str, signature: str, **body: Any) -> Any:
        response = ask(server, "POST", f"/v1/models/many:{method}", {"signature_name": signature, **body})
        return response.json()["results"] if response.status == 200 else refusal(response)

    examples = [{"x": 0.25}, {"x": [1.0]}]
    assert results("regress", "regress", examples=examples) == [0.125, 0.5]
    assert results("regress", "regress", context={"x": 3.0}, examples=[{}, {"x": 1.0}]) == [1.5, 0.5]
    assert results("classify", "classify", examples=examples) == [
        [["low", 0.75], ["high", 0.25]],
        [["low", 0.0], ["high", 1.0]],
    ]
    assert results("classify", "scores", examples=[{"x": 2.0}]) == [[["", 2.0]]]
    status, error = results("regress", "regress", examples=[{"x": 80}])
    assert status == 400
    assert "int64" in error
    assert results("classify", "flat_scores", examples=[{"x": 1.0}]) == (
        400,
        "Expected Tensor shape: [batch_size num_classes] but got [1]",
    )
    assert results("regress", "classify", examples=[{}]) == (400, "Expected one output Tensor.")
    assert results("regress", "three", examples=[{}]) == (400, "Expected one input Tensor.")
    assert results("regress", "no", examples=[{}]) == (400, "No signature was found with the name: no")
    assert results("classify", "float32", examples=[{}])[0] == 400


@pytest.mark.parametrize(
    ("signature", "body", "status", "parts"),
    [
        ("float32", {}, 400, ["Missing 'inputs' or 'instances' key"]),
        ("float32", {"instances": []}, 400, ["No values in 'instances' array"]),
        ("float32", {"instances": 1}, 400, ["Expecting 'instances' to be"]),
        ("float32", {"instances": [1.0], "inputs": 1}, 400, ["only one of 'inputs' or 'instances'"]),
        ("float32", {"instances": [{"z": 1.0}]}, 400, ["element: 0 key: z", "does not have named input: z"]),
        ("float32", {"instances": [1.0, {"x": 1.0}]}, 400, ["Expecting value/list but got object at item 1"]),
        ("float32", {"instances": [{"x": 1.0}, 1.0]}, 400, ["Expecting object but got list at item 1"]),
        ("float32", {"instances": [[1.0, 2.0], [3.0]]}, 400, ["element: 1", "Expecting tensor size: 2 but got: 1"]),
        ("float32", {"instances": [[1.0], [[1.0]]]}, 400, ["Expecting shape [1] but got: [1,1]"]),
        ("float32", {"instances": [[1.0, [2.0]]]}, 400, ["Encountered list at unexpected level: 1 expected < 1"]),
        ("float32", {"instances": [[[1.0], 2.0]]}, 400, ["found at incorrect level: 2", "Expected at level: 2"]),
        ("float32", {"inputs": [[1.0], []]}, 400, ["unexpected size: 0 at level: 1 expected size: 1"]),
        ("float32", {"instances": ["x"]}, 400, ['JSON Value: "x" Type: String', "expected type: float"]),
        ("float32", {"instances": [None]}, 400, ["Type: Null"]),
        ("float32", {"instances": [True]}, 400, ["Type: True", "expected type: float"]),
        ("float32", {"inputs": [{"a": 1}]}, 400, ["Type: Object"]),
        ("int32", {"instances": [1.0]}, 400, ["JSON Value: 1.0", "expected type: int32"]),
        ("int32", {"instances": [2**31]}, 400, ["2147483648 Type: Number"]),
        ("uint32", {"instances": [-1]}, 400, ["expected type: uint32"]),
        ("bool", {"instances": [1]}, 400, ["expected type: bool"]),
        ("string", {"instances": [1]}, 400, ["expected type: string"]),
        ("string", {"instances": [{"b64": "@"}]}, 400, ["element: 0", "Unable to base64 decode"]),
        ("string", {"inputs": [{"b64": 1}]}, 400, ["not formatted correctly for base64 data"]),
        ("float16", {"inputs": [1.0]}, 501, ["Conversion of JSON Value: 1.0 to type: half"]),
        ("uint16", {"instances": [1]}, 400, ["element: 0", "UNIMPLEMENTED"]),
        ("to_half", {"instances": [1.0]}, 400, ["Failed to write JSON value for tensor type: half"]),
        ("sum", {"instances": [1.0]}, 400, ["Tensor name: total has no shape information"]),
        ("uneven", {"instances": [1.0]}, 400, ["Tensor name: b has inconsistent batch size: 2 expecting: 1"]),
        ("none", {"instances": [1.0]}, 400, ["Tensor name: y has invalid batch size: 0"]),
        ("positive", {"instances": [-1.0]}, 400, ["assertion failed: [x must be positive]"]),
        ("three", {"instances": [1.0]}, 400, ["plain list, but expecting list of objects"]),
        ("three", {"instances": [{"user": "u", "price": 1}]}, 400, ["keys must be equal to: dims,price,user"]),
        ("three", {"inputs": [1.0]}, 400, ["plain value/list, but expecting an object"]),
        ("three", {"inputs": {"user": ["u"], "price": [1]}}, 400, ["Missing named input: dims in 'inputs' object."]),
        ("no", {"instances": [1.0]}, 400, ['Serving signature name: "no" not found in signature def']),
        (7, {"instances": [1.0]}, 400, ["'signature_name' key must be a string value"]),
        ("__saved_model_init_op", {"instances": [1.0]}, 400, ["Failed to get input map for signature"]),
    ],
)
def test_what_does_not_fit_is_named(
    server: RestServer, signature: Any, body: dict[str, Any], status: int, parts: list[str]
) -> None:
    response = ask(server, "POST", "/v1/models/many:predict", {"signature_name": signature, **body})
    got, error = refusal(response)
    assert got == status
    for part in parts:
        assert part in error


def test_versions_and_labels(server: RestServer) -> None:
    def first(path: str) -> Any:
        response = ask(server, "POST", f"/v1/models/{path}:predict", {"instances": [2.0]})
        return response.json()["predictions"] if response.status == 200 else refusal(response)

    assert first("half") == [4.0]
    assert first("half/versions/2") == [3.0]
    assert first("half/labels/stable") == [2.0]
    assert first("ha%6Cf/labels/st%61ble") == [2.0]
    assert first("half/versions/9") == (404, "Servable not found for request: Specific(half, 9)")
    assert first("half/labels/gone") == (404, "Servable not found for request: Specific(half, 9)")
    assert first("half/labels/no") == (400, "Unrecognized servable version label: no")
    assert first("no") == (404, "Servable not found for request: Latest(no)")
    assert first("no/labels/stable") == (400, "Unrecognized servable version label: stable")
    assert first("empty") == (404, "Servable not found for request: Latest(empty)")
    assert first("half/versions/99999999999999999999")[0] == 400


def test_status_and_metadata(server: RestServer) -> None:
    def version(number: int) -> dict[str, Any]:
        return {"version": str(number), "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}

    assert ask(server, "GET", "/v1/models/half").json() == {"model_version_status": [version(n) for n in (3, 2, 1)]}
    assert ask(server, "GET", "/V1/Models/half/versions/2").json() == {"model_version_status": [version(2)]}
    assert refusal(ask(server, "GET", "/v1/models/no")) == (404, "Could not find any versions of model no")
    missing = ask(server, "GET", "/v1/models/half/versions/9")
    assert refusal(missing) == (404, "Could not find version 9 of model half")
    document = ask(server, "GET", "/v1/models/half/labels/stable/metadata").json()
    assert document["model_spec"] == {"name": "half", "signature_name": "", "version": "1"}
    signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [], "unknown_rank": True},
        "name": "serving_default_x:0",
    }
    wide = ask(server, "GET", "/v1/models/many/metadata").json()["metadata"]["signature_def"]["signature_def"]["three"]
    assert wide["inputs"]["dims"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
        "unknown_rank": False,
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/half:predict"),
        ("POST", "/v1/models/half"),
        ("PUT", "/v1/models/half:predict"),
        ("DELETE", "/v1/models/half"),
        ("OPTIONS", "/v1/models/half:predict"),
        ("GET", "/v1/"),
        ("GET", "/v1/models/half/versions/x"),
        ("GET", "/v1/models/half/metadata/"),
        ("POST", "/v1/models/half:explain"),
        ("GET", "/v1/models/../../etc/passwd"),
        ("GET", "/v1/models/a/b"),
    ],
)
def test_every_wrong_path_or_method_is_a_malformed_request(server: RestServer, method: str, path: str) -> None:
    # urllib3 would tidy the dots away.
    connection = urllib3.HTTPConnectionPool(server.host, server.port)
    response = connection.urlopen(method, path, retries=False, body=b"{}" if method in ("POST", "PUT") else None)
    connection.close()
    assert response.status == 400
    assert response.json()["error"].startswith(f"Malformed request: {method} /v1/")


def test_there_is_no_list_of_models_and_nothing_beside_the_api(server: RestServer) -> None:
    assert refusal(ask(server, "GET", "/v1/models")) == (400, "Missing model name in request.")
    assert ask(server, "GET", "/health").status == 404
    assert ask(server, "GET", "/").status == 404
    assert refusal(ask(server, "GET", "/v1/models/%2e%2e%2fhalf"))[0] == 404


def test_bodies_in_their_wrappings(server: RestServer) -> None:
    path, plain = "/v1/models/half:predict", b'{"instances": [2.0]}'
    zipped = ask(server, "POST", path, gzip.compress(plain), **{"Content-Encoding": "gzip"})
    assert zipped.json() == {"predictions": [4.0]}
    assert ask(server, "POST", path, plain, **{"Content-Type": "text/html"}).status == 200
    assert ask(server, "POST", path, plain, Expect="100-continue").status == 200
    broken = ask(server, "POST", path, b"not zipped", **{"Content-Encoding": "gzip"})
    assert refusal(broken) == (400, "JSON Parse error: The document is empty")
    assert refusal(ask(server, "POST", path)) == (400, "JSON Parse error: The document is empty")
    deflated = ask(server, "POST", path, b"x\x9c\x03\x00", **{"Content-Encoding": "deflate"})
    assert refusal(deflated) == (400, "JSON Parse error: Invalid value. at offset: 0")


@settings(max_examples=100)
@given(data=st.data())
def test_no_body_makes_the_server_fail(server: RestServer, data: st.DataObject) -> None:
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just({"b64": "aGk="}),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xuserdims"), inner, max_size=2),
        max_leaves=8,
    )
    signatures = ["three", "float32", "int8", "string", "regress", "wide", "scores"]
    body = {
        "signature_name": data.draw(st.sampled_from(signatures)),
        data.draw(st.sampled_from(["instances", "inputs", "examples"])): data.draw(values),
    }
    text = bytearray(json.dumps(body).encode())
    for _ in range(data.draw(st.integers(0, 2))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    method = data.draw(st.sampled_from(["predict", "classify", "regress"]))
    answer = server._api.answer("POST", f"/v1/models/many:{method}", bytes(text))
    assert answer.status in (200, 400, 501), (bytes(text), answer)


def test_an_error_quotes_at_most_a_part_of_the_request(server: RestServer) -> None:
    response = ask(server, "POST", "/v1/models/half:predict", {"instances": "x" * 100_000})
    assert len(response.data) < 1000
    assert "Expecting 'instances' to be" in response.json()["error"]


def test_metrics_under_tf_servings_names(server: RestServer) -> None:
    ask(server, "POST", "/v1/models/half:predict", {"instances": [2.0]})
    ask(server, "POST", "/v1/models/half:predict", {})
    ask(server, "GET", "/v1/models/nobody")
    response = ask(server, "GET", "/monitoring/prometheus/metrics")
    assert response.headers["Content-Type"].startswith("text/plain")
    lines = response.data.decode().splitlines()
    assert "# TYPE :tensorflow:serving:request_count counter" in lines
    counts = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    assert counts[':tensorflow:serving:request_count{model_name="half",status="OK"}'] >= 1
    assert counts[':tensorflow:serving:request_count{model_name="half",status="INVALID_ARGUMENT"}'] >= 1
    assert not any("nobody" in line for line in lines)
    labels = 'model_name="half",API="predict",entrypoint="REST"'
    name = ":tensorflow:serving:request_latency"
    assert counts[f'{name}_bucket{{{labels},le="+Inf"}}'] == counts[f"{name}_count{{{labels}}}"] >= 1
    assert counts[f"{name}_sum{{{labels}}}"] > 0
    buckets = [value for line, value in counts.items() if line.startswith(f"{name}_bucket{{{labels}")]
    assert buckets == sorted(buckets)
    assert counts[':tensorflow:serving:runtime_latency_count{model_name="half",API="Predict",runtime="TF1"}'] >= 1
