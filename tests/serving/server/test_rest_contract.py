"""A replay of requests with known answers, on models made here; each of them alone and in batches.

What TensorFlow Serving answers was read in its sources (http_rest_api_handler.cc, http_rest_api_util.cc,
json_tensor.cc) where the recorded cases of `test_rest_conformance` don't show it.
"""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from serving.server.rest_server import RestServer
from serving.tfs_config.batching_config import BatchingConfig
from serving.tfs_config.model_config import All, Latest, ModelConfig, Specific
from tests.serving import rest_models


@pytest.fixture(scope="module", params=[None, BatchingConfig()], ids=["alone", "batched"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[RestServer]:
    root = tmp_path_factory.mktemp("models")
    rest_models.catalogue(root / "many" / "1")
    for version in (1, 2, 3):
        rest_models.half_plus(root / "half" / str(version), version)
    folder = root / "half"
    models = [
        ModelConfig("many", root / "many"),
        ModelConfig("all", folder, All(), {"stable": 1, "canary": 3}),
        ModelConfig("newest", folder),
        ModelConfig("two", folder, Latest(2)),
        ModelConfig("some", folder, Specific(frozenset((1, 3, 9)))),
    ]
    with RestServer(models, batching=request.param) as running:
        yield running


def send(
    server: RestServer, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Nothing between the test and the wire: paths and bodies go out as they are."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    data = body.encode() if isinstance(body, str) else body
    connection.request(method, path, data, headers or {})
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def typed(kind: str, body: str) -> str:
    return f'{{"signature_name": "{kind}", {body}}}'


PREDICTED: list[tuple[str, Any]] = [
    # The first of two members with one key counts; a second one is no fault.
    ('{"instances": [2.0], "instances": [4.0]}', {"predictions": [4.0]}),
    ('{"signature_name": "serving_default", "signature_name": 7, "instances": [2]}', {"predictions": [4.0]}),
    ('{"inputs": {"x": [2.0], "x": ["a"]}}', {"outputs": [4.0]}),
    ('{"instances": [{"x": 2.0, "x": 4.0}]}', {"predictions": [4.0]}),
    # What is not asked for is not looked at.
    ('{"instances": [2.0], "extra": {"deep": [null]}}', {"predictions": [4.0]}),
    ('{"inputs": {"x": 2.0, "other": "a"}}', {"outputs": 4.0}),
    ('{"signature_name": "", "instances": [2.0]}', {"predictions": [4.0]}),
    ('\n\t {"instances"\r:[2e0]} \n', {"predictions": [4.0]}),
    ('{"instances": [-0, 1e-400, 2E+0]}', {"predictions": [3.0, 3.0, 4.0]}),
    ('{"instances": [18446744073709551616]}', {"predictions": [9.22337204e18]}),
    ('{"\\u0069nstances": [2.0]}', {"predictions": [4.0]}),
    ('{"instances": [[], []]}', {"predictions": [[], []]}),
    ('{"inputs": []}', {"outputs": []}),
    ('{"inputs": [[]]}', {"outputs": [[]]}),
    ('{"instances": [[[1.0, 3.0]], [[5.0, 7.0]]]}', {"predictions": [[[3.5, 4.5]], [[5.5, 6.5]]]}),
]


@pytest.mark.parametrize(("body", "answer"), PREDICTED)
def test_what_is_answered(server: RestServer, body: str, answer: Any) -> None:
    status, got = send(server, "POST", "/v1/models/newest:predict", body)
    assert (status, json.loads(got)) == (200, answer)


REFUSED: list[tuple[str, str]] = [
    ("", "JSON Parse error: The document is empty"),
    (" ", "JSON Parse error: The document is empty. at offset: 1"),
    ("null", "Is not object"),
    ('"instances"', "Is not object"),
    ("{}", "Missing 'inputs' or 'instances' key"),
    ('{"instances": null}', "Expecting 'instances' to be an list/array"),
    ('{"instances": "ab"}', "Expecting 'instances' to be an list/array"),
    ('{"instances": {}}', "Expecting 'instances' to be an list/array"),
    ('{"inputs": {}}', "Missing named input: x in 'inputs' object."),
    ('{"inputs": null}', "JSON Value: null Type: Null is not of expected type: float"),
    ('{"inputs": "2.0"}', 'JSON Value: "2.0" Type: String is not of expected type: float'),
    ('{"inputs": true}', "Type: True is not of expected type: float"),
    ('{"inputs": false}', "Type: False is not of expected type: float"),
    ('{"instances": [{}]}', "keys must be equal to: x"),
    ('{"instances": [{"x": 1, "y": 1}]}', "key: y of 'instances' list"),
    ('{"instances": [{"b64": "AAAA"}]}', "is not of expected type: float"),
    ('{"instances": [[1, [2]]]}', "Encountered list at unexpected level: 1 expected < 1"),
    ('{"instances": [[[1], [2, 3]]]}', "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
    ('{"inputs": [[1, 2], 3]}', "found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
    ('{"instances": [1], "signature_name": null}', "'signature_name' key must be a string value"),
    ('{"instances": [1], "signature_name": ["a"]}', "'signature_name' key must be a string value"),
    ('{"instances": [1], "signature_name": "Serving_Default"}', '"Serving_Default" not found in signature def'),
    ('{"instances": [1e309]}', "Number too big to be stored in double."),
    ('{"instances": [01]}', "Missing a comma or ] after an array element."),
    ('{"instances": [+1]}', "Invalid value."),
    ('{"instances": [.5]}', "Invalid value."),
    ('{"instances": [1.]}', "Miss fraction part in number."),
    ('{"instances": [nan]}', "Invalid value."),
    ("{'instances': [1]}", "Missing a name for object member."),
    ('{"instances": [1]} // why', "The document root must not be followed by other values."),
    ('{"instances": [1]}{}', "The document root must not be followed by other values."),
]


@pytest.mark.parametrize(("body", "error"), REFUSED)
def test_what_is_refused(server: RestServer, body: str, error: str) -> None:
    status, got = send(server, "POST", "/v1/models/newest:predict", body)
    document = json.loads(got)
    assert list(document) == ["error"]
    assert error in document["error"]
    assert status == 400


TYPES: list[tuple[str, str, int]] = [
    *(("int32", number, 200) for number in ("0", "-0", "2147483647", "-2147483648")),
    *(("int32", number, 400) for number in ("2147483648", "-2147483649", "1.0", "1e0", "NaN", "true", '"1"', "null")),
    *(("int64", number, 200) for number in ("9223372036854775807", "-9223372036854775808")),
    *(("int64", number, 400) for number in ("9223372036854775808", "1.5", "1" + "0" * 30)),
    *(("uint64", number, 200) for number in ("0", "18446744073709551615")),
    *(("uint64", number, 400) for number in ("-1", "18446744073709551616", "0.0")),
    *(("bool", number, 200) for number in ("true", "false")),
    *(("bool", number, 400) for number in ("1", "0", '"true"', "null")),
    *(("string", value, 200) for value in ('""', '"\\u0000"', '"\\ud83d\\ude00"', '{"b64": ""}')),
    *(("string", value, 400) for value in ("1", "null", "true", '{"b64": "a", "b64": "b"}', '{"b64": "", "x": 1}')),
    *(("float32", number, 200) for number in ("1", "1.5", "NaN", "Infinity", "-Infinity", "1e300", "123456789")),
    *(("float32", value, 400) for value in ('"NaN"', "true", "null", "[[1], 2]", "{}")),
    *(("uint8", number, 200) for number in ("255", "0")),
    ("uint8", "1.5", 400),
    ("uint16", "1", 400),
]


@pytest.mark.parametrize(("kind", "value", "status"), TYPES)
def test_types_are_kept_strictly(server: RestServer, kind: str, value: str, status: int) -> None:
    for body in (f'"instances": [{value}]', f'"inputs": [{value}]'):
        got, answer = send(server, "POST", "/v1/models/many:predict", typed(kind, body))
        # In columns TF Serving's own code for a type that JSON can't fill comes through.
        assert got == status or (kind == "uint16" and got == 501), answer
        json.loads(answer)


PATHS: list[tuple[str, str, int]] = [
    ("POST", "/v1/models/all/versions/2:predict", 200),
    ("POST", "/v1/models/all/versions/002:predict", 200),
    ("POST", "/v1/models/all/labels/canary:predict", 200),
    ("POST", "/v1/models/all/labels/c%61nary:predict", 200),
    ("POST", "/V1/MODELS/all/Versions/2:predict", 200),
    # A query belongs to the path, which is then another one.
    ("POST", "/v1/models/all:predict?verbose=1", 400),
    ("POST", "/v1/models/all:predict?", 400),
    ("POST", "/v1/models/all:predict#x", 400),
    ("POST", "/v1/models/all?x:predict", 404),
    ("GET", "/v1/models/all?x=1", 404),
    ("GET", "/v1/models/all/versions/2?x=1", 400),
    ("GET", "/v1/models/all/metadata?x=1", 400),
    ("GET", "/v1/models/all/labels/stable?x=1/metadata", 400),
    ("GET", "/monitoring/prometheus/metrics", 200),
    ("GET", "/monitoring/prometheus/metrics?x=1", 400),
    ("GET", "/monitoring/prometheus/metrics/", 404),
    # What is no URI is refused, whatever else it may look like.
    ("POST", "/v1/models/%zz:predict", 400),
    ("POST", "/v1/models/100%:predict", 400),
    ("POST", "/v1/models/a|b:predict", 400),
    ("POST", "/v1/models/%7c:predict", 404),
    ("POST", "/v1/models/all/labels/st%61ble:predict", 200),
    ("GET", "//v1/models/all", 404),
    ("POST", "http://other.example/v1/models/all:predict", 200),
    ("POST", "/v1/models/all/labels/Canary:predict", 400),
    ("POST", "/v1/models/all/labels/stable/versions/1:predict", 400),
    ("POST", "/v1/models/all:PREDICT", 400),
    ("POST", "/v1/models/all:predict/", 400),
    ("POST", "/v1/models/all/:predict", 400),
    ("POST", "/v1/models/:predict", 400),
    ("POST", "/v1/models:predict", 400),
    ("POST", "/v1/models/all/versions/-1:predict", 400),
    ("POST", "/v1/models/all/versions/1.0:predict", 400),
    ("POST", "/v1/models/all/versions/:predict", 400),
    ("POST", "/v1/models/all/versions/9223372036854775808:predict", 400),
    ("POST", "/v1/models/all/versions/9223372036854775807:predict", 404),
    ("POST", "/v1/models/all:predict:predict", 400),
    ("POST", "/v2/models/all:predict", 404),
    ("POST", "/v1/models/All:predict", 404),
    ("POST", "/v1/models/%00:predict", 404),
    ("POST", "/v1/models/..%2Fall:predict", 404),
    ("POST", "/v1/../v1/models/all:predict", 400),
    ("POST", "/v1/models/newest/versions/1:predict", 404),
    ("POST", "/v1/models/newest/labels/stable:predict", 400),
    ("POST", "/v1/models/two/versions/2:predict", 200),
    ("POST", "/v1/models/two/versions/1:predict", 404),
    ("POST", "/v1/models/some/versions/1:predict", 200),
    ("POST", "/v1/models/some/versions/2:predict", 404),
    ("POST", "/v1/models/some/versions/9:predict", 404),
    ("GET", "/v1/models/all", 200),
    ("GET", "/v1/models/all/labels/stable", 200),
    ("GET", "/v1/models/all/METADATA", 200),
    ("GET", "/v1/models/all/versions/2/metadata", 200),
    ("GET", "/v1/models/all/labels/canary/metadata", 200),
    ("GET", "/v1/models/all/labels/no/metadata", 400),
    ("GET", "/v1/models/all/versions/9/metadata", 404),
    ("GET", "/v1/models/all/", 400),
    ("GET", "/v1/models/", 400),
    ("GET", "/v1/models/metadata", 404),
    ("GET", "/v1/models/all:predict", 400),
    ("GET", "/v1", 404),
    ("GET", "/v1/", 400),
    ("GET", "/v1/models/all/versions", 400),
    ("GET", "/v1/models/all/metadata/x", 400),
    ("HEAD", "/v1/models/all", 400),
    ("PUT", "/v1/models/all:predict", 400),
    ("DELETE", "/v1/models/all/versions/1", 400),
    ("PATCH", "/v1/models/all:predict", 400),
    ("OPTIONS", "/v1/models/all:predict", 400),
    ("POST", "/monitoring/other", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), PATHS)
def test_where_requests_go(server: RestServer, method: str, path: str, status: int) -> None:
    got, body = send(server, method, path, '{"instances": [2.0]}' if method in ("POST", "PUT", "PATCH") else None)
    assert got == status, body
    if status == 200 and method == "POST":
        assert len(json.loads(body)["predictions"]) == 1


def test_policies_choose_the_versions(server: RestServer) -> None:
    def versions(name: str) -> list[str]:
        _, body = send(server, "GET", f"/v1/models/{name}")
        return [version["version"] for version in json.loads(body)["model_version_status"]]

    assert versions("all") == ["3", "2", "1"]
    assert versions("newest") == ["3"]
    assert versions("two") == ["3", "2"]
    assert versions("some") == ["3", "1"]
    # A capital letter makes another resource of it: the status, as without one.
    assert send(server, "GET", "/v1/models/all/METADATA") == send(server, "GET", "/v1/models/all")


EXAMPLES: list[tuple[str, str, Any]] = [
    ("regress", '"examples": [{"x": 1.0}, {"x": [3.0]}]', [0.5, 1.5]),
    ("regress", '"context": {"x": 1.0}, "examples": [{}, {"x": 3.0}]', [0.5, 1.5]),
    # One feature given twice: the last is written over the first.
    ("regress", '"examples": [{"x": 1.0, "x": 3.0}]', [1.5]),
    ("regress", '"examples": [{"x": 1.0, "unknown": ["a", {"b64": "Yg=="}]}]', [0.5]),
    ("regress", '"examples": [{}]', "Feature: x (data type: float) is required but could not be found."),
    ("regress", '"examples": [{"x": []}]', "x"),
    ("regress", '"examples": [{"x": 1}]', "Data types don't match"),
    ("regress", '"examples": [{"x": "1.0"}]', "Data types don't match"),
    ("regress", '"examples": [{"x": [1.0, 2]}]', "Unexpected element type in feature: x expecting type: float"),
    ("regress", '"examples": [{"x": {"a": 1}}]', "Feature: x has element with unexpected JSON type: Object"),
    ("regress", '"examples": [null]', "Example must be JSON object but got JSON Null"),
    ("regress", '"context": [], "examples": [{"x": 1.0}]', "Example must be JSON object but got JSON Array"),
    ("regress", '"examples": "x"', "Expecting 'examples' value to be an list/array"),
    ("regress", '"instances": [{"x": 1.0}]', "key 'examples' is expected and was not found"),
    ("classify", '"examples": [{"x": 0.25}]', [[["low", 0.75], ["high", 0.25]]]),
    ("classify", '"context": {"x": 1.0}, "examples": [{}]', [[["low", 0.0], ["high", 1.0]]]),
    ("classify", '"examples": []', "'examples' value is an empty array"),
]


@pytest.mark.parametrize(("method", "body", "result"), EXAMPLES)
def test_examples_and_their_context(server: RestServer, method: str, body: str, result: Any) -> None:
    status, got = send(server, "POST", f"/v1/models/many:{method}", typed(method, body))
    document = json.loads(got)
    if isinstance(result, str):
        assert status == 400
        assert result in document["error"]
    else:
        assert (status, document) == (200, {"results": result})


def test_a_graph_error_that_quotes_bytes_is_a_refusal(server: RestServer) -> None:
    body = typed("regress", '"inputs": [{"b64": "u1"}]')
    status, got = send(server, "POST", "/v1/models/many:predict", body)
    assert status == 400
    assert "Could not parse example input" in json.loads(got)["error"]


def test_half_a_pair_in_a_long_body_is_a_refusal(server: RestServer) -> None:
    body = typed("string", '"instances": ["' + "x" * 2_000_000 + '\\ud800"]')
    status, got = send(server, "POST", "/v1/models/many:predict", body)
    assert (status, "surrogate pair" in json.loads(got)["error"]) == (400, True)


def test_encodings_of_a_body(server: RestServer) -> None:
    path, plain = "/v1/models/newest:predict", b'{"instances": [2.0]}'
    zipped = {"Content-Encoding": "gzip"}
    good = (200, {"predictions": [4.0]})

    def answer(body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        status, got = send(server, "POST", path, body, headers)
        return status, json.loads(got)

    assert answer(gzip.compress(plain), zipped) == good
    assert answer(gzip.compress(plain), {"Content-Encoding": "x-gzip, identity"}) == good
    assert answer(gzip.compress(plain), {"Content-Encoding": "GZIP"})[0] == 400
    assert answer(plain, {"Content-Type": "multipart/form-data"}) == good
    assert answer(plain, {"Accept": "text/html", "Accept-Encoding": "gzip"}) == good
    assert answer(b"\xef\xbb\xbf" + plain, {}) == good
    assert answer(plain, zipped)[0] == 400
    assert answer(gzip.compress(plain), {})[0] == 400
    assert answer(gzip.compress(b""), zipped)[0] == 400
    for encoding in ("utf-16", "utf-32"):
        assert answer(plain.decode().encode(encoding), {})[0] == 400


def test_a_body_in_chunks(server: RestServer) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    chunks = iter([b'{"inst', b'ances": [2', b".0]}"])
    connection.request("POST", "/v1/models/newest:predict", chunks, encode_chunked=True)
    assert json.loads(connection.getresponse().read()) == {"predictions": [4.0]}
    # The connection is kept for the next one, after a refusal too.
    for body, status in (("{", 400), ('{"instances": [2.0]}', 200)):
        connection.request("POST", "/v1/models/newest:predict", body)
        response = connection.getresponse()
        assert (response.status, bool(response.read())) == (status, True)
    connection.close()
