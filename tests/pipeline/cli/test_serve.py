"""`warmspan serve` with the files and flags of TensorFlow Serving."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
from typer.testing import CliRunner

from components.span_pusher.version_labels import write_labels
from pipeline.cli.app import app
from tests.pipeline.conftest import settings
from tests.serving import rest_models

REPOSITORY = Path(__file__).resolve().parents[3]
MAIN = "import logging; logging.basicConfig(level=20); from pipeline.cli import main; main()"


@contextmanager
def serve(*flags: str) -> Iterator[str]:
    """The address of `warmspan serve` in a process of its own, ended as an operator ends it."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "serve", "--port", "0", *flags], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    url = next((line.split()[-1] for line in process.stderr if "Serving on " in line), "")
    try:
        assert url
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_several_models_from_the_servers_own_files(tmp_path: Path) -> None:
    for name, constant in (("one", 1), ("two", 2)):
        rest_models.half_plus(tmp_path / name / "1", constant)
        rest_models.half_plus(tmp_path / name / "2", constant + 10)
    models, batching, monitoring = (tmp_path / f"{name}.config" for name in ("models", "batching", "monitoring"))
    models.write_text(
        f"model_config_list {{ config {{ name: 'one' base_path: '{tmp_path}/one' model_version_policy {{ all {{}} }}"
        " version_labels { key: 'stable' value: 1 } version_labels { key: 'canary' value: 2 } }"
        f" config {{ name: 'two' base_path: '{tmp_path}/two' }} }}"
    )
    batching.write_text("max_batch_size { value: 8 }  thread_pool_name { value: 'mine' }")
    monitoring.write_text("prometheus_config { enable: true path: '/metrics' }")
    with serve(
        *(f"--model_config_file={models}", "--enable_batching", f"--batching_parameters_file={batching}"),
        *(f"--monitoring-config-file={monitoring}", "--rest_api_enable_cors_support"),
    ) as url:
        assert url.startswith("http://127.0.0.1:")

        def predict(path: str) -> object:
            response = urllib3.request("POST", f"{url}/v1/models/{path}:predict", json={"instances": [2.0]})
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            return response.json()["predictions"]

        assert predict("one/labels/stable") == [2.0]
        assert predict("one/labels/canary") == [12.0]
        assert predict("two") == [13.0]
        page = urllib3.request("GET", f"{url}/metrics").data.decode()
        assert 'batching_session:queuing_latency_count{thread_pool_name="mine"} 3' in page
        assert 'model_warmup_latency_count{model_path="' + str(tmp_path / "one" / "1") + '",status="OK"} 1' in page
        assert urllib3.request("GET", f"{url}/monitoring/prometheus/metrics").status == 404


def test_the_labels_that_were_given_are_served(tmp_path: Path) -> None:
    config = settings(tmp_path)
    for version, constant in ((1, 1), (2, 11)):
        rest_models.half_plus(config.serving_path / str(version), constant)
    write_labels(config.models_config_path, config.name, config.serving_path, {"stable": 1, "canary": 2})
    with serve("--config", str(tmp_path / "warmspan.yaml")) as url:
        for label, expected in (("stable", [2.0]), ("canary", [12.0])):
            path = f"{url}/v1/models/{config.name}/labels/{label}:predict"
            assert urllib3.request("POST", path, json={"instances": [2.0]}).json() == {"predictions": expected}


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (["--batching_parameters_file", "b"], "`--batching_parameters_file` must come with `--enable_batching`"),
        (["--enable_batching", "--batching_parameters_file", "no"], "must be a readable text file"),
        (["--monitoring_config_file", "no"], "must be a readable text file"),
    ],
)
def test_files_that_cannot_be_used_are_a_sentence(tmp_path: Path, flags: list[str], rule: str) -> None:
    models = tmp_path / "models.config"
    models.write_text("model_config_list {}")
    ran = CliRunner().invoke(app, ["serve", "--model_config_file", str(models), *flags])
    assert ran.exit_code == 1
    assert rule in ran.output
    missing = CliRunner().invoke(app, ["serve", "--model_config_file", str(tmp_path / "no")])
    assert missing.exit_code == 1
    assert "must be a readable text file" in missing.output
