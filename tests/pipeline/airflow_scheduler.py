"""A real scheduler of Airflow 2.11 or 3 over a folder of recommenders, on SQLite, and what it made of their runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_TRIES = 5
_PATIENCE = 180.0  # seconds for all that is waited for; a loaded machine starts a task in ten


class Scheduler:
    """Airflow's processes; its database is asked directly, because each of its commands takes seconds to start."""

    def __init__(self, python: str, folder: Path, dag_file: Path, database: Path, settings: dict[str, str]) -> None:
        self._python, self.folder = python, folder
        self._home = folder / "airflow"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._home.mkdir()
        shutil.copy(database, self._home)
        (folder / "dags").mkdir()
        (folder / "dags" / "warmspan_dag.py").symlink_to(dag_file)
        version = subprocess.run([python, "-m", "airflow", "version"], capture_output=True, text=True, check=True)
        self.major = int(version.stdout.strip().splitlines()[-1].split(".")[0])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        base = {name: v for name, v in os.environ.items() if not name.startswith(("WARMSPAN", "PYTHON", "AIRFLOW"))}
        self._environment = {
            **base,
            "PATH": f"{Path(python).parent}{os.pathsep}{base['PATH']}",  # Airflow 2 starts tasks by its command's name
            "AIRFLOW_HOME": str(self._home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": address.split(":")[1],
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": "of this test alone",
            "AIRFLOW__API_AUTH__JWT_SECRET": "of this test alone, and of its processes",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{address}/execution/",
            **settings,
        }

    @contextlib.contextmanager
    def running(self) -> Iterator[Scheduler]:
        parts = ("api-server", "dag-processor", "scheduler") if self.major == 3 else ("scheduler",)
        processes = self._processes
        try:
            for part in parts:
                with (self.folder / f"{part}.log").open("w") as log:
                    command = [self._python, "-m", "airflow", part]
                    processes.append(
                        subprocess.Popen(
                            command, env=self._environment, cwd=self._home, stdout=log, stderr=log,
                            start_new_session=True,
                        )
                    )  # fmt: skip
            yield self
        finally:
            for process in reversed(processes):
                _end(process)

    def command(self, *arguments: str) -> None:
        for _ in range(_TRIES):
            done = subprocess.run(
                [self._python, "-m", "airflow", *arguments],
                env=self._environment, cwd=self._home, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if "database is locked" not in done.stderr:  # by the scheduler: SQLite has one writer
                break
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]

    def trigger(self, dag: str, run_id: str, *options: str, logical_date: str = "") -> None:
        dated = ("--logical-date" if self.major == 3 else "--exec-date", logical_date) if logical_date else ()
        self.command("dags", "trigger", dag, "--run-id", run_id, *dated, *options)

    def dags(self) -> dict[str, bool]:
        """Each DAG with whether it is paused."""
        return {dag: bool(paused) for dag, paused in self._ask("SELECT dag_id, is_paused FROM dag")}

    def runs(self, dag: str) -> dict[str, str]:
        """The state of each run: by its day on schedule, else by its id."""
        date = "logical_date" if self.major == 3 else "execution_date"
        rows = self._ask(f"SELECT run_id, run_type, {date}, state FROM dag_run WHERE dag_id = ? ORDER BY id", dag)
        return {run_id if kind == "manual" else day[:10]: state for run_id, kind, day, state in rows}

    def tasks(self, dag: str, run: str) -> list[str]:
        """The states of a run's tasks."""
        date = "logical_date" if self.major == 3 else "execution_date"
        question = (
            "SELECT task_instance.state FROM task_instance JOIN dag_run USING (dag_id, run_id) WHERE dag_id = ? AND "
            f"(run_id = ? OR run_type != 'manual' AND {date} LIKE ?)"
        )
        return [state for (state,) in self._ask(question, dag, run, f"{run}%")]

    def log(self, dag: str, run: str) -> str:
        """All that the tasks of a run said; of one on schedule its day is in the folder's name."""
        folders = (self._home / "logs" / f"dag_id={dag}").glob(f"run_id=*{run}*")
        return "\n".join(file.read_text() for folder in folders for file in sorted(folder.rglob("*.log")))

    def settled(self, dag: str, *runs: str) -> bool:
        states = self.runs(dag)
        return all(states.get(run) in ("success", "failed") for run in runs)

    def wait(self, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not until():
            assert time.monotonic() < deadline, self._state()
            assert all(process.poll() is None for process in self._processes), self._state()
            time.sleep(0.2)

    def _state(self) -> str:
        logs = [f"{path.name}: {path.read_text()[-2000:]}" for path in self.folder.glob("*.log")]
        return "\n".join([str({dag: self.runs(dag) for dag in self.dags()}), *logs])

    def _ask(self, question: str, *values: str) -> list[tuple]:
        database = f"file:{self._home / 'airflow.db'}?mode=ro"
        with contextlib.closing(sqlite3.connect(database, uri=True, timeout=30)) as connection:
            return connection.execute(question, values).fetchall()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its children, which are a group of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
