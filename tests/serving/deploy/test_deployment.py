"""The files for the official server: each is read by the tool or the schema that it is for, where that is installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from serving.deploy.deployment import DeployError, Deployment, check_paths, deployment_files, write_files
from serving.deploy.grafana_dashboard import expressions, grafana_board
from serving.server.prometheus import Metrics
from serving.server.rest_server import DEFAULT_PORT
from serving.tfs_config.batching_config import read_batching_parameters
from serving.tfs_config.monitoring_config import PROMETHEUS_PATH, monitoring_option
from serving.tfs_config.text_format import ServerConfigError


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "serving"
    folder.mkdir()
    return folder


@pytest.fixture
def out(served: Path, tmp_path: Path) -> Path:
    write_files(deployment_files(Deployment("Shop_1", served)), tmp_path / "out")
    return tmp_path / "out"


def tool(name: str) -> str:
    """The path of a checking program, or a skip with the reason."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"the program {name!r} is not installed")
    return path


def check(*command: str | Path) -> str:
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_servers_configs_are_read_by_its_own_parser(out: Path) -> None:
    batching = read_batching_parameters(out / "config" / "batching.config")
    assert batching.pad_variable_length_inputs
    assert batching.max_batch_size == 64
    assert monitoring_option(out / "config" / "monitoring.config") == PROMETHEUS_PATH


def test_what_the_server_cannot_reach_is_named(served: Path) -> None:
    def models(*paths: object) -> None:
        entries = "".join(f"config {{ name: '{number}' base_path: '{path}' }}" for number, path in enumerate(paths))
        (served / "models.config").write_text(f"model_config_list {{ {entries} }}")

    models(served / "Shop_1", served / "other")
    check_paths(Deployment("Shop_1", served))
    models(served / "Shop_1", "/models/Shop_1")
    with pytest.raises(DeployError, match=rf"must lie in {served}, .* Received: /models/Shop_1\. Correct it there"):
        check_paths(Deployment("Shop_1", served))
    (served / "models.config").write_text("oops")
    with pytest.raises(DeployError, match="must be a ModelServerConfig in text form"):
        check_paths(Deployment("Shop_1", served))


def test_the_compose_file_fits_the_compose_specification(out: Path) -> None:
    program = tool("check-jsonschema")
    check(program, "--builtin-schema", "vendor.compose-spec", out / "compose.yaml")


def test_the_kubernetes_manifests_fit_its_schemas(out: Path) -> None:
    program = tool("kubernetes-validate")
    check(program, "--strict", out / "kubernetes.yaml")


def test_prometheus_takes_its_config_and_every_expression_of_the_board(out: Path, tmp_path: Path) -> None:
    program = tool("promtool")
    check(program, "check", "config", out / "prometheus.yml")
    board = json.loads((out / "grafana" / "dashboards" / "serving.json").read_text())
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions(board))
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    assert f"{len(rules)} rules found" in check(program, "check", "rules", file)


def test_prometheus_reads_our_own_metrics() -> None:
    program = tool("promtool")
    metrics = Metrics()
    metrics.request_count.add("shop", "OK")
    metrics.request_latency.observe(10.0, "shop", "predict", "REST")
    metrics.processed_batch_size.observe(3)
    metrics.wrapped_run_count.add()
    # Its advice is for new names; these are TF Serving's. What it can't parse it calls an error.
    ran = subprocess.run([program, "check", "metrics"], input=metrics.page(), capture_output=True, text=True)
    assert "error while linting" not in ran.stderr
    assert ran.returncode in (0, 3), ran.stderr


def test_the_board_shows_only_metrics_that_there_are() -> None:
    board = grafana_board("shop")
    printed = {line.split()[2] for line in Metrics().page().splitlines() if line.startswith("# TYPE")}
    for expression in expressions(board):
        for metric in re.findall(r":tensorflow:[a-z_:]+", expression):
            assert re.sub("_(bucket|sum|count)$", "", metric) in printed or metric in printed
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) == 8
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["datasource"]["uid"] == "prometheus"
        place = panel["gridPos"]
        assert 0 <= place["x"] <= 24 - place["w"]


def test_grafana_is_given_the_source_that_the_board_asks_and_the_folder_that_it_lies_in(out: Path) -> None:
    provisioning = out / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert (source["uid"], source["type"]) == ("prometheus", "prometheus")
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "warmspan.yaml").read_text())["providers"]
    compose = yaml.safe_load((out / "compose.yaml").read_text())
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    assert provider["options"]["path"] == mounts["./grafana/dashboards"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    assert source["url"].split("/")[2].split(":")[0] in compose["services"]
    assert source["url"].endswith(":9090")


def test_every_file_agrees_with_the_flags(out: Path, served: Path) -> None:
    flags = dict(flag.removeprefix("--").split("=") for flag in Deployment("Shop_1", served).flags)
    assert flags["rest_api_port"] == str(DEFAULT_PORT)
    # The file that the labels are moved in, under the path that it has on this side.
    assert flags["model_config_file"] == str(served / "models.config")
    for flag in ("monitoring_config_file", "batching_parameters_file"):
        assert (out / "config" / Path(flags[flag]).name).is_file()
    compose = yaml.safe_load((out / "compose.yaml").read_text())
    serving = compose["services"]["serving"]
    assert tuple(serving["command"]) == Deployment("Shop_1", served).flags
    mounts = {volume["target"]: volume for volume in serving["volumes"]}
    assert mounts[str(served)]["source"] == str(served)
    assert mounts["/config"]["source"] == "./config"
    assert all(volume["read_only"] for volume in serving["volumes"])
    assert all(port.startswith("127.0.0.1:") for service in compose["services"].values() for port in service["ports"])
    config_map, _, deployment, service = yaml.safe_load_all((out / "kubernetes.yaml").read_text())
    for name, text in config_map["data"].items():
        assert text.strip() == (out / "config" / name).read_text().strip()
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert tuple(container["args"]) == Deployment("Shop_1", served).flags
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {str(served), "/config"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/v1/models/Shop_1/metadata"
    assert pod["metadata"]["annotations"]["prometheus.io/path"] == PROMETHEUS_PATH
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (job,) = yaml.safe_load((out / "prometheus.yml").read_text())["scrape_configs"]
    assert job["metrics_path"] == PROMETHEUS_PATH
    assert job["static_configs"][0]["targets"] == [f"serving:{flags['rest_api_port']}"]


def test_a_folder_with_a_strange_name_is_mounted_as_it_is(tmp_path: Path) -> None:
    strange = tmp_path / 'a $b "c": $(d)'
    files = deployment_files(Deployment("shop", strange))
    serving = yaml.safe_load(files["compose.yaml"])["services"]["serving"]
    assert {serving["volumes"][0][end].replace("$$", "$") for end in ("source", "target")} == {str(strange)}
    assert f"--model_config_file={strange}/models.config" in [flag.replace("$$", "$") for flag in serving["command"]]
    _, _, deployment, _ = yaml.safe_load_all(files["kubernetes.yaml"])
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["volumeMounts"][0]["mountPath"] == str(strange)
    assert f"--model_config_file={strange}/models.config" in [arg.replace("$$(", "$(") for arg in container["args"]]


def test_what_is_there_is_not_written_over_unless_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_files({"a": "1", "b/c": "2"}, out)
    # The same again changes nothing, and is no reason to stop.
    assert write_files({"a": "1", "b/c": "2"}, out) == [out / "a", out / "b" / "c"]
    (out / "a").write_text("mine")
    with pytest.raises(DeployError, match=r"must not be lost\. Received: .*/a, .*/b/c\. Give `--force`"):
        write_files({"a": "1", "b/c": "3"}, out)
    assert ((out / "a").read_text(), (out / "b" / "c").read_text()) == ("mine", "2")
    write_files({"a": "1", "b/c": "3"}, out, force=True)
    assert ((out / "a").read_text(), (out / "b" / "c").read_text()) == ("1", "3")
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == ["a", "c"]
    (tmp_path / "file").touch()
    with pytest.raises(DeployError, match="`--out` must be a folder that can be written to"):
        write_files({"a": "1"}, tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", PROMETHEUS_PATH),
        ("prometheus_config { enable: true path: '/metrics' }", "/metrics"),
        ("prometheus_config { path: '/metrics' }", None),
        ("", None),
    ],
)
def test_a_monitoring_file_says_whether_and_where(tmp_path: Path, text: str, path: str | None) -> None:
    file = tmp_path / "monitoring.config"
    file.write_text(text)
    assert monitoring_option(file) == path


def test_a_monitoring_path_begins_with_a_slash(tmp_path: Path) -> None:
    file = tmp_path / "monitoring.config"
    file.write_text("prometheus_config { enable: true path: 'metrics' }")
    with pytest.raises(ServerConfigError, match=r"`path` must begin with a slash\. Received: 'metrics'"):
        monitoring_option(file)


def test_the_images_own_users_may_read_what_is_written_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_files({"grafana/board.json": "{}", "prometheus.yml": ""}, tmp_path / "above" / "out")
    finally:
        os.umask(before)
    paths = [tmp_path / "above" / "out", *(tmp_path / "above" / "out").rglob("*")]
    assert all(path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644) for path in paths)
    assert (tmp_path / "above").stat().st_mode & 0o777 == 0o700
