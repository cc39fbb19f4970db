"""Runs in Airflow's environment, without warmspan's: loads the DAG file and says what it found, as JSON.

    python airflow_probe.py DAG_FILE shape
    python airflow_probe.py DAG_FILE pods SPAN
    python airflow_probe.py DAG_FILE run SPAN [CONF]

AIRFLOW_HOME must name a folder with a database that `airflow db migrate` has made.
"""

from __future__ import annotations

import argparse
import datetime
import inspect
import json
import subprocess
import sys
import time


def load(dag_file):
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag
    return DagBag(dag_file)


def shape(bag):
    return {
        "errors": list(bag.import_errors.values()),
        "dags": {
            name: {
                "tasks": [task.task_id for task in dag.topological_sort()],
                "commands": [getattr(task, "bash_command", "pod") for task in dag.topological_sort()],
                "skip": sorted({code for task in dag.tasks for code in task.skip_on_exit_code}),
                "edges": sum(len(task.downstream_task_ids) for task in dag.tasks),
                "catchup": dag.catchup,
                "active_runs": dag.max_active_runs,
                "failed_runs": dag.max_consecutive_failed_dag_runs,
                "timetable": type(dag.timetable).__name__,
                "start": str(dag.start_date.date()),
                "end": dag.end_date and str(dag.end_date.date()),
            }
            for name, dag in bag.dags.items()
        },
    }


def pods(bag, span):
    """The pods that Kubernetes would be asked for on the day of `span`."""
    from kubernetes.client import ApiClient

    (dag,) = bag.dags.values()
    day = datetime.datetime.fromisoformat(span).replace(tzinfo=datetime.timezone.utc)
    context = {
        "dag_run": argparse.Namespace(conf={}, run_type="manual"),
        "logical_date": day + datetime.timedelta(days=1),
    }
    pod_specs = []
    for task in dag.topological_sort():
        task.render_template_fields(context)
        pod_specs.append(ApiClient().sanitize_for_serialization(task.build_pod_request_obj()))
    return {"errors": list(bag.import_errors.values()), "pods": pod_specs}


def run(bag, span, conf):
    (dag,) = bag.dags.values()
    date = "logical_date" if "logical_date" in inspect.signature(dag.test).parameters else "execution_date"
    day = datetime.datetime.fromisoformat(span).replace(tzinfo=datetime.timezone.utc)
    # A run started by hand has the data interval that ended last.
    done = dag.test(**{date: day + datetime.timedelta(days=1)}, run_conf=conf)
    return {
        "state": str(done.state),
        "tasks": {task_instance.task_id: str(task_instance.state) for task_instance in done.get_task_instances()},
    }


def main(dag_file, what, span=None, conf="{}"):
    if what == "run":
        subprocess.run([sys.executable, "-m", "airflow", "dags", "reserialize"], check=True, capture_output=True)
    started = time.perf_counter()
    bag = load(dag_file)
    seconds = time.perf_counter() - started
    answer = {"shape": lambda: shape(bag), "pods": lambda: pods(bag, span)}.get(
        what, lambda: run(bag, span, json.loads(conf))
    )()
    print("PROBE " + json.dumps({**answer, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
