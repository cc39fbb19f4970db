"""What only reads the ledger and moves folders does not wait for TensorFlow, TFX and Beam to be imported."""

from __future__ import annotations

import subprocess
import sys

LIGHT = (
    "pipeline.monitoring.status",
    "pipeline.operations.adoption",
    "pipeline.operations.garbage_collection",
    "pipeline.operations.promotion",
    "pipeline.operations.rollback",
    "pipeline.planning.run_plan",
)


def test_they_start_without_tensorflow():
    heavy = "{'tensorflow', 'tfx', 'apache_beam', 'tensorflow_model_analysis', 'scipy'}"
    code = f"import sys, {', '.join(LIGHT)}; sys.exit(', '.join({heavy} & set(sys.modules)) or None)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
