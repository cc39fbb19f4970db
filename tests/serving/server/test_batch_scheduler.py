"""Requests that share a batch get the answers that they would have got alone."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import urllib3

from serving.bundle.saved_model import SavedModel
from serving.errors import ServingError
from serving.server.batch_scheduler import Batcher
from serving.server.prometheus import Metrics
from serving.server.rest_server import RestServer
from serving.tfs_config.batching_config import BatchingConfig, read_batching_parameters
from serving.tfs_config.text_format import ServerConfigError
from tests.serving import rest_models

HOUR = 3_600_000_000  # in microseconds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signatures that show what they were given together: the size of the batch goes into the answer of `size`."""

    def wide(x: tf.Tensor, weight: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.reduce_sum(x, 1) * weight, "name": tf.strings.as_string(weight)}

    def joined(words: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"line": tf.strings.reduce_join(words, 1, separator="|")}

    def positive(x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x > 0), ["x must be positive"])]):
            return {"y": tf.identity(x)}

    floats, strings = rest_models.floats, rest_models.strings
    root = tmp_path_factory.mktemp("models")
    signatures: dict[str, Any] = {
        "serving_default": ({"x": floats(None, None), "weight": floats(None)}, wide),
        "size": ({"x": floats(None)}, lambda x: {"rows": tf.fill([tf.size(x)], tf.size(x))}),
        "joined": ({"words": strings(None, None)}, joined),
        "positive": ({"x": floats(None)}, positive),
        "sum": ({"x": floats(None)}, lambda x: {"total": tf.reduce_sum(x)}),
        "kept": ({"x": floats(None)}, lambda x: {"y": tf.boolean_mask(x, x > 0)}),
        "pair": ({"x": floats(2)}, lambda x: {"y": x * 2.0}),
        "any": ({"x": tf.TensorSpec(None)}, lambda x: {"y": x * 2.0}),
        "count": (
            {"x": tf.TensorSpec([None], tf.int32)},
            lambda x: {"y": tf.zeros_like(x) + tf.while_loop(lambda n: n < x[0], lambda n: (n + 1,), (0,))[0]},
        ),
    }
    rest_models.save(root / "many" / "1", signatures)
    return root / "many"


@pytest.fixture(scope="module")
def model(folder: Path) -> SavedModel:
    return SavedModel("many", 1, folder / "1")


Ask = Callable[..., list[Any]]


@pytest.fixture
def together(model: SavedModel) -> Iterator[Ask]:
    """Sends requests to a batcher at once and returns what each got: outputs by name as lists, or the error."""
    batchers: list[Batcher] = []

    def ask(signature: str, *requests: dict[str, Any], metrics: Metrics | None = None, **settings: Any) -> list[Any]:
        batcher = Batcher(BatchingConfig(**{"num_batch_threads": 1, **settings}), metrics)
        batchers.append(batcher)
        answers: list[queue.Queue[Any]] = [queue.Queue() for _ in requests]
        for request, answer in zip(requests, answers, strict=True):
            inputs = {name: np.asarray(value) for name, value in request.items()}
            try:
                batcher.submit(model, signature, inputs, answer.put)
            except ServingError as error:
                answer.put(error)
        # Only now, so that they have met, however slow this machine is.
        batcher.start()
        got = [answer.get(timeout=30) for answer in answers]
        return [
            outcome if isinstance(outcome, Exception) else {name: y.tolist() for name, y in outcome.items()}
            for outcome in got
        ]

    yield ask
    for batcher in batchers:
        batcher.stop()


def f(*values: Any) -> np.ndarray:
    return np.array(values, np.float32)


def words(*rows: list[bytes]) -> np.ndarray:
    return np.array(rows, object)


def test_requests_that_arrive_together_share_a_batch_and_keep_their_rows(together: Ask) -> None:
    assert together("size", {"x": f(1)}, {"x": f(1, 2)}, {"x": f(3)}) == [
        {"rows": [4]},
        {"rows": [4, 4]},
        {"rows": [4]},
    ]
    assert together("positive", {"x": f(1)}, {"x": f(3, 2)}) == [{"y": [1.0]}, {"y": [3.0, 2.0]}]


def test_a_full_batch_does_not_wait_and_the_next_one_takes_the_rest(together: Ask) -> None:
    sizes = together("size", *[{"x": f(1)}] * 8, max_batch_size=4, batch_timeout_micros=HOUR)
    assert sizes == [{"rows": [4]}] * 8
    # Three rows do not fit beside two of four: they are not torn apart.
    assert together("size", {"x": f(1, 2)}, {"x": f(1, 2, 3)}, max_batch_size=4) == [
        {"rows": [2, 2]},
        {"rows": [3, 3, 3]},
    ]


def test_a_batch_that_is_not_full_waits_for_company(model: SavedModel) -> None:
    batcher = Batcher(BatchingConfig(max_batch_size=2, batch_timeout_micros=HOUR, num_batch_threads=2))
    batcher.start()
    answers: queue.Queue[Any] = queue.Queue()
    for _ in range(2):
        batcher.submit(model, "size", {"x": f(1)}, answers.put)
        time.sleep(0.05)  # for threads that would not wait
    assert [answers.get(timeout=30)["rows"].tolist() for _ in range(2)] == [[2], [2]]
    batcher.stop()


def test_an_outcome_that_cannot_be_handed_over_concerns_nobody_else(
    model: SavedModel, caplog: pytest.LogCaptureFixture
) -> None:
    batcher = Batcher(BatchingConfig(num_batch_threads=1))
    outcomes: list[Any] = []

    def fail(outcome: Any) -> None:
        outcomes.append("the one that fails")
        raise RuntimeError("the loop is closed")

    answers: queue.Queue[Any] = queue.Queue()
    for done in (answers.put, fail, answers.put):
        batcher.submit(model, "size", {"x": f(1)}, done)
    batcher.start()
    assert [answers.get(timeout=30)["rows"].tolist() for _ in range(2)] == [[3], [3]]
    batcher.stop()
    assert (outcomes, answers.empty()) == (["the one that fails"], True)
    assert "An outcome could not be handed over" in caplog.text


def test_inner_shapes_that_differ_are_never_mixed(together: Ask) -> None:
    requests = [
        {"x": f([1, 2]), "weight": f(1)},
        {"x": f([1, 2, 3]), "weight": f(2)},
        {"x": f([3, 4]), "weight": f(10)},
    ]
    metrics = Metrics()
    assert [answer["y"] for answer in together("serving_default", *requests, metrics=metrics)] == [
        [3.0],
        [12.0],
        [70.0],
    ]
    assert ":tensorflow:serving:batching_session:wrapped_run_count{} 2" in metrics.page()


def test_lists_of_different_lengths_are_filled_up_only_when_the_file_asks_for_it(together: Ask) -> None:
    requests = [{"words": words([b"a"])}, {"words": words([b"b", b"c", b"d"])}]
    assert together("joined", *requests) == [{"line": [b"a"]}, {"line": [b"b|c|d"]}]
    padded = together("joined", *requests, pad_variable_length_inputs=True)
    assert padded == [{"line": [b"a||"]}, {"line": [b"b|c|d"]}]
    numbers = [{"x": f([1, 2]), "weight": f(1)}, {"x": f([1, 2, 3]), "weight": f(2)}]
    metrics = Metrics()
    answers = together("serving_default", *numbers, pad_variable_length_inputs=True, metrics=metrics)
    assert [answer["y"] for answer in answers] == [[3.0], [12.0]]
    assert ":tensorflow:serving:batching_session:wrapped_run_count{} 1" in metrics.page()


def test_a_request_that_the_graph_refuses_fails_alone(together: Ask) -> None:
    good, bad, last = together("positive", {"x": f(1)}, {"x": f(-1)}, {"x": f(2, 3)})
    assert (good, last) == ({"y": [1.0]}, {"y": [2.0, 3.0]})
    assert isinstance(bad, ServingError)
    assert "x must be positive" in bad.message


def test_what_cannot_share_a_batch_is_computed_alone(together: Ask, model: SavedModel) -> None:
    assert model.batchable == {"serving_default", "size", "joined", "positive", "kept", "any", "count"}
    assert together("sum", {"x": f(1)}, {"x": f(2)}) == [{"total": 1.0}, {"total": 2.0}]
    assert together("pair", {"x": f(1, 2)}, {"x": f(3, 4)}) == [{"y": [2.0, 4.0]}, {"y": [6.0, 8.0]}]
    assert together("any", {"x": f(1)}, {"x": np.float32(2)}, {"x": f(3)}) == [{"y": [2.0]}, {"y": 4.0}, {"y": [6.0]}]
    # The graph's own word about inputs that don't go together.
    (error,) = together("serving_default", {"x": f([1], [2]), "weight": f(1, 2, 3)})
    assert isinstance(error, ServingError)
    assert together("size", {"x": f()}) == [{"rows": []}]


def test_outputs_without_a_row_for_each_input_end_the_batching_of_their_signature(
    together: Ask, model: SavedModel, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [{"x": f(1, -1)}, {"x": f(2)}]
    assert together("kept", *requests) == [{"y": [1.0]}, {"y": [2.0]}]
    assert "kept of version 1 of many does not give an output row for each input row" in caplog.text
    assert "kept" not in model.batchable
    assert together("kept", *requests) == [{"y": [1.0]}, {"y": [2.0]}]
    model.batchable.add("kept")


def test_batches_are_filled_up_to_an_allowed_size(together: Ask) -> None:
    sizes: dict[str, Any] = {"max_batch_size": 8, "allowed_batch_sizes": (4, 8)}
    metrics = Metrics()
    assert together("size", {"x": f(1)}, {"x": f(1, 2)}, metrics=metrics, **sizes) == [{"rows": [4]}, {"rows": [4, 4]}]
    page = metrics.page()
    name = ":tensorflow:serving:batching_session:"
    assert f'{name}padding_size_sum{{execution_batch_size="4"}} 1' in page
    assert f"{name}processed_batch_size_sum{{}} 4" in page
    assert f"{name}input_batch_size_sum{{}} 3" in page
    assert f'{name}queuing_latency_count{{thread_pool_name="batch_threads"}} 2' in page
    # Copies of a row that the graph takes: no zero is made up.
    assert together("positive", {"x": f(3)}, **sizes) == [{"y": [3.0]}]


def test_a_request_larger_than_a_batch_is_refused(together: Ask) -> None:
    (error,) = together("size", {"x": f(1, 2, 3)}, max_batch_size=2)
    assert (error.code, error.message) == (
        "INVALID_ARGUMENT",
        "Task size 3 is larger than maximum input batch size 2",
    )


def test_a_full_queue_refuses_at_once_and_holds_up_no_other(model: SavedModel) -> None:
    config = BatchingConfig(max_batch_size=1, max_enqueued_batches=2, num_batch_threads=1)
    # Not started yet: whatever is sent waits.
    batcher = Batcher(config)
    answers: queue.Queue[Any] = queue.Queue()
    for _ in range(2):
        batcher.submit(model, "size", {"x": f(1)}, answers.put)
    with pytest.raises(ServingError, match=r"UNAVAILABLE: The batch scheduling queue .* is full"):
        batcher.submit(model, "size", {"x": f(1)}, answers.put)
    batcher.submit(model, "positive", {"x": f(1)}, answers.put)
    batcher.start()
    assert [len(answers.get(timeout=30)) for _ in range(3)] == [1, 1, 1]
    batcher.submit(model, "size", {"x": f(1)}, answers.put)
    assert answers.get(timeout=30)["rows"].tolist() == [1]
    batcher.stop()


def test_requests_of_many_shapes_fill_a_queue_no_sooner(model: SavedModel) -> None:
    batcher = Batcher(BatchingConfig(max_batch_size=4, max_enqueued_batches=2, num_batch_threads=1))
    answers: queue.Queue[Any] = queue.Queue()
    for width in range(1, 9):
        batcher.submit(model, "serving_default", {"x": np.ones((1, width), np.float32), "weight": f(1)}, answers.put)
    with pytest.raises(ServingError, match="is full"):
        batcher.submit(model, "serving_default", {"x": np.ones((1, 9), np.float32), "weight": f(1)}, answers.put)
    batcher.start()
    assert sorted(answers.get(timeout=30)["y"].item() for _ in range(8)) == [1, 2, 3, 4, 5, 6, 7, 8]
    batcher.stop()


def test_a_request_that_waited_too_long_is_not_computed(model: SavedModel) -> None:
    batcher = Batcher(BatchingConfig(num_batch_threads=1), timeout_seconds=0.05)
    answers: queue.Queue[Any] = queue.Queue()
    batcher.submit(model, "size", {"x": f(1)}, answers.put)
    time.sleep(0.1)
    batcher.start()
    assert answers.get(timeout=30).code == "DEADLINE_EXCEEDED"
    batcher.stop()


@pytest.mark.parametrize("batching", [None, BatchingConfig(), BatchingConfig(pad_variable_length_inputs=True)])
def test_the_server_answers_byte_for_byte_as_without_batching(folder: Path, batching: BatchingConfig | None) -> None:
    bodies: list[Any] = []
    for row in range(1, 40):
        values = [float(n) for n in range(row % 3 + 1)]
        bodies += [
            {"instances": [{"x": values, "weight": 0.1 * row}]},
            {"signature_name": "positive", "instances": [row / 7, row / 3]},
            {"signature_name": "positive", "instances": [row / 7, -1.0]},
            {"signature_name": "positive", "inputs": [1e30 * row]},
            {"signature_name": "sum", "inputs": [row, 1]},
            {"signature_name": "kept", "instances": [1.0, -float(row)]},
            {"signature_name": "nobody", "instances": [1.0]},
            {"signature_name": "positive", "instances": ["x" * 20_000 if row % 5 == 0 else row]},
        ]
    with RestServer({"many": folder}) as server, ThreadPoolExecutor(1) as executor:
        expected = list(executor.map(lambda body: post(server, body), bodies))
    with RestServer({"many": folder}, batching=batching) as server, ThreadPoolExecutor(24) as clients:
        assert list(clients.map(lambda body: post(server, body), bodies)) == expected


def post(server: RestServer, body: Any, version: str = "") -> tuple[int, bytes]:
    url = f"{server.url}/v1/models/many{version}:predict"
    response = urllib3.request("POST", url, body=json.dumps(body).encode(), retries=False, timeout=60)
    return response.status, response.data


def test_a_busy_batch_queue_is_an_honest_503(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Batcher.start
    monkeypatch.setattr(Batcher, "start", lambda batcher: None)  # as if its threads were all at work
    config = BatchingConfig(max_batch_size=1, max_enqueued_batches=1, num_batch_threads=1)
    request = {"signature_name": "size", "instances": [1.0]}
    with RestServer({"many": folder}, batching=config) as server, ThreadPoolExecutor(1) as clients:
        assert server._batcher is not None
        waiting = clients.submit(post, server, request)
        while not server._batcher._waiting:
            time.sleep(0.001)
        status, body = post(server, request)
        assert status == 503
        assert json.loads(body) == {"error": "The batch scheduling queue to which this task was submitted is full"}
        start(server._batcher)
        assert waiting.result(timeout=60)[0] == 200
        assert post(server, request)[0] == 200


def test_requests_in_a_batch_end_before_the_server_does(folder: Path) -> None:
    statuses: list[int] = []
    slow = {"signature_name": "count", "instances": [20_000]}
    with RestServer({"many": folder}, batching=BatchingConfig()) as server:
        threads = [threading.Thread(target=lambda: statuses.append(post(server, slow)[0])) for _ in range(4)]
        for thread in threads:
            thread.start()
        while server._admission.pending < 4 and len(statuses) < 4:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4


def test_a_batching_file_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "batching.config"
    file.write_text(
        "max_batch_size { value: 128 } batch_timeout_micros { value: 500 } max_enqueued_batches { value: 7 }\n"
        "num_batch_threads { value: 3 } thread_pool_name { value: 'rows' } # a remark\n"
        "allowed_batch_sizes: [32, 128] pad_variable_length_inputs: true\n"
    )
    assert read_batching_parameters(file) == BatchingConfig(128, 500, 7, 3, "rows", (32, 128), True)
    file.write_text("")
    assert read_batching_parameters(file) == BatchingConfig()
    assert BatchingConfig(128, allowed_batch_sizes=(32, 128)).rounded(33) == 128


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("max_batch_size: 3", "must be a BatchingParameters in text form. At line:column 1:"),
        ("max_batch { value: 3 }", "must be a BatchingParameters in text form"),
        ("max_batch_size { value: 0 }", "`max_batch_size` must be at least 1. Received: 0."),
        ("num_batch_threads { value: -1 }", "`num_batch_threads` must be at least 1"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "must be `max_batch_size`, 8. Received: \\[4\\]"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: [8, 4]", "must be positive and rise"),
        (None, "must be a readable text file"),
    ],
)
def test_a_batching_file_that_cannot_be_used_is_explained(tmp_path: Path, text: str | None, rule: str) -> None:
    file = tmp_path / "batching.config"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ServerConfigError, match=rule) as caught:
        read_batching_parameters(file)
    assert str(file) in str(caught.value)
