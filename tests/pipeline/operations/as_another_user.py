"""Runs commands of warmspan as a user who owns nothing; called in a forked process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
from pathlib import Path

from pipeline.cli import main
from pipeline.orchestration import daily_run, node_run  # noqa: F401  what most commands wait for
from tests.pipeline.operations.mount_namespace import enter_mount_namespace, mounted

NOBODY = 65534
# A Python in a folder that is closed to others, like /root, is put into an open one under the same path; it goes with
# the namespace.
_OPEN = """\
mount --bind "$PYTHON" /mnt && mount -t tmpfs -o mode=755 none "$CLOSED"
mkdir -p "$PYTHON" && mount --bind /mnt "$PYTHON"
"""


def run_as_nobody(answers: str, shop: str, closed: str, *commands: str) -> None:
    """Writes to the file `answers` what each command came to, as JSON.

    Args:
      answers: the file.
      shop: the folder of the settings file.
      closed: the folder around Python that others may not enter, empty for none.
      commands: their arguments, separated by blanks.
    """
    if closed:
        enter_mount_namespace()
        mounted(_OPEN, PYTHON=sys.base_prefix, CLOSED=closed)
    os.environ.update(HOME="/", MPLCONFIGDIR=str(Path(answers).with_name("matplotlib")))
    sys.dont_write_bytecode = True
    os.chdir(shop)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    Path(answers).write_text(json.dumps([run(command.split()) for command in commands]))


def run(arguments: list[str]) -> dict[str, object]:
    said = io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            if arguments[0] == "serve":
                ask()
            else:
                sys.argv = ["warmspan", *arguments]
                main()
        except SystemExit as exit_:
            code = exit_.code or 0
        except BaseException:
            traceback.print_exc()
            code = "Traceback"
    return {"code": code, "said": said.getvalue()}


def ask() -> None:
    """The server with a request, since `serve` goes on until it is ended."""
    from pipeline.config import load_config
    from serving.client import Client
    from serving.server.rest_server import RestServer

    config = load_config("warmspan.yaml")
    with RestServer({config.name: config.serving_path}) as server:
        print(Client(server.url, config.name).recommend("somebody new", [], k=3))
