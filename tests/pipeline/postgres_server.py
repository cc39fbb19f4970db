"""A PostgreSQL server from Debian's packages: in a folder of its own, on a free port, ended by its own id."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def binaries() -> Path:
    """The folder of `initdb` and `postgres`; the test is skipped without them."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if not programs and on_path is None:
        pytest.skip("no PostgreSQL is installed (on Debian: apt-get install postgresql)")
    return programs[-1].parent if programs else Path(str(on_path)).resolve().parent


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Yields the URL of an empty database on 127.0.0.1."""
    folder = binaries()
    base, process_options, port = unprivileged("warmspan-postgres-")
    try:
        command = [folder / "initdb", "-D", base / "data", "-U", "warmspan", "-A", "trust", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, **process_options)
        options = [f"unix_socket_directories={base}", "listen_addresses=127.0.0.1", "fsync=off"]
        command = [folder / "postgres", "-D", base / "data", "-p", str(port)]
        for option in options:
            command += ["-c", option]
        with (
            (base / "log").open("w") as log,
            subprocess.Popen(command, stdout=log, stderr=log, **process_options) as server,
        ):
            try:
                _create_database(folder, port, process_options, base / "log")
                yield f"postgresql://warmspan@127.0.0.1:{port}/mlmd"
            finally:
                server.send_signal(signal.SIGINT)  # ends sessions too; SIGTERM would wait for them
                server.wait(30)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def unprivileged(prefix: str) -> tuple[Path, dict[str, Any], int]:
    """A new folder, what `subprocess` must be told to work in it without root's rights, and a free port."""
    user = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    who = pwd.getpwnam(user)
    base = Path(tempfile.mkdtemp(prefix=prefix))
    os.chown(base, who.pw_uid, who.pw_gid)
    process_options: dict[str, Any] = {"cwd": base, "env": {"PATH": "/usr/sbin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}}
    if os.getuid() == 0:
        process_options |= {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return base, process_options, free.getsockname()[1]


def _create_database(folder: Path, port: int, process_options: dict, log: Path) -> None:
    command = [folder / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "warmspan", "mlmd"]
    for _ in range(100):
        if subprocess.run(command, capture_output=True, check=False, **process_options).returncode == 0:
            return
        time.sleep(0.2)
    raise AssertionError(f"PostgreSQL did not answer:\n{log.read_text()}")
