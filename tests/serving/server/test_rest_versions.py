"""How versions come into service and leave it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import urllib3
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.bundle.saved_model import WARMUP_FILE
from serving.load_test import run_load_test
from serving.server.rest_server import RestServer
from serving.tfs_config.batching_config import BatchingConfig
from serving.tfs_config.model_config import Latest, ModelConfig, ModelConfigError, Specific, read_models_config
from tests.serving import rest_models


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rest_models.half_plus(tmp_path / "half" / "1", 1)
    return tmp_path


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 to 6 of a recommender, each with its number in every title."""
    folder = tmp_path_factory.mktemp("staged")
    for version in range(1, 7):
        rest_models.recommender(folder / str(version), stamp=str(version))
    return folder


def serve(models: Any, **settings: Any) -> RestServer:
    return RestServer(models, poll_seconds=0.05, **settings)


def predict(server: RestServer, path: str = "half") -> Any:
    response = urllib3.request("POST", f"{server.url}/v1/models/{path}:predict", json={"instances": [2.0]})
    return response.json().get("predictions", response.status)


def states(server: RestServer, name: str = "half") -> dict[int, str]:
    return {status.version: status.state for status in server.manager.status(name)}


def eventually(check: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def push(staged: Path, version: Path) -> None:
    """As the pusher does it: written beside under a name that is not a number, then renamed."""
    beside = version.parent / f"tmp-{version.name}"
    shutil.copytree(staged, beside)
    os.rename(beside, version)


def test_a_new_version_replaces_the_old_one(root: Path) -> None:
    with serve({"half": root / "half"}) as server:
        assert predict(server) == [2.0]
        rest_models.half_plus(root / "half" / "tmp-2", 20)
        server.manager.poll()
        assert states(server) == {1: "AVAILABLE"}
        os.rename(root / "half" / "tmp-2", root / "half" / "2")
        eventually(lambda: states(server) == {2: "AVAILABLE", 1: "END"})
        assert predict(server) == [21.0]
        assert predict(server, "half/versions/1") == 404


@pytest.mark.parametrize("batching", [None, BatchingConfig()], ids=["alone", "batched"])
def test_twenty_swaps_under_load_fail_no_request_and_mix_no_versions(
    tmp_path: Path, staged: Path, batching: BatchingConfig | None
) -> None:
    folder = tmp_path / "shop"
    push(staged / "1", folder / "1")
    mixed: list[Any] = []
    body = {"instances": [{"user_id": "u", "history": ["i2"]}] * 2}
    reports = []

    def look(server: RestServer, done: threading.Event) -> None:
        pool = urllib3.PoolManager()
        while not done.is_set():
            response = pool.request("POST", f"{server.url}/v1/models/shop:predict", json=body, retries=False)
            titles = [title for row in response.json()["predictions"] for title in row["titles"]]
            stamps = {title.split()[1] for title in titles if title}
            if len(stamps) != 1:
                mixed.append(titles)
        pool.clear()

    with serve({"shop": folder}, batching=batching) as server:
        done = threading.Event()
        looker = threading.Thread(target=look, args=(server, done))
        url = f"{server.url}/v1/models/shop:predict"
        load = threading.Thread(target=lambda: reports.append(run_load_test(url, [body], 50, 6)))
        looker.start()
        load.start()
        for version in range(2, 21):
            push(staged / str(version % 6 + 1), folder / str(version))
            time.sleep(0.2)
        load.join()
        done.set()
        looker.join()
        eventually(lambda: states(server, "shop")[20] == "AVAILABLE")
    assert reports[0].errors == {}
    assert reports[0].answered == 300
    assert mixed == []


def test_a_broken_version_replaces_nothing_and_is_tried_again_once_repaired(root: Path) -> None:
    broken = root / "half" / "2"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"not a saved model")
    with serve({"half": root / "half"}) as server:
        assert predict(server) == 404
        assert states(server) == {2: "LOADING"}
        (status,) = server.manager.status("half")
        assert status.error_code == "INVALID_ARGUMENT"
        assert str(broken) in status.error_message
        shutil.rmtree(broken)
        eventually(lambda: predict(server) == [2.0])
        shutil.copytree(root / "half" / "1", broken)
        (broken / "saved_model.pb").write_bytes(b"cut o")
        eventually(lambda: states(server).get(2) == "LOADING")
        assert predict(server) == [2.0]
        shutil.copy(root / "half" / "1" / "saved_model.pb", broken)
        eventually(lambda: states(server) == {2: "AVAILABLE", 1: "END"})


def test_a_version_that_stays_broken_is_given_up(root: Path) -> None:
    (root / "half" / "2").mkdir()
    (root / "half" / "2" / "saved_model.pb").write_bytes(b"not a saved model")
    with serve([ModelConfig("half", root / "half", Latest(2))], load_retry_seconds=0.0) as server:
        eventually(lambda: states(server) == {2: "END", 1: "AVAILABLE"})
        attempts = ':load_attempt_count{model_path="' + str(root / "half" / "2") + '",status="INVALID_ARGUMENT"} '
        assert attempts + "6" in server.metrics.page()
        server.manager.poll()
        assert attempts + "6" in server.metrics.page()


def test_a_folder_without_its_saved_model_is_no_version_yet(root: Path) -> None:
    for name in ("3", "-4", "5x", " 6", "99999999999999999999"):
        (root / "half" / name).mkdir()
    shutil.copytree(root / "half" / "1" / "variables", root / "half" / "3" / "variables")
    with serve({"half": root / "half"}) as server:
        assert states(server) == {1: "AVAILABLE"}
        shutil.copy(root / "half" / "1" / "saved_model.pb", root / "half" / "3")
        eventually(lambda: states(server) == {3: "AVAILABLE", 1: "END"})


def test_the_version_goes_back_when_the_newest_is_taken_away(root: Path) -> None:
    rest_models.half_plus(root / "half" / "2", 20)
    with serve({"half": root / "half"}) as server:
        assert states(server) == {2: "AVAILABLE"}
        os.rename(root / "half" / "2", root / "half" / "revoked-2")
        eventually(lambda: states(server) == {1: "AVAILABLE", 2: "END"})
        assert predict(server) == [2.0]
        os.rename(root / "half" / "revoked-2", root / "half" / "2")
        eventually(lambda: states(server) == {2: "AVAILABLE", 1: "END"})


def test_what_is_loaded_stays_when_the_disk_goes_away(root: Path) -> None:
    with serve({"half": root / "half"}) as server:
        os.rename(root / "half", root / "elsewhere")
        server.manager.poll()
        assert predict(server) == [2.0]
        os.rename(root / "elsewhere", root / "half")
        rest_models.half_plus(root / "half" / "2", 20)
        eventually(lambda: predict(server) == [21.0])


def test_an_old_version_leaves_after_its_last_request(root: Path) -> None:
    with serve({"half": root / "half"}) as server:
        with server.manager.use("half") as model:  # as a request does while it computes
            rest_models.half_plus(root / "half" / "tmp-2", 20)
            os.rename(root / "half" / "tmp-2", root / "half" / "2")
            eventually(lambda: states(server) == {2: "AVAILABLE", 1: "UNLOADING"})
            assert predict(server) == [21.0]
            assert predict(server, "half/versions/1") == 404
            assert model.run("", {"x": np.float32([2.0])})["y"].tolist() == [2.0]
            assert states(server)[1] == "UNLOADING"
        eventually(lambda: states(server)[1] == "END")


def test_recorded_warmup_requests_decide_whether_a_version_is_fit(root: Path) -> None:
    def record(path: Path, *values: float) -> None:
        request = predict_pb2.PredictRequest()
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(values))
        log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
        (path / WARMUP_FILE).parent.mkdir()
        with tf.io.TFRecordWriter(str(path / WARMUP_FILE)) as writer:
            writer.write(log.SerializeToString())

    versions = rest_models.catalogue(root / "many" / "1").parent
    shutil.copytree(versions / "1", versions / "tmp")
    record(versions / "tmp", 1.0)
    with serve({"half": root / "half"}) as server:
        rest_models.half_plus(root / "half" / "tmp", 20)
        record(root / "half" / "tmp", 1.0, 2.0)
        os.rename(root / "half" / "tmp", root / "half" / "2")
        eventually(lambda: states(server) == {2: "AVAILABLE", 1: "END"})
        # This model has no serving_default to send the request to.
        os.rename(versions / "tmp", root / "half" / "3")
        eventually(lambda: states(server).get(3) == "LOADING")
        eventually(lambda: '"serving_default" not found' in server.manager.status("half", 3)[0].error_message)
        assert predict(server) == [21.0]


CONFIG = """
model_config_list {{
  config {{
    name: 'half'  base_path: '{root}/half'  model_platform: 'tensorflow'
    model_version_policy {{ {policy} }}
    version_labels {{ key: 'stable' value: {stable} }}
  }}
}}
"""


def test_a_models_config_is_read_again_when_it_changes(root: Path) -> None:
    rest_models.half_plus(root / "half" / "2", 20)
    file = root / "models.config"
    file.write_text(CONFIG.format(root=root, policy="all {}", stable=1))
    with serve(file) as server:
        assert states(server) == {2: "AVAILABLE", 1: "AVAILABLE"}
        assert predict(server, "half/labels/stable") == [2.0]
        file.write_text("model_config_list { oops")
        server.manager.poll()
        assert predict(server) == [21.0]
        file.write_text(CONFIG.format(root=root, policy="specific { versions: 1 }", stable=1))
        eventually(lambda: states(server) == {2: "END", 1: "AVAILABLE"})
        assert predict(server, "half/labels/stable") == [2.0]
        file.write_text("model_config_list {}")
        eventually(lambda: states(server) == {2: "END", 1: "END"})


def test_a_label_moves_once_its_version_is_in_service_and_is_told_to_wait_until_then(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = root / "models.config"
    file.write_text(CONFIG.format(root=root, policy="specific { versions: 1 }", stable=1))
    with serve(file) as server:
        # Neither a version that is not there yet, nor one that the policy leaves out, nor one that can't be loaded.
        file.write_text(CONFIG.format(root=root, policy="specific { versions: 22 }", stable=22))
        eventually(lambda: "Label stable of half must name a version that is loaded. Received: 22." in caplog.text)
        (root / "half" / "22").mkdir()
        (root / "half" / "22" / "saved_model.pb").write_bytes(b"cut o")
        eventually(lambda: 22 in states(server))
        assert predict(server, "half/labels/stable") == [2.0]
        assert caplog.text.count("It stays at 1 until 22 is in service") == 1
        shutil.copytree(root / "half" / "1", root / "half" / "22", dirs_exist_ok=True)
        eventually(lambda: states(server) == {22: "AVAILABLE", 1: "END"})
        file.write_text(CONFIG.format(root=root, policy="specific { versions: 22 }", stable=1))
        eventually(lambda: "Received: 1. It stays at 22" in caplog.text)
        assert predict(server, "half/labels/stable") == [2.0]
        file.write_text("model_config_list {}")
        eventually(lambda: predict(server, "half/labels/stable") == 400)


def test_no_request_fails_while_a_label_goes_to_a_version_that_was_just_pushed(root: Path, staged: Path) -> None:
    shutil.copytree(staged, root / "shop", ignore=lambda path, names: {name for name in names if name in "23456"})
    file, body = root / "models.config", {"instances": [{"user_id": "u", "history": ["i2"]}]}

    def label(version: int) -> None:
        text = CONFIG.format(root=root, policy=f"specific {{ versions: {version} }}", stable=version)
        (root / "new.config").write_text(text.replace("half", "shop"))
        os.replace(root / "new.config", file)

    label(1)
    reports = []
    with serve(file) as server:
        url = f"{server.url}/v1/models/shop/labels/stable:predict"
        load = threading.Thread(target=lambda: reports.append(run_load_test(url, [body], 100, 3)))
        load.start()
        for version in range(2, 7):
            label(version)  # before it is there
            push(staged / str(version), root / "shop" / str(version))
            eventually(lambda new=version: states(server, "shop").get(new) == "AVAILABLE")
            # The label goes back and the version leaves, in this order and at once.
            label(version - 1)
            os.rename(root / "shop" / str(version), root / "shop" / f"gone-{version}")
            os.rename(root / "shop" / f"gone-{version}", root / "shop" / str(version))
            label(version)
        load.join()
    assert (reports[0].errors, reports[0].answered) == ({}, 300)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("model_config_list { config { name: 'a' } }", "must have a `name` and a `base_path`"),
        ("model_config_list { config { name: 'a' base_path: '/a' model_platform: 'caffe' } }", "must be 'tensorflow'"),
        ("model_config_list { config { nam: 'a' } }", "must be a ModelServerConfig in text form. At line:column 1:"),
        ("custom_model_config {}", "must hold a `model_config_list`"),
        ("model_config_list { " + "config { name: 'a' base_path: '/a' }" * 2 + " }", "must name each model once"),
        (None, "must be a readable text file"),
    ],
)
def test_a_models_config_that_cannot_be_used_is_explained(tmp_path: Path, text: str | None, rule: str) -> None:
    file = tmp_path / "models.config"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ModelConfigError, match=rule):
        read_models_config(file)


def test_a_models_config_is_read_whole(root: Path) -> None:
    file = root / "models.config"
    file.write_text(CONFIG.format(root=root, policy="specific { versions: 3 versions: 4 }", stable=3))
    (config,) = read_models_config(file)
    assert config == ModelConfig("half", root / "half", Specific(frozenset((3, 4))), {"stable": 3})
    file.write_text(CONFIG.format(root=root, policy="latest { num_versions: 2 }", stable=3))
    assert read_models_config(file)[0].policy.select([1, 5, 3]) == {3, 5}
    file.write_text(CONFIG.format(root=root, policy="", stable=3))
    assert read_models_config(file)[0].policy.select([1, 5, 3]) == {5}


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert not [name for name in left if name.startswith(("rest", "model-manager"))]
