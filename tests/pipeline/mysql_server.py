"""A MariaDB server from Debian's packages: in a folder of its own, on a free port, ended by its own id."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from tests.pipeline.postgres_server import unprivileged


@contextlib.contextmanager
def mysql() -> Iterator[str]:
    """Yields the URL of an empty database on 127.0.0.1; the test is skipped without the server's programs."""
    server = shutil.which("mariadbd", path="/usr/sbin:/usr/bin:/usr/local/bin")
    install = shutil.which("mariadb-install-db")
    if server is None or install is None:
        pytest.skip("no MariaDB is installed (on Debian: apt-get install mariadb-server)")
    base, process_options, port = unprivileged("warmspan-mysql-")
    try:
        command = [install, "--no-defaults", f"--datadir={base}/data", "--auth-root-authentication-method=normal"]
        subprocess.run([*command, "--skip-test-db"], check=True, capture_output=True, **process_options)
        command = [server, "--no-defaults", f"--datadir={base}/data", f"--port={port}", "--bind-address=127.0.0.1"]
        command += [f"--socket={base}/socket", f"--pid-file={base}/pid"]
        with (
            (base / "log").open("w") as log,
            subprocess.Popen(command, stdout=log, stderr=log, **process_options) as process,
        ):
            try:
                _create_database(base)
                yield f"mysql://warmspan:a%2Fsecret@127.0.0.1:{port}/mlmd"
            finally:
                process.terminate()
                process.wait(60)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _create_database(base: Path) -> None:
    for _ in range(150):
        with socket.socket(socket.AF_UNIX) as probe:  # PyMySQL would leave its own socket open when refused
            if probe.connect_ex(f"{base}/socket") == 0:
                break
        time.sleep(0.2)
    else:
        raise AssertionError(f"MariaDB did not answer:\n{(base / 'log').read_text()}")
    connection = pymysql.connect(user="root", unix_socket=f"{base}/socket")
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE mlmd")
        cursor.execute("CREATE USER warmspan@'127.0.0.1' IDENTIFIED BY 'a/secret'")
        cursor.execute("GRANT ALL ON mlmd.* TO warmspan@'127.0.0.1'")
