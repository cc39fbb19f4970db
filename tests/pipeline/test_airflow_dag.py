"""The DAG file: what it imports, and, where an Airflow is installed, what Airflow makes of it.

WARMSPAN_AIRFLOW_PYTHON names the Python of an environment with Airflow 2.11 or 3 (docs/airflow.md).
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.ledger.runs import read_ledger
from pipeline.node_order import GROUPINGS, NODES

ROOT = Path(__file__).resolve().parents[2]
DAG_FILE = ROOT / "pipeline" / "airflow_dag.py"
GUIDE = ROOT / "docs" / "airflow.md"


def imports(path: Path) -> set[str]:
    packages = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            packages |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import would import the package, and with it TensorFlow"
            packages.add(str(node.module).split(".")[0])
    return packages


def test_the_dag_file_imports_airflow_and_the_standard_library_only():
    assert imports(DAG_FILE) - sys.stdlib_module_names == {"airflow"}
    assert imports(DAG_FILE.with_name("node_order.py")) <= sys.stdlib_module_names


def test_the_guide_names_every_setting_of_the_dag_file():
    read = set(re.findall(r'"(WARMSPAN_[A-Z]+)"', DAG_FILE.read_text())) - {
        "WARMSPAN_SPAN",
        "WARMSPAN_DECISION",
        "WARMSPAN_BEGIN",
    }
    assert read <= set(re.findall(r"WARMSPAN_[A-Z]+", GUIDE.read_text()))


def test_every_grouping_holds_every_node_once_in_order():
    for grouping in GROUPINGS.values():
        assert sum(grouping.values(), ()) == NODES
        assert not set(grouping) & set(NODES) or all(nodes == (task,) for task, nodes in grouping.items())


@pytest.fixture
def airflow(tmp_path: Path, database: Path):
    """Runs the probe in Airflow's environment with the DAG file linked into a DAGs folder."""
    python = os.environ["WARMSPAN_AIRFLOW_PYTHON"]
    (tmp_path / "airflow").mkdir()
    shutil.copy(database, tmp_path / "airflow")
    (tmp_path / "dags").mkdir()
    link = tmp_path / "dags" / "warmspan_dag.py"
    link.symlink_to(DAG_FILE)

    def probe(*arguments: str, **environment: str) -> dict[str, Any]:
        base = {name: value for name, value in os.environ.items() if not name.startswith(("WARMSPAN", "PYTHON"))}
        environment = {
            **base,
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(link.parent),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "WARMSPAN_START": "2024-05-01",
            **environment,
        }
        command = [python, str(Path(__file__).with_name("airflow_probe.py")), str(link), *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        match = re.search(r"^PROBE (.*)$", done.stdout, re.MULTILINE)
        assert match, done.stdout[-2000:] + done.stderr[-4000:]
        return {**json.loads(match[1]), "output": done.stdout + done.stderr}

    return probe


def settings(folder: Path, name: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(f"# name: wrong\nname: {name}  # of the shop\ndata: {{name: wrong}}\n")
    return path


def stand_in(folder: Path) -> Path:
    """A command that writes down what it is told, and passes over the pusher: the nodes themselves are tested above."""
    path = folder / "stand_in"
    path.write_text(
        "#!/bin/sh\n"
        f'printf "%s|" "$@" >> {folder}/calls\n'
        f"echo >> {folder}/calls\n"
        '[ "$2" = SpanPusher ] && exit 99\n'
        "exit 0\n"
    )
    path.chmod(0o755)
    return path


@pytest.mark.slow
def test_airflow_loads_one_dag_a_settings_file_with_one_task_a_node(airflow, tmp_path):
    for name in ("shop", "films"):
        settings(tmp_path, name)
    shape = airflow(
        "shape", WARMSPAN_CONFIG=str(tmp_path / "*.yaml"), WARMSPAN_START_films="2023-01-02", WARMSPAN_END="2024-06-01"
    )
    assert shape["errors"] == []
    assert set(shape["dags"]) == {"warmspan_shop", "warmspan_films"}
    shop = shape["dags"]["warmspan_shop"]
    assert tuple(shop["tasks"]) == NODES
    assert shop["edges"] == len(NODES) - 1
    assert (shop["skip"], shop["catchup"], shop["active_runs"], shop["failed_runs"]) == ([99], True, 1, 1)
    assert shop["timetable"] == "CronDataIntervalTimetable"
    assert (shop["start"], shop["end"]) == ("2024-05-01", "2024-06-01")
    assert shape["dags"]["warmspan_films"]["start"] == "2023-01-02"
    assert all(str(tmp_path / "shop.yaml") in command for command in shop["commands"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, "must name at least one settings file"),
        ({"WARMSPAN_CONFIG": "/nowhere/*.yaml"}, "must name files that exist"),
        ({"WARMSPAN_CONFIG": "{}/shop.yaml", "WARMSPAN_START": "May"}, "must be a date like 2024-05-01"),
        ({"WARMSPAN_CONFIG": "{}/shop.yaml", "WARMSPAN_TASKS": "node"}, "must be one of nodes, stages, day. Received"),
        ({"WARMSPAN_CONFIG": "{}/shop.yaml", "WARMSPAN_SCHEDULE": "@hourly"}, "must be cron with one time a day"),
        ({"WARMSPAN_CONFIG": "{}/shop.yaml:{}/shop.yaml"}, "must have a name of its own"),
    ],
)
def test_bad_settings_are_an_import_error_with_a_sentence(airflow, tmp_path, environment, sentence):
    settings(tmp_path, "shop")
    given = {name: value.replace("{}", str(tmp_path)) for name, value in environment.items()}
    (error,) = airflow("shape", **given)["errors"]
    assert sentence in error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "text", "environment", "sentence"),
    [
        ("bad.yaml", "root: run\n", {}, "must have a line like `name: shop`. Received: none in {}/bad.yaml"),
        ("bad.yaml", b"\xff\xfe\x00", {}, "must be text that can be read. Received: {}/bad.yaml"),
        ("shop2.yaml", "name: shop\n", {}, "must have a name of its own. Received: `shop`"),
        ("films.yaml", "name: films\n", {"WARMSPAN_START_films": "May"}, "must be a date like 2024-05-01"),
    ],
)
def test_one_bad_settings_file_takes_its_own_dag_away_alone(airflow, tmp_path, bad, text, environment, sentence):
    settings(tmp_path, "shop")
    (tmp_path / bad).write_bytes(text if isinstance(text, bytes) else text.encode())
    shape = airflow("shape", WARMSPAN_CONFIG=f"{tmp_path}/*.yaml:{tmp_path}/nowhere/*.yaml", **environment)
    assert set(shape["dags"]) == {"warmspan_shop"}
    (error,) = shape["errors"]
    assert sentence.replace("{}", str(tmp_path)) in error
    assert "must name files that exist" in error


@pytest.mark.slow
def test_a_day_reaches_the_command_with_its_span_and_99_is_a_skip(airflow, tmp_path):
    config = settings(tmp_path, "shop")
    given = {"WARMSPAN_CONFIG": str(config), "WARMSPAN_CLI": str(stand_in(tmp_path))}
    dag_run = airflow("run", "2024-05-01", **given)
    assert dag_run["state"].endswith("success"), dag_run["output"]
    assert {task: state.rsplit(".", 1)[-1].lower() for task, state in dag_run["tasks"].items()} == {
        **dict.fromkeys(NODES, "success"),
        "SpanPusher": "skipped",
    }
    calls = [line.split("|")[:-1] for line in (tmp_path / "calls").read_text().splitlines()]
    expected = [["run-node", node, "--config", str(config), "--span", "2024-05-01"] for node in NODES]
    assert [call[:6] for call in calls] == expected


@pytest.mark.slow
def test_of_a_held_day_all_after_the_guard_is_skipped_and_the_run_is_a_success(airflow, tmp_path):
    command = stand_in(tmp_path)
    command.write_text(command.read_text().replace("SpanPusher", "SpanTransform"))
    given = {"WARMSPAN_CONFIG": str(settings(tmp_path, "shop")), "WARMSPAN_CLI": str(command)}
    dag_run = airflow("run", "2024-05-01", **given)
    assert dag_run["state"].endswith("success"), dag_run["output"]
    after = NODES[NODES.index("SpanTransform") :]
    states = {task: state.rsplit(".", 1)[-1].lower() for task, state in dag_run["tasks"].items()}
    assert states == {**dict.fromkeys(NODES, "success"), **dict.fromkeys(after, "skipped")}
    assert [line.split("|")[1] for line in (tmp_path / "calls").read_text().splitlines()][-1] == "SpanTransform"


@pytest.mark.slow
@pytest.mark.parametrize("grouping", ["stages", "day"])
def test_nodes_can_be_grouped_into_fewer_tasks(airflow, tmp_path, grouping):
    config = settings(tmp_path, "shop")
    command = stand_in(tmp_path)
    last = 'case "$*" in *SpanPusher*) true;; *) false;; esac'
    command.write_text(command.read_text().replace('[ "$2" = SpanPusher ]', last))
    given = {"WARMSPAN_CONFIG": str(config), "WARMSPAN_CLI": str(command), "WARMSPAN_TASKS": grouping}
    dag_run = airflow("run", "2024-05-01", **given)
    assert dag_run["state"].endswith("success"), dag_run["output"]
    states = {task: state.rsplit(".", 1)[-1].lower() for task, state in dag_run["tasks"].items()}
    tasks = list(GROUPINGS[grouping])
    assert states == {**dict.fromkeys(tasks, "success"), tasks[-1]: "skipped"}
    calls = [line.split("|")[:-1] for line in (tmp_path / "calls").read_text().splitlines()]
    assert [tuple(call[1 : call.index("--config")]) for call in calls] == list(GROUPINGS[grouping].values())


_POD = """\
apiVersion: v1
kind: Pod
metadata: {name: any}
spec:
  nodeSelector: {disk: fast}
  containers:
    - name: base
      image: any
      resources: {requests: {cpu: "2", memory: 6Gi}}
      volumeMounts: [{name: shop, mountPath: /data/shop}]
  volumes: [{name: shop, persistentVolumeClaim: {claimName: shop}}]
"""

# Nothing is sent anywhere: the operator only wants to know of a cluster before it builds a pod.
_CLUSTER = """\
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: none, user: {token: none}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
"""


@pytest.mark.slow
def test_a_task_can_be_a_pod(airflow, tmp_path):
    config, pod = settings(tmp_path, "shop"), tmp_path / "pod.yml"
    pod.write_text(_POD)
    (tmp_path / "cluster.yml").write_text(_CLUSTER)
    given = {"WARMSPAN_IMAGE": "registry.example/warmspan:1", "WARMSPAN_NAMESPACE": "night", "WARMSPAN_POD": str(pod)}
    shape = airflow("shape", WARMSPAN_CONFIG=str(config), **given)
    if any("airflow.providers.cncf" in error for error in shape["errors"]):
        pytest.skip("Airflow's environment has no apache-airflow-providers-cncf-kubernetes")
    (dag,) = shape["dags"].values()
    assert (tuple(dag["tasks"]), dag["skip"], dag["edges"]) == (NODES, [99], len(NODES) - 1)

    given |= {"WARMSPAN_TASKS": "stages", "KUBECONFIG": str(tmp_path / "cluster.yml")}
    answer = airflow("pods", "2024-05-02", WARMSPAN_CONFIG=str(config), **given)
    assert len(answer["pods"]) == 3
    for pod_spec, (task, nodes) in zip(answer["pods"], GROUPINGS["stages"].items(), strict=True):
        spec, about = pod_spec["spec"], pod_spec["metadata"]
        assert about["name"].startswith(f"warmspan-{task.lower()}-")
        assert about["namespace"] == "night"
        assert about["labels"]["app"] == "warmspan"
        (container,) = spec["containers"]
        assert container["image"] == "registry.example/warmspan:1"
        assert container["command"] == ["sh", "-c"]
        assert container["args"] == [
            f'exec warmspan run-node {" ".join(nodes)} --config {config} --span "$WARMSPAN_SPAN" --skip-done'
            + " $WARMSPAN_BEGIN" * (nodes[0] == NODES[0])
            + ' ${WARMSPAN_DECISION:+--decide "$WARMSPAN_DECISION"}' * ("UpdateDecider" in nodes)
        ]
        assert {"name": "WARMSPAN_SPAN", "value": "2024-05-02"} in container["env"]
        assert container["resources"]["requests"] == {"cpu": "2", "memory": "6Gi"}
        assert {"name": "shop", "mountPath": "/data/shop"} in container["volumeMounts"]
        assert spec["nodeSelector"] == {"disk": "fast"}
        assert spec["restartPolicy"] == "Never"


@pytest.mark.slow
def test_fifty_recommenders_are_read_in_a_few_seconds(airflow, tmp_path):
    for number in range(50):
        settings(tmp_path, f"shop{number}")
    shape = airflow("shape", WARMSPAN_CONFIG=str(tmp_path / "*.yaml"), AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT="0")
    assert shape["errors"] == []
    assert len(shape["dags"]) == 50
    assert sum(len(dag["tasks"]) for dag in shape["dags"].values()) == 50 * len(NODES)
    # Airflow gives up on a DAG file after thirty; on an idle machine it is under two.
    assert shape["seconds"] < 30


@pytest.mark.slow
def test_the_conf_says_span_and_decision_and_never_becomes_a_part_of_the_command(airflow, tmp_path):
    given = {"WARMSPAN_CONFIG": str(settings(tmp_path, "shop")), "WARMSPAN_CLI": str(stand_in(tmp_path))}
    evil = f'2024-05-09"; touch {tmp_path}/evil; "'
    airflow("run", "2024-05-01", json.dumps({"span": evil, "decide": f"skip{evil}"}), **given)
    calls = [line.split("|")[:-1] for line in (tmp_path / "calls").read_text().splitlines()]
    assert {call[5] for call in calls} == {evil}
    # A span named by hand must not pass over gaps.
    options = {NODES[0]: ["--skip-refused"], "UpdateDecider": ["--decide", f"skip{evil}"]}
    expected = {node: ["--skip-done", *options.get(node, [])] for node in NODES}
    assert {call[1]: call[6:] for call in calls} == expected
    assert not (tmp_path / "evil").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("default")
def test_a_real_day_under_airflow_is_in_the_ledger(airflow, make_shop, tmp_path):
    config = make_shop(1)
    command = tmp_path / "warmspan"
    call = f'{sys.executable} -W ignore -c "from pipeline.cli import main; main()" "$@"'
    command.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT} exec {call}\n")
    command.chmod(0o755)
    given = {
        "WARMSPAN_CONFIG": str(tmp_path / "one" / "warmspan.yaml"),
        "WARMSPAN_CLI": str(command),
        "WARMSPAN_TASKS": "stages",
    }
    dag_run = airflow("run", "2024-05-01", **given)
    assert dag_run["state"].endswith("success"), dag_run["output"][-4000:]
    (run,) = read_ledger(config)
    assert (run.state, run.pushed) == ("done", 2024050101)
    done, none = "done before (pushed as 2024050101)", "Received: none for 2024-05-02"
    for day, why in (("2024-05-01", done), ("2024-05-02", none)):
        nothing = airflow("run", day, **given)
        assert {state.rsplit(".", 1)[-1].lower() for state in nothing["tasks"].values()} == {"skipped"}
        assert why in nothing["output"]
    assert read_ledger(config) == [run]
