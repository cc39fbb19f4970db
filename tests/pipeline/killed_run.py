"""A process that runs one span and, if told so, is killed in the middle of one of its nodes.

    python -m tests.pipeline.killed_run SETTINGS SPAN REVISION [NODE]

With NODE the process gets SIGKILL when that node has done its work but before MLMD is told: what lies on the disk is
there, and nobody knows of it. A node without an executor is killed as it starts.
"""

from __future__ import annotations

import os
import signal
import sys

from tfx.orchestration.portable import launcher

from pipeline.config import load_config
from pipeline.orchestration.span_run import SpanRun


def main(settings: str, span: str, revision: str, victim: str = "") -> None:
    run = SpanRun(load_config(settings), int(span), int(revision))
    execute = launcher.Launcher._run_executor

    def execute_and_die(self, info):  # type: ignore[no-untyped-def]
        output = execute(self, info)
        if self._pipeline_node.node_info.id == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return output

    def die_at_start(node: str) -> None:
        if node == victim and node in {"Anchor", "Champion", "Usual", "Yesterday", "ImportSchemaGen"}:
            os.kill(os.getpid(), signal.SIGKILL)

    launcher.Launcher._run_executor = execute_and_die
    run.run(die_at_start)


if __name__ == "__main__":
    main(*sys.argv[1:])
