"""The daily loop as Airflow DAGs: one a settings file, one task a node or a stage, one DAG run a span.

Link this file into Airflow's DAGs folder (docs/airflow.md). Airflow lives in an environment of its own, so nothing but
Airflow and the standard library is imported here; every task calls `warmspan run-node` in the environment of TFX.
The same file loads on Airflow 2.11 and 3.x. Settings, all from the environment of Airflow's processes:

  WARMSPAN_CONFIG    settings files with ":" between them; `*` stands for any part of a name. One DAG each.
  WARMSPAN_START     date of the first span, like 2024-05-01; WARMSPAN_START_<name> for one recommender alone.
  WARMSPAN_END       date of the last span; none if not given. WARMSPAN_END_<name> likewise.
  WARMSPAN_SCHEDULE  when a day's run begins, as cron with one time a day, UTC; "0 0 * * *" if not given.
  WARMSPAN_TASKS     "nodes" for a task a node, which is so if not given; "stages" for three tasks; "day" for one.
  WARMSPAN_CLI       the command; if not given, the `warmspan` beside WARMSPAN_PYTHON, or in .venv beside this package.
  WARMSPAN_PYTHON    the Python of TFX's environment.
  WARMSPAN_IMAGE     if given, every task is a pod of this image, where `warmspan` is on the path (or WARMSPAN_CLI).
  WARMSPAN_NAMESPACE its namespace in Kubernetes; "default" if not given.
  WARMSPAN_POD       file with the rest of the pod: volumes, resources, where it may run. Its container is `base`.
"""

from __future__ import annotations

import datetime
import functools
import glob
import importlib.util
import itertools
import logging
import os
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

try:  # Airflow 3
    from airflow.sdk import DAG, CronDataIntervalTimetable
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.timetables.interval import CronDataIntervalTimetable
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:  # Airflow 2 without the standard provider
    from airflow.operators.bash import BashOperator

_HERE = Path(__file__).resolve()
_NAME = re.compile(r"""^name:\s*["']?([A-Za-z][A-Za-z0-9_]*)["']?\s*(?:#.*)?$""", re.MULTILINE)
_DAILY = re.compile(r"([0-5]?\d) ([01]?\d|2[0-3]) \* \* \*")
_DECISION = "{{ (dag_run.conf or {}).get('decide', '') }}"
# They come from whoever triggers a run: the shell gets them as values, never as a part of a line.
_GIVEN = {
    "WARMSPAN_SPAN": "{{ warmspan_span(dag_run, data_interval_start | default(none), logical_date | default(none)) }}",
    "WARMSPAN_DECISION": _DECISION,
}
# Of the first task, which alone can begin a span.
_BEGIN = {"WARMSPAN_BEGIN": "{{ warmspan_begin(dag_run, data_interval_start | default(none), ti | default(none)) }}"}
_SCHEDULED = ("scheduled", "backfill")


def _node_order() -> ModuleType:
    # By its path: to import it from its package would import TensorFlow.
    path = _HERE.with_name("node_order.py")
    if not path.exists():
        raise ValueError(
            f"The DAG file must lie in warmspan's `pipeline` package. Received: {_HERE}, with no node_order.py beside "
            "it. Link the file into the DAGs folder instead of copying it."
        )
    spec = importlib.util.spec_from_file_location("warmspan_node_order", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _span(
    time_of_day: datetime.timedelta,
    dag_run: Any,
    data_interval_start: datetime.datetime | None,
    logical_date: datetime.datetime | None,
) -> str:
    """The day of a DAG run: that of its conf; on schedule that of its data interval; else the newest that was due.

    By hand, the interval that Airflow 3 gives to a run is that of today, whatever its logical date, or none.
    """
    if dag_run.conf and dag_run.conf.get("span"):
        return str(dag_run.conf["span"])
    if dag_run.run_type in _SCHEDULED and data_interval_start is not None:
        return data_interval_start.strftime("%Y-%m-%d")
    due = (logical_date or dag_run.run_after) - time_of_day - datetime.timedelta(days=1)
    return due.strftime("%Y-%m-%d")


def _begin(
    first: datetime.datetime, dag_run: Any, data_interval_start: datetime.datetime | None, task_instance: Any
) -> str:
    """How a span may begin.

    By hand, what can't be run is skipped: a failure would pause the DAG, and with it the nights. On schedule a day may
    follow days without files if the day before it is a success in Airflow: it has failed there, and whoever marked it
    so has accepted the gap. Else the ledger alone decides, which knows what was run by hand too.

    Not `depends_on_past`, which would make a day wait instead: in the only place for a run that there is, so that the
    day before it could be cleared but never run.
    """
    if dag_run.run_type not in _SCHEDULED or data_interval_start is None:
        return "--skip-refused"
    before = data_interval_start - datetime.timedelta(days=1)
    if before < first or _succeeded(task_instance, before):
        return "--allow-gaps"
    logging.getLogger("airflow.task").warning(
        "The run of %s has not succeeded in Airflow, so that the ledger decides whether this day may follow. If it is "
        "refused below: repair %s, or mark its run as a success to leave it out; then clear this run and unpause.",
        *[before.date()] * 2,
    )
    return ""


def _succeeded(task_instance: Any, logical_date: datetime.datetime) -> bool:
    """Whether the scheduled run of a date has; one by hand may bear the same date, and was of another day."""
    dag_id = task_instance.dag_id
    if hasattr(task_instance, "get_dagrun_state"):  # Airflow 3, whose tasks have no access to its database
        runs = task_instance.get_task_states(dag_id=dag_id, logical_dates=[logical_date])
        of_schedule = [run_id for run_id in runs if run_id.startswith(tuple(f"{kind}__" for kind in _SCHEDULED))]
        return any(task_instance.get_dagrun_state(dag_id, run_id) == "success" for run_id in of_schedule)
    from airflow.models import DagRun

    runs = DagRun.find(dag_id=dag_id, execution_date=logical_date, state="success")
    return any(run.run_type in _SCHEDULED for run in runs)


def _schedule() -> tuple[str, datetime.timedelta]:
    """When a day's run begins, as cron and as a time of the day."""
    cron = os.environ.get("WARMSPAN_SCHEDULE") or "0 0 * * *"
    match = _DAILY.fullmatch(cron.strip())
    if match is None:
        raise ValueError(f"`WARMSPAN_SCHEDULE` must be cron with one time a day, like 30 4 * * *. Received: {cron!r}.")
    return cron, datetime.timedelta(hours=int(match[2]), minutes=int(match[1]))


def _configs(problems: list[str]) -> dict[str, Path]:
    """Settings files by the name of their recommender; what is wrong with others goes to `problems`."""
    given = os.environ.get("WARMSPAN_CONFIG", "")
    configs: dict[str, Path] = {}
    for pattern in filter(None, given.split(os.pathsep)):
        paths = sorted(glob.glob(pattern))
        if not paths:
            problems.append(f"`WARMSPAN_CONFIG` must name files that exist. Received: {pattern!r}.")
        for path in map(Path, paths):
            try:
                match = _NAME.search(path.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                problems.append(f"A settings file must be text that can be read. Received: {path} ({error}).")
                continue
            if match is None:
                problems.append(f"A settings file must have a line like `name: shop`. Received: none in {path}.")
            elif match[1] in configs:
                problems.append(
                    f"Each recommender must have a name of its own. Received: `{match[1]}` in {configs[match[1]]} and "
                    f"{path}."
                )
            else:
                configs[match[1]] = path.resolve()
    if not given:
        problems.append(
            "`WARMSPAN_CONFIG` must name at least one settings file. Received: "
            f"{given!r}. Set it in the environment of Airflow's scheduler, DAG processor and workers."
        )
    return configs


def _date(variable: str, name: str) -> datetime.datetime | None:
    text = os.environ.get(f"{variable}_{name}") or os.environ.get(variable)
    if not text:
        return None
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"`{variable}` must be a date like 2024-05-01. Received: {text!r}.") from None
    return datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.timezone.utc)


def _command() -> str:
    if command := os.environ.get("WARMSPAN_CLI"):
        return command
    if os.environ.get("WARMSPAN_IMAGE"):
        return "warmspan"
    python = os.environ.get("WARMSPAN_PYTHON")
    return shlex.quote(str(Path(python).with_name("warmspan") if python else _HERE.parents[1] / ".venv/bin/warmspan"))


def _grouping(order: ModuleType) -> dict[str, tuple[str, ...]]:
    """Tasks and the nodes that each runs."""
    asked = os.environ.get("WARMSPAN_TASKS") or "nodes"
    if asked not in order.GROUPINGS:
        raise ValueError(f"`WARMSPAN_TASKS` must be one of {', '.join(order.GROUPINGS)}. Received: {asked!r}.")
    return order.GROUPINGS[asked]


def _task(task_id: str, line: str, given: dict[str, str], passed_over: int) -> Any:
    """A task that runs a line of shell, on this machine or in a pod."""
    image = os.environ.get("WARMSPAN_IMAGE")
    if not image:
        return BashOperator(
            task_id=task_id,
            bash_command=line,
            env=given,
            append_env=True,
            skip_on_exit_code=passed_over,
            do_xcom_push=False,
        )
    # Imported only where it is asked for: the provider is a package of its own.
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

    return KubernetesPodOperator(
        task_id=task_id,
        # Kubernetes takes no capitals in the name of a pod.
        name=f"warmspan-{task_id.lower()}",
        namespace=os.environ.get("WARMSPAN_NAMESPACE") or "default",
        image=image,
        pod_template_file=os.environ.get("WARMSPAN_POD") or None,
        cmds=["sh", "-c"],
        arguments=[line],
        env_vars=given,
        labels={"app": "warmspan"},
        skip_on_exit_code=passed_over,
        get_logs=True,
        # A scheduler that starts again finds the pod that is running instead of starting a second.
        reattach_on_restart=True,
        do_xcom_push=False,
    )


def build(name: str, config: Path, start: datetime.datetime, end: datetime.datetime | None) -> DAG:
    """The DAG of one recommender.

    Args:
      name: of the recommender.
      config: its settings file.
      start, end: the first and the last span; without an end, one every day.
    """
    order = _node_order()
    cron, time_of_day = _schedule()
    with DAG(
        dag_id=f"warmspan_{name}",
        # Explicit: a cron string is another timetable on Airflow 3, whose runs have no data interval.
        schedule=CronDataIntervalTimetable(cron, timezone="UTC"),
        start_date=start,
        # The end bounds the logical date, which may fall into any hour of the last day.
        end_date=end and end + datetime.timedelta(hours=23, minutes=59),
        catchup=True,
        max_active_runs=1,
        # A failure pauses the DAG, so that the days after it are not even tried.
        max_consecutive_failed_dag_runs=1,
        # How often a task is tried again is Airflow's own setting, core.default_task_retries.
        user_defined_macros={
            "warmspan_span": functools.partial(_span, time_of_day),
            "warmspan_begin": functools.partial(_begin, start),
        },
        doc_md=__doc__,
        tags=["warmspan"],
    ) as dag:
        tasks: list[Any] = []
        for task, nodes in _grouping(order).items():
            line = (
                f"exec {_command()} run-node {' '.join(nodes)} "
                f'--config {shlex.quote(str(config))} --span "$WARMSPAN_SPAN" --skip-done'
            )
            if not tasks:
                line += " $WARMSPAN_BEGIN"
            if order.DECIDER in nodes:
                line += ' ${WARMSPAN_DECISION:+--decide "$WARMSPAN_DECISION"}'
            tasks.append(_task(task, line, _GIVEN if tasks else {**_GIVEN, **_BEGIN}, order.PASSED_OVER))
        for before, after in itertools.pairwise(tasks):
            before >> after
    return dag


def _build_all() -> dict[str, DAG]:
    """The DAG of each recommender. One bad settings file takes its own away, and is the file's import error."""
    problems: list[str] = []
    dags = {}
    for name, config in _configs(problems).items():
        try:
            start, end = _date("WARMSPAN_START", name), _date("WARMSPAN_END", name)
        except ValueError as error:
            problems.append(str(error))
            continue
        if start is None:
            problems.append(
                f"`WARMSPAN_START` or `WARMSPAN_START_{name}` must be the date of the first span, like 2024-05-01. "
                "Received: neither."
            )
            continue
        dags[f"warmspan_{name}"] = build(name, config, start, end)
    if problems and not dags:
        raise ValueError("\n".join(problems))
    return {**dags, **({"warmspan_refused": _refused("\n".join(problems))} if problems else {})}


def _refused(problems: str) -> DAG:
    """A DAG that is never there: Airflow shows why it was refused, and keeps the file's others."""

    class Refused(DAG):
        def validate(self) -> None:
            raise ValueError(problems)

    return Refused(dag_id="warmspan_refused", schedule=None)


globals().update(_build_all())
