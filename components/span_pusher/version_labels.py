"""The labels `stable` and `canary` in the models.config that the servers read. No TFX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.readable import let_others_read
from serving.tfs_config.model_config import ModelConfigError, read_models_config
from trainer.atomic_write import atomic_write

MODELS_CONFIG = "models.config"
STABLE, CANARY = "stable", "canary"
_HEADER = """\
# Which versions are served, under which labels. `warmspan promote`, `canary` and `rollback` write this file anew: they
# keep all settings of all models, but no comments.
"""


def read_labels(file: str | Path, name: str) -> dict[str, int]:
    """Label to version of the model `name`; empty without the file, the model or a label.

    Raises:
      ModelConfigError: the file is there and can't be used.
    """
    if not Path(file).exists():
        return {}
    return next(
        (dict(served_model.labels) for served_model in read_models_config(file) if served_model.name == name), {}
    )


def knows(file: str | Path, name: str) -> bool:
    """Whether the file is there and has settings for the model `name`. Raises as `read_labels`."""
    return Path(file).exists() and any(served_model.name == name for served_model in read_models_config(file))


def folder_of_versions(file: str | Path, name: str) -> Path | None:
    """Where the file says that the versions of the model `name` lie; None where it says nothing. Raises as above."""
    entries = read_models_config(file) if Path(file).exists() else []
    return next((entry.base_path for entry in entries if entry.name == name), None)


def write_labels(file: str | Path, name: str, served: str | Path, labels: Mapping[str, int]) -> None:
    """Sets the labels of the model `name`, and a version policy that keeps every version in the folder loaded.

    TensorFlow Serving refuses a whole file that moves a label to a version which is not loaded, also if the same file
    asks for that version to be loaded. So what may get a label has to be loaded before. At every moment the file is the
    old or the new one. Other models, and whatever else it says of this one, stay as they are. Without labels the newest
    version is served, as without the file.

    Args:
      file: the models.config; made if it is not there.
      name: the model's.
      served: the folder of its versions, written as an absolute path if the file does not know the model yet.
      labels: label to version.

    Raises:
      ModelConfigError: the file is there and can't be used.
    """
    from google.protobuf import text_format

    file = Path(file)
    server = _parse(file)
    configs = [model_config for model_config in server.model_config_list.config if model_config.name == name]
    entry = (
        configs[0] if configs else server.model_config_list.config.add(name=name, base_path=str(Path(served).resolve()))
    )
    entry.model_platform = entry.model_platform or "tensorflow"
    entry.version_labels.clear()
    entry.version_labels.update(labels)
    if labels:
        entry.model_version_policy.all.SetInParent()
    else:
        entry.model_version_policy.latest.num_versions = 1
    _replace(file, _HEADER + text_format.MessageToString(server))


def _parse(file: Path) -> Any:
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    server = model_server_config_pb2.ModelServerConfig()
    if file.exists():
        read_models_config(file)  # says what is wrong with it
        text_format.Parse(file.read_text(encoding="utf-8"), server)
    return server


def _replace(file: Path, text: str) -> None:
    try:
        # The same name each time: what a killed process left is written over by the next attempt.
        with atomic_write(file, beside=file.with_name(f".{file.name}.partial"), durable=True) as beside:
            beside.write_text(text, encoding="utf-8")
            let_others_read(beside, top=file.parent)
    except OSError as error:
        raise ModelConfigError(
            f"{file} must be a file that can be written. Received: {error.strerror}. It is as it was."
        ) from None
