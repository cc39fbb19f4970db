"""Beam's Prism, a distributed engine: a process of its own, which runs a pipeline by workers in further processes.

Built from source by Go once, in the version of the Beam that is installed; on free ports, ended by its own id.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam

from tests.go_programs import go_program

_ROOT = Path(__file__).resolve().parents[2]
_MODULE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_SECONDS_TO_LISTEN = 60


@contextlib.contextmanager
def prism(folder: Path) -> Iterator[list[str]]:
    """Beam's arguments for an engine and a pool, from which each job gets a worker process; logs go to `folder`."""
    engine, pool = _free_port(), _free_port()
    python = Path(sys.executable)
    # Workers are started by the name `python`, and have a project of their own to import.
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "PYTHONPATH": str(_ROOT)}
    # Without such a file TFX would build a distribution of itself for workers that have it; Beam wants a real one.
    (folder / "nothing_to_install.txt").touch()
    commands = {
        "engine": [
            str(go_program(_MODULE, f"v{apache_beam.__version__}")),
            "-job_port",
            str(engine),
            "-serve_http=false",
        ],
        "pool": [str(python), "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={pool}"],
    }
    with contextlib.ExitStack() as running:
        for name, command in commands.items():
            log = running.enter_context((folder / f"{name}.log").open("w"))
            # A group of its own: workers are the pool's children, and end with it.
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
            running.callback(_end, process)
        for port in (engine, pool):
            _await(port)
        yield [
            "--runner=PortableRunner",
            f"--job_endpoint=127.0.0.1:{engine}",
            "--environment_type=EXTERNAL",
            f"--environment_config=127.0.0.1:{pool}",
            f"--requirements_file={folder / 'nothing_to_install.txt'}",
        ]


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(port: int) -> None:
    end = time.monotonic() + _SECONDS_TO_LISTEN
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"Nothing listens on port {port}.")
