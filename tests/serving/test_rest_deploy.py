"""The files for the official server agree with each other and with what warmspan pushes."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from serving.metrics import PROMETHEUS_PATH
from serving.model_config import Latest, read_models_config
from serving.rest_server import DEFAULT_PORT

DEPLOY = Path(__file__).resolve().parents[2] / "serving" / "deploy"


def test_the_compose_file_mounts_what_its_flags_name() -> None:
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["serving"]
    flags = dict(flag.removeprefix("--").split("=") for flag in service["command"])
    mounts = {volume.split(":")[-2]: volume for volume in service["volumes"]}
    for flag in ("model_config_file", "monitoring_config_file"):
        path = Path(flags[flag])
        assert str(path.parent) in mounts
        assert (DEPLOY / path.name).is_file()
    assert all(volume.endswith(":ro") for volume in service["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert flags["rest_api_port"] == str(DEFAULT_PORT)
    (config,) = read_models_config(DEPLOY / "models.config")
    assert str(config.base_path.parent) in mounts
    assert config.base_path.name == config.name
    assert config.policy == Latest(1)


def test_the_official_server_shows_its_metrics_where_ours_does() -> None:
    text = (DEPLOY / "monitoring.config").read_text()
    assert re.search(r"enable: true", text)
    assert f"path: '{PROMETHEUS_PATH}'" in text
