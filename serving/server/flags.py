"""The settings of a server as its programs take them: the flags and files of `tensorflow_model_server`."""

from __future__ import annotations

from pathlib import Path

from serving.tfs_config.batching_config import BatchingConfig, read_batching_parameters
from serving.tfs_config.text_format import ServerConfigError


def batching_option(enable_batching: bool, batching_parameters_file: str | Path | None) -> BatchingConfig | None:
    """How requests are batched by `--enable_batching` and `--batching_parameters_file`; None for not at all.

    Raises:
      ServerConfigError: the file can't be used, or it is given without the flag.
    """
    if batching_parameters_file is not None and not enable_batching:
        raise ServerConfigError(
            "`--batching_parameters_file` must come with `--enable_batching`. Received: the file "
            f"{str(batching_parameters_file)!r} alone."
        )
    if not enable_batching:
        return None
    if batching_parameters_file is None:
        return BatchingConfig(thread_pool_name="model_server_batch_threads")
    return read_batching_parameters(batching_parameters_file)
