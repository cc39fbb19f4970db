"""The settings of a server as its programs take them: the flags and files of `tensorflow_model_server`."""

from __future__ import annotations

from pathlib import Path

from serving.batching_config import BatchingConfig, read_batching_parameters
from serving.metrics import PROMETHEUS_PATH
from serving.text_config import ServerConfigError, read_text


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


def monitoring_option(monitoring_config_file: str | Path | None) -> str | None:
    """The path of the Prometheus page by `--monitoring_config_file`; None when the file does not enable it.

    Without a file the page is at TensorFlow Serving's usual path.

    Raises:
      ServerConfigError: the file can't be used, or its path does not begin with a slash.
    """
    if monitoring_config_file is None:
        return PROMETHEUS_PATH
    prometheus = read_text(monitoring_config_file, "MonitoringConfig").prometheus_config
    if not prometheus.enable:
        return None
    path = prometheus.path or PROMETHEUS_PATH
    if not path.startswith("/"):
        raise ServerConfigError(f"{monitoring_config_file}: `path` must begin with a slash. Received: {path!r}.")
    return path
