"""Commands in processes of their own, forked from one that has imported TFX once."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.cli import main
from pipeline.orchestration import daily_run, node_run  # noqa: F401  what most commands wait for
from tests.fault_injection import helper

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@contextlib.contextmanager
def forked_commands(folder: Path) -> Iterator[Run]:
    """A function that runs `warmspan` with its arguments and returns what came of it; what is said lies in `folder`."""
    with helper("tests.pipeline.forked_commands") as child:

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            code = child.call("tests.pipeline.forked_commands:command", str(folder), *arguments)
            said = [(folder / name).read_text() for name in ("stdout", "stderr")]
            return subprocess.CompletedProcess(arguments, code, *said)

        yield run


def command(folder: str, *arguments: str) -> None:
    """Runs the command in this process and ends it with the command's exit code."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    sys.argv = ["warmspan", *arguments]
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def command_under_closed_umask(folder: str, at: str, *arguments: str) -> None:
    """As `command`, in the folder `at`, of a user whose files nobody else may read."""
    os.umask(0o077)
    os.chdir(at)
    command(folder, *arguments)
