"""TensorFlow Serving's monitoring file: whether, and where, metrics are to be had."""

from __future__ import annotations

from pathlib import Path

from serving.tfs_config.text_format import ServerConfigError, read_text

PROMETHEUS_PATH = "/monitoring/prometheus/metrics"


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
