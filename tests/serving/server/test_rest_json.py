from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.errors import ServingError
from serving.server import json_request, json_response
from serving.server.batch_outputs import BatchOutputs, BatchShare
from serving.server.json_parser import _SUSPECT, _ExactReader, _is_suspect, read_json

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values, st.booleans())
def test_both_readers_give_back_what_was_written(value: Any, ascii_only: bool) -> None:
    # A lone surrogate is no character: it can be written as an escape, and is refused (below).
    text = json.dumps(value, ensure_ascii=ascii_only)
    try:
        body = text.encode("utf-8")
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return
    assert read_json(body) == value
    assert _ExactReader(text).read() == value


pieces = ("e+", "E", "7", "42", "9" * 299, "9" * 300, "\\u", "\\", "d83d", "dc00", "DBFF", ",", "x" * 31, '"')


@given(st.lists(st.sampled_from(pieces), max_size=12).map("".join))
@example("x" * 17 + "1" * 300)
@example("1" * 299 + "x" + "1" * 299)
@example("7e300")
def test_the_short_look_passes_over_nothing_that_the_exact_reader_is_for(text: str) -> None:
    assert _is_suspect(text.encode()) is bool(_SUSPECT.search(text.encode()))


@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:\\u0123deEinfNaty .-+\n', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused_with_an_offset_inside_them(body: bytes) -> None:
    try:
        read_json(body)
        return
    except ServingError as refused:
        error = refused
    assert error.code == "INVALID_ARGUMENT"
    assert error.message.startswith("JSON Parse error: ")
    if body:
        assert 0 <= int(error.message.rpartition(" ")[2]) <= len(body) + 1


@pytest.mark.parametrize(
    ("body", "fault", "offset"),
    [
        (b"  \n", "The document is empty.", 3),
        (b"instances = [1]", "Invalid value.", 0),
        (b'{"instances":[1,2', "Missing a comma or ] after an array element.", 17),
        (b'{"a":[1,2,]}', "Invalid value.", 10),
        (b'{"a":1,}', "Missing a name for object member.", 7),
        (b'{"a" 1}', "Missing a colon after a name of object member.", 5),
        (b'{"a":1 "b":2}', "Missing a comma or } after an object member.", 7),
        (b'{"a":1} x', "The document root must not be followed by other values.", 8),
        (b'{"a":tru}', "Invalid value.", 8),
        (b'{"a":1.}', "Miss fraction part in number.", 7),
        (b'{"a":1e+}', "Miss exponent in number.", 8),
        (b'{"a":1e999}', "Number too big to be stored in double.", 5),
        (b'{"a":"x', "Missing a closing quotation mark in string.", 7),
        (b'{"a":"\\x"}', "Invalid escape character in string.", 6),
        (b'{"a":"\\u12g4"}', "Incorrect hex digit after \\u escape in string.", 6),
        (b'{"a":"\\ud83d"}', "The surrogate pair in string is invalid.", 6),
        (b'{"a":"\\ude00"}', "The surrogate pair in string is invalid.", 6),
        (b'{"a":"\n"}', "Invalid encoding in string.", 6),
        (b'{"a":"\\\\ud83d\\ude00"}', "The surrogate pair in string is invalid.", 13),
        ('{"é":x}'.encode(), "Invalid value.", 6),
    ],
)
def test_a_fault_is_named_with_its_byte(body: bytes, fault: str, offset: int) -> None:
    with pytest.raises(ServingError) as caught:
        read_json(body)
    assert caught.value.message == f"JSON Parse error: {fault} at offset: {offset}"


def test_what_python_alone_would_read_otherwise() -> None:
    assert read_json(b"\xef\xbb\xbf[1]") == [1]
    assert read_json(b"[Inf, -Inf, Infinity, -Infinity]") == [math.inf, -math.inf] * 2
    assert math.isnan(read_json(b"[NaN]")[0])
    assert read_json(b"[18446744073709551616, 1" + b"0" * 300 + b"]") == [2.0**64, 1e300]
    assert read_json(b'["\\ud83d\\ude00"]') == ["😀"]
    assert read_json(b'["\xff\xfe"]')[0].encode("utf-8", "surrogateescape") == b"\xff\xfe"
    nested = read_json(b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}")["a"]
    for _ in range(19_999):
        (nested,) = nested
    assert nested == []


@pytest.mark.parametrize(
    ("end", "offset"),
    [(b"]}", 4_000_014), (b"  ]}", 4_000_016), (b"true,}", 4_000_019), (b'1], "a":1,}', 4_000_024), (b"x", 4_000_014)],
)
def test_a_long_faulty_body_is_refused_where_the_fault_is(end: bytes, offset: int) -> None:
    with pytest.raises(ServingError, match=rf"at offset: {offset}$"):
        read_json(b'{"instances":[' + b"1.5," * 1_000_000 + end)


def test_a_long_body_is_read_or_refused_at_once() -> None:
    with pytest.raises(ServingError, match="Nested too deeply"):
        read_json(b"[" * 2_000_000)
    long = read_json(b"[" + b"9" * 5000 + b"," + b"0.5," * 300_000 + b"1]")
    assert long[0] == math.inf
    assert json_request.predict_inputs({"inputs": long}, {"x": "float"})[0]["x"].shape == (300_002,)


@given(st.floats(width=32))
@example(100000008.0)
def test_a_float32_is_written_short_and_reads_back(value: float) -> None:
    token = json_response.predictions({"y": np.array([value], np.float32)}, rows=False).decode()
    text = token.partition("[")[2].partition("]")[0]
    assert np.array_equal(np.float32(float(text)), np.float32(value), equal_nan=True)
    assert text in ("NaN", "Infinity", "-Infinity") or "." in text or "e" in text
    # Nine digits tell any float32 apart; the ".0" that makes a whole number a float comes after them.
    digits = text.partition("e")[0].removesuffix(".0").lstrip("-0.")
    assert sum(letter.isdigit() for letter in digits) <= 9


@pytest.mark.parametrize(
    ("dtype", "values", "texts"),
    [
        (np.float32, [0.2, 100000, 9e6, 3e-5, -0.0, 16777217], "0.2, 100000.0, 9e+06, 3e-05, -0.0, 16777216.0"),
        (np.float32, [0.1234567], "0.123456702"),
        (np.float32, [100000008.0, 99999992.0, 4294967296.0], "100000008.0, 99999992.0, 4.2949673e+09"),
        (np.float64, [0.2, 0.1234567, 1e300], "0.2, 0.1234567, 1e+300"),
        (np.float64, [math.nan, math.inf, -math.inf], "NaN, Infinity, -Infinity"),
        (np.int64, [2**63 - 1, -(2**63)], "9223372036854775807, -9223372036854775808"),
        (np.bool_, [True, False], "true, false"),
    ],
)
def test_numbers_are_written_as_tf_serving_writes_them(dtype: Any, values: list[Any], texts: str) -> None:
    body = json_response.predictions({"y": np.array(values, dtype)}, rows=True).decode()
    assert body == f'{{\n    "predictions": [{texts}\n    ]\n}}'


def test_control_characters_are_escaped_as_rapidjson_does() -> None:
    text = "".join(map(chr, range(0x20))) + '"\\/\x7f\u2028é'
    body = json_response.predictions({"y": np.array([text.encode()], object)}, rows=False)
    assert rb"\u0000\u0001" in body
    assert rb"\b\t\n\u000B\f\r\u000E" in body
    assert rb"\u001E\u001F\"\\/" + "\x7f\u2028é".encode() in body
    assert read_json(body)["outputs"] == [text]


def test_strings_go_out_as_their_bytes() -> None:
    tensor = np.array([b'a"\\\n\x01/', "é😀".encode(), b"\xff"], object)
    assert (
        json_response.predictions({"y": tensor}, rows=True)
        == b'{\n    "predictions": ["a\\"\\\\\\n\\u0001/", "' + "é😀".encode() + b'", "\xff"\n    ]\n}'
    )


@given(st.lists(st.integers(0, 3), max_size=4), st.sampled_from([np.float32, np.int32, np.bool_, np.object_]))
def test_a_tensor_written_in_column_format_reads_back(shape: list[int], dtype: Any) -> None:
    tensor = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    kinds = {np.float32: "float", np.int32: "int32", np.bool_: "bool", np.object_: "string"}
    if dtype is np.object_:
        tensor = np.frompyfunc(lambda number: str(number).encode(), 1, 1)(tensor)
        tensor = np.array(tensor, object)
    value = read_json(json_response.predictions({"y": tensor}, rows=False))["outputs"]
    inputs, rows = json_request.predict_inputs({"inputs": value}, {"x": kinds[dtype]})
    # An empty dimension hides those inside it, in JSON as in any list.
    visible = shape[: shape.index(0) + 1] if 0 in shape else shape
    assert not rows
    assert inputs["x"].shape == tuple(visible)
    assert inputs["x"].ravel().tolist() == tensor.ravel().tolist()
    assert inputs["x"].dtype == dtype


@given(
    st.lists(st.recursive(st.integers(0, 1), lambda inner: st.lists(inner, min_size=1, max_size=2)), min_size=1)
    | st.lists(st.fixed_dictionaries({"x": st.lists(st.integers(0, 1), max_size=2)}), min_size=1)
)
def test_whole_tensors_and_rows_one_by_one_agree(instances: list[Any]) -> None:
    def outcome(call: Any) -> Any:
        try:
            return call().tolist()
        except ServingError as error:
            return error.message

    kinds = {"x": "int64"}
    together = outcome(lambda: json_request.predict_inputs({"instances": instances}, kinds)[0]["x"])
    singly = outcome(lambda: json_request._row_by_row(instances, kinds, isinstance(instances[0], dict))["x"])
    assert together == singly


def test_narrow_integers_are_cut_as_the_engine_cuts_them() -> None:
    inputs, _ = json_request.predict_inputs({"inputs": [300, -1]}, {"x": "uint8"})
    assert inputs["x"].tolist() == [44, 255]


def test_base64_may_leave_out_its_padding() -> None:
    value = [{"b64": "aGVsbG8"}, {"b64": "aGVs\nbG8="}, "hello"]
    inputs, _ = json_request.predict_inputs({"inputs": value}, {"x": "string"})
    assert inputs["x"].tolist() == [b"hello"] * 3


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"x": [1, 2.0]}, "Unexpected element type in feature: x expecting type: int64"),
        ({"x": None}, "Feature: x has element with unexpected JSON type: Null"),
        ({"x": [[1]]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"x": 2**63}, "Feature: x has uint64 element. Only int64 is supported."),
        (True, "Example must be JSON object but got JSON True"),
    ],
)
def test_what_is_no_example_is_named(example: Any, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        json_request.examples({"examples": [example]})
    assert caught.value.message == message


def test_examples_take_their_type_from_their_values_and_the_context() -> None:
    document = {"context": {"c": True, "x": 1.0}, "examples": [{"x": ["a", {"b64": "Yg=="}]}, {"e": []}]}
    assert json_request.examples(document) == [
        {"c": ("int64", [1]), "x": ("bytes", [b"a", b"b"])},
        {"c": ("int64", [1]), "x": ("float", [1.0]), "e": ("", [])},
    ]


@given(st.lists(st.binary(max_size=6) | st.text(max_size=6).map(lambda text: text.encode()), max_size=5))
def test_strings_are_written_the_same_one_by_one_and_at_once(values: list[bytes]) -> None:
    together = json_response._strings(values)
    assert together == [json_response._string(value) for value in values]
    for token, value in zip(together, values, strict=True):
        text = json.loads(token.decode("utf-8", "surrogateescape"))
        assert text.encode("utf-8", "surrogateescape") == value


@settings(max_examples=50)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=6))
def test_six_digits_are_written_where_they_give_the_number_back_and_else_nine(values: list[float]) -> None:
    tokens = json_response._tokens("y", np.array(values, np.float32))
    short = [f"{value:.6g}" for value in values]
    long = [f"{value:.9g}" for value in values]
    texts = [few if np.float32(few) == value else all_ for few, all_, value in zip(short, long, values, strict=True)]
    assert tokens == [(text if "." in text or "e" in text else f"{text}.0").encode() for text in texts]


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(0, 3), st.data())
def test_a_share_of_a_batch_is_written_as_the_same_rows_alone(rows: int, width: int, data: st.DataObject) -> None:
    ids = st.lists(st.sampled_from([b"i1", b"", b'a"b', b"\xff", b"\0", "\u00e9".encode()]), min_size=rows * width)
    numbers = st.lists(st.floats(width=32), min_size=rows * width, max_size=rows * width)
    words = np.empty(rows * width, object)
    words[:] = data.draw(ids)[: rows * width]
    tensors = {
        "item_ids": words.reshape(rows, width),
        "100%": np.array(data.draw(numbers), np.float32).reshape(rows, width),
        "row": np.arange(rows),
    }
    for names in (list(tensors), ["row"]):
        outputs = {name: tensors[name] for name in names}
        batch = BatchOutputs(outputs)
        for start in range(rows):
            for end in range(start + 1, rows + 1):
                share = BatchShare(batch, start, end)
                alone = {name: tensor[start:end] for name, tensor in outputs.items()}
                for in_rows in (True, False):
                    assert json_response.predictions(share, in_rows) == json_response.predictions(alone, in_rows)
