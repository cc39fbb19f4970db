"""The embedded server as a process of its own, for benchmarks: the load must not share the server's interpreter."""

from __future__ import annotations

import subprocess
import sys
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

    def __enter__(self) -> ServerProcess:
        self.process = subprocess.Popen(
            self._command, cwd=REPOSITORY, env=self._environment, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        log = []
        for line in self.process.stderr:
            log.append(line)
            if "Serving on " in line:
                self.url = line.split()[-1]
                return self
        raise RuntimeError("The server did not start:\n" + "".join(log))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)
