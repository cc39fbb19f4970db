"""The embedded server as a process of its own, for benchmarks: the load must not share the server's interpreter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

REPOSITORY = Path(__file__).resolve().parents[1]


class ServerProcess:
    """`python -m serving` on a free port, ended with the `with` block."""

    def __init__(self, name: str, folder: Path, *flags: str, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._command = [sys.executable, "-m", "serving", f"--model_name={name}", f"--model_base_path={folder}"]
        self._command += ["--rest_api_port=0", *flags]
        self._environment = environment
        self.url = ""

    @property
    def predict(self) -> str:
        return f"{self.url}/v1/models/{self.name}:predict"

    @property
    def memory(self) -> int:
        """Bytes of memory that the process holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    @property
    def cpu_seconds(self) -> float:
        """CPU time that the process took so far, all its threads together."""
        # After the name, which may hold spaces: state, then 10 fields, then user and system time.
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def log(self) -> str:
        """What the server wrote so far."""
        return Path(self._log.name).read_text(encoding="utf-8", errors="replace")

    def __enter__(self) -> ServerProcess:
        # Into a file: a pipe that nobody reads would fill up, and hold up the server.
        self._log = tempfile.NamedTemporaryFile()
        self.process = subprocess.Popen(self._command, cwd=REPOSITORY, env=self._environment, stderr=self._log)
        while self.process.poll() is None:
            if started := re.search(r"Serving on (http://\S+)\n", self.log):
                self.url = started[1]
                return self
            time.sleep(0.05)
        raise RuntimeError(f"The server did not start:\n{self.log}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)
        self._log.close()
