"""Kills a process at every call that writes, and lets its disk be full from any such call on.

A helper process imports what is tested once and forks a child for each attempt; the child calls one function. Two
ways to kill it: strace, which counts the system calls themselves (where it is installed and allowed), and Python's
audit events with os.fsync and os.sendfile, which need nothing.

    python -m tests.fault_injection MODULE...      the helper process; see `Helper`
"""

from __future__ import annotations

import collections
import contextlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WRITING = (
    "openat,write,pwrite64,writev,sendfile,copy_file_range,ftruncate,fallocate,mkdir,mkdirat,rename,renameat,renameat2,"
    "unlink,unlinkat,rmdir,chmod,fchmod,fchmodat,fsync,fdatasync"
)
# Calls that need room on the disk.
FILLING = ("mkdir", "write", "sendfile", "copy_file_range")
DONE, REFUSED = 0, 3
_EVENTS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate"}


class Helper:
    """The helper process, and how its children end: an exit code, or minus the signal."""

    def __init__(self, *modules: str) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "tests.fault_injection", *modules]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._hear()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def call(self, function: str, *args: str, kill_at: int = 0) -> int:
        """Calls `module:function` in a child, killed at its `kill_at`-th event that writes."""
        self._tell(function, args, kill_at, stop=False)
        self._hear()
        return int(self._hear())

    def traced(self, function: str, *args: str, inject: str = "") -> tuple[int, collections.Counter[str]]:
        """As `call` under strace, with one of its injections; also how often each writing call was made."""
        self._tell(function, args, 0, stop=True)
        child = int(self._hear())
        _wait_for(child, r"State:\s+T")
        log = Path(args[0]).parent / f".strace-{child}"
        options = ["-qq", "-f", "-o", str(log), "-e", f"trace={WRITING}", "-p", str(child)]
        if inject:
            options += ["-e", f"inject={inject}"]
        with subprocess.Popen(["strace", *options], stderr=subprocess.DEVNULL) as strace:
            try:
                _wait_for(child, r"TracerPid:\s+[1-9]")
                os.kill(child, signal.SIGCONT)
            except BaseException:
                os.kill(child, signal.SIGKILL)  # a stopped child would be waited for without end
                raise
            status = int(self._hear())
            strace.wait()
        calls = collections.Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(errors="replace"), re.MULTILINE))
        log.unlink()
        return status, calls

    def _tell(self, function: str, args: tuple[str, ...], kill_at: int, stop: bool) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([function, args, kill_at, stop]) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the helper process has ended"
        return line


@contextlib.contextmanager
def helper(*modules: str) -> Iterator[Helper]:
    made_helper = Helper(*modules)
    try:
        yield made_helper
    finally:
        made_helper.close()


def why_no_strace() -> str:
    """Why system calls can't be counted here; empty if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, text=True)
    return f"strace may not trace here: {tried.stderr.strip()}" if tried.returncode else ""


def _wait_for(process: int, expression: str) -> None:
    for _ in range(10_000):
        if re.search(expression, Path(f"/proc/{process}/status").read_text()):
            return
        time.sleep(0.001)
    raise TimeoutError(f"process {process} never was {expression}")


def _serve() -> None:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        function, args, kill_at, stop = json.loads(line)
        child = os.fork()
        if not child:
            os._exit(_run(function, args, kill_at, stop))
        print(child, flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, flush=True)


def _run(function: str, args: list[str], kill_at: int, stop: bool) -> int:
    module, _, name = function.partition(":")
    call = getattr(importlib.import_module(module), name)
    os.close(1)
    os.open(os.devnull, os.O_WRONLY)
    if stop:
        os.kill(os.getpid(), signal.SIGSTOP)
    if kill_at:
        _die_at(kill_at)
    return REFUSED if call(*args) else DONE


def _die_at(number: int) -> None:
    """Kills this process at its `number`-th event that writes."""
    left = [number]

    def count() -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in _EVENTS or (event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)):
            count()

    def counted(call: Any) -> Any:
        def first_count(*args: Any, **kwargs: Any) -> Any:
            count()
            return call(*args, **kwargs)

        return first_count

    sys.addaudithook(hook)
    os.fsync, os.sendfile = counted(os.fsync), counted(os.sendfile)


if __name__ == "__main__":
    _serve()
