"""`warmspan deploy-config`: the files for the official TensorFlow Serving, from the settings file."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import Config
from serving.deploy_config import Deployment, deployment_files, write_files


def write_deployment(
    config: Config, out: Path, *, stable: int | None = None, canary: int | None = None, force: bool = False
) -> list[Path]:
    """Writes the files for `config`'s model under `out` and returns their paths.

    Raises:
      DeployError: a label names no pushed version, or a file is there and `force` is not set.
    """
    deployment = Deployment(config.name, config.serving_path.parent, stable, canary)
    return write_files(deployment_files(deployment), out, force)
