"""`warmspan deploy-config`: the files for the official TensorFlow Serving, from the settings file."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import Config
from pipeline.metadata_store.exclusive import LockedError
from pipeline.operations.promotion import PromotionError, write_first_labels
from serving.deploy.deployment import DeployError, Deployment, check_paths, deployment_files, write_files


def write_deployment(config: Config, out: Path, *, force: bool = False) -> list[Path]:
    """Writes the files for `config`'s model under `out` and returns their paths.

    Makes `<root>/serving/models.config`, which the server reads, if it does not know the model yet.

    Raises:
      DeployError: a file is there and `force` is not set, or the models.config can't be used or made.
    """
    deployment = Deployment(config.name, config.serving_path.parent)
    try:
        write_first_labels(config)
    except (PromotionError, LockedError) as error:
        raise DeployError(str(error)) from None
    check_paths(deployment)
    return write_files(deployment_files(deployment), out, force)
