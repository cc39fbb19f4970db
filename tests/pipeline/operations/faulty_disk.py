"""A command of warmspan while its root lies on a disk that has a fault; called in a forked process."""

from __future__ import annotations

import os
from pathlib import Path

from tests.pipeline.forked_commands import command
from tests.pipeline.operations.mount_namespace import enter_mount_namespace, mounted


def command_on(said: str, root: str, fault: str, after: str, *arguments: str) -> None:
    """Ends with the command's exit code; what it has printed lies in the folder `said`.

    Args:
      said: that folder.
      root: the pipeline root.
      fault: a script that makes the disk faulty, with `ROOT`.
      after: one that mends it, of which what was written survives.
    """
    enter_mount_namespace()
    mounted(fault, ROOT=root)
    child = os.fork()
    if not child:
        os.chdir(Path(root).parent)
        command(said, *arguments)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    mounted(after, ROOT=root)
    os._exit(status if status >= 0 else 128 - status)
