"""MinIO, a real S3 server: a process of its own on a free port, built from source by Go once."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.object_store import files, store
from tests.go_programs import go_program

_MODULE, _VERSION = "github.com/minio/minio", "v0.0.0-20260212201848-7aac2a2c5b7c"
_SECONDS_TO_LISTEN = 60
USER, PASSWORD = "warmspan", "a-password-of-the-tests"


class Minio:
    """A server, which may be stopped and started again with all that it holds."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._process = folder, None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self._program = go_program(_MODULE, _VERSION)

    def start(self) -> None:
        """Returns when it listens."""
        assert self._process is None
        environment = {**os.environ, "MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD, "MINIO_BROWSER": "off"}
        environment |= {"MINIO_UPDATE": "off", "HOME": str(self._folder)}
        command = [str(self._program), "server", str(self._folder / "data"), "--address", f"127.0.0.1:{self._port}"]
        with (self._folder / "minio.log").open("a") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        end = time.monotonic() + _SECONDS_TO_LISTEN
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.05)
        raise TimeoutError(f"Nothing listens on {self.endpoint}: {(self._folder / 'minio.log').read_text()}")

    def stop(self) -> None:
        """Kills it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    @property
    def environment(self) -> dict[str, str]:
        """By which a client finds it, and is let in."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextlib.contextmanager
def minio(folder: Path) -> Iterator[Minio]:
    """A server as long as the block lasts."""
    server = Minio(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def client_of(environment: dict[str, str]) -> Iterator[None]:
    """Lets this process ask as the environment says, and forget all about it afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"):
            patch.delenv(name, raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        forget_clients()
        yield
    forget_clients()


def forget_clients() -> None:
    """What was made by other keys or for another server."""
    store._filesystem_of.cache_clear()
    files.store_at.cache_clear()


def make_bucket(name: str) -> None:
    """Makes an empty one, by the client's own library."""
    store._filesystem_of("s3").mkdir(name)
