"""The recorded behaviour of the real engine, where the recording is at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.server.rest_server import RestServer
from serving.tfs_config.batching_config import BatchingConfig

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("batching", [None, BatchingConfig()], ids=["alone", "batched"])
def test_every_recorded_case_passes(tmp_path: Path, batching: BatchingConfig | None) -> None:
    beside = REPOSITORY.parent / "shared" / "tfs_conformance"
    if "WARMSPAN_DATA" in os.environ:
        beside = Path(os.environ["WARMSPAN_DATA"]).parent / "tfs_conformance"
    cases = Path(os.environ.get("WARMSPAN_TFS_CONFORMANCE", beside))
    if not (cases / "run_cases.py").is_file():
        pytest.skip(f"WARMSPAN_TFS_CONFORMANCE, now {str(cases)!r}, must name the folder of the recorded cases")
    subprocess.run([sys.executable, cases / "make_models.py", tmp_path], check=True, capture_output=True)
    with RestServer(tmp_path / "models.config", cors=True, batching=batching) as server:
        replay = subprocess.run(
            [
                *(sys.executable, cases / "run_cases.py", "--failed-only", "--have=monitoring,cors"),
                *("--base-url", server.url, "--models-dir", tmp_path / "models", "--staged-dir", tmp_path / "staged"),
            ],
            capture_output=True,
            text=True,
        )
    assert replay.stdout.endswith(" passed, 0 failed\n"), replay.stdout + replay.stderr
