"""When a batch begins and how it ends: beside another one, at a swap of versions, and when its time is up."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from serving.bundle.saved_model import SavedModel
from serving.server.batch_scheduler import Batcher
from serving.server.prometheus import Metrics
from serving.tfs_config.batching_config import BatchingConfig
from tests.serving import rest_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`size` answers with the size of the batch, `same` with what it was given."""
    floats, root = rest_models.floats, tmp_path_factory.mktemp("models")
    signatures: dict[str, Any] = {
        "size": ({"x": floats(None)}, lambda x: {"rows": tf.fill([tf.size(x)], tf.size(x))}),
        "same": ({"x": floats(None)}, lambda x: {"y": tf.identity(x)}),
    }
    rest_models.save(root / "1", signatures)
    return root


@pytest.fixture(scope="module")
def model(folder: Path) -> SavedModel:
    return SavedModel("many", 1, folder / "1")


def f(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_what_arrives_while_a_batch_computes_goes_together_and_holds_up_no_other(
    model: SavedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, began, go_on = model.run, threading.Event(), threading.Event()

    def held(signature: str, inputs: Any) -> Any:
        if signature == "size":
            began.set()
            assert go_on.wait(30)
        return run(signature, inputs)

    monkeypatch.setattr(model, "run", held)
    metrics = Metrics()
    batcher = Batcher(BatchingConfig(num_batch_threads=2, max_batch_size=3), metrics)
    batcher.start()
    answers: queue.Queue[Any] = queue.Queue()
    batcher.submit(model, "size", {"x": f(1)}, answers.put)
    assert began.wait(30)
    for _ in range(2):
        batcher.submit(model, "size", {"x": f(1)}, answers.put)
    # Of another kind: the other thread takes it at once.
    batcher.submit(model, "same", {"x": f(1)}, answers.put)
    assert answers.get(timeout=30)["y"].tolist() == [1.0]
    go_on.set()
    assert [answers.get(timeout=30)["rows"].tolist() for _ in range(3)] == [[1], [2], [2]]
    began.clear()
    go_on.clear()
    batcher.submit(model, "size", {"x": f(1)}, answers.put)
    assert began.wait(30)
    began.clear()
    for _ in range(3):
        batcher.submit(model, "size", {"x": f(1)}, answers.put)
    assert began.wait(30), "a full batch waits for nobody"
    go_on.set()
    assert sorted(answers.get(timeout=30)["rows"].tolist() for _ in range(4)) == [[1], [3], [3], [3]]
    batcher.stop()
    assert not batcher._computing
    assert ":tensorflow:serving:batching_session:wrapped_run_count{} 5" in metrics.page()


def test_a_swap_between_two_requests_parts_them(folder: Path, model: SavedModel) -> None:
    metrics, answers, closed = Metrics(), queue.Queue[Any](), threading.Event()
    batcher = Batcher(BatchingConfig(num_batch_threads=1), metrics)
    new = SavedModel("many", 2, folder / "1")
    for version in (new, model, new):
        assert version.acquire()
        batcher.submit(version, "size", {"x": f(1)}, lambda got, version=version: answers.put((version, got)))
    # Out of service while its requests wait: they are computed, and then it is closed.
    new.retire(closed.set)
    batcher.start()
    sizes = []
    for _ in range(3):
        version, got = answers.get(timeout=30)
        version.release()
        sizes.append((version.version, got["rows"].tolist()))
    assert sorted(sizes) == [(1, [1]), (2, [2]), (2, [2])]
    assert closed.wait(30)
    batcher.stop()
    assert ":tensorflow:serving:batching_session:wrapped_run_count{} 2" in metrics.page()


def test_when_the_time_of_a_batch_is_up_it_is_up_for_each_of_its_requests(tmp_path: Path) -> None:
    def multiply(x: tf.Tensor) -> dict[str, tf.Tensor]:
        square = tf.fill([1500, 1500], tf.reduce_sum(x))
        return {"y": x + tf.reduce_sum(square @ square)}

    rest_models.save(tmp_path / "1", {"serving_default": ({"x": rest_models.floats(None)}, multiply)})
    slow = SavedModel("slow", 1, tmp_path / "1", timeout_ms=1)
    batcher, answers = Batcher(BatchingConfig(num_batch_threads=1)), queue.Queue[Any]()
    for _ in range(2):
        batcher.submit(slow, "serving_default", {"x": f(1)}, answers.put)
    batcher.start()
    assert [answers.get(timeout=30).code for _ in range(2)] == ["DEADLINE_EXCEEDED"] * 2
    batcher.stop()
    assert SavedModel("slow", 1, tmp_path / "1", timeout_ms=0).run("", {"x": f(0)})["y"].tolist() == [0.0]


def test_only_a_graph_that_may_go_on_for_ever_is_given_to_other_threads(model: SavedModel, tmp_path: Path) -> None:
    def count(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": tf.while_loop(lambda n: n < x[0], lambda n: (n + 1.0,), (0.0,))[0][None]}

    rest_models.save(tmp_path / "1", {"serving_default": ({"x": rest_models.floats(None)}, count)})
    assert SavedModel("counts", 1, tmp_path / "1")._loops
    assert not model._loops
