"""The files that put a model behind the official TensorFlow Serving: compose, Kubernetes, Prometheus and Grafana.

The templates lie in `templates/`; what is written holds no other path of this machine than that of the served folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.atomic_write import write_file
from serving.deploy.grafana_dashboard import grafana_board
from serving.readable import let_others_read
from serving.tfs_config.model_config import read_models_config
from serving.tfs_config.monitoring_config import PROMETHEUS_PATH
from serving.tfs_config.text_format import ServerConfigError

TEMPLATES = Path(__file__).parent / "templates"
IMAGES = {
    "serving_image": "tensorflow/serving:2.19.1",
    "prometheus_image": "prom/prometheus:v2.55.1",
    "grafana_image": "grafana/grafana:11.3.0",
}
MODELS_CONFIG = "models.config"
_CONFIGS = ("batching.config", "monitoring.config")


class DeployError(ValueError):
    """The files can't be written; the message says what to change."""


@dataclass(frozen=True)
class Deployment:
    """One model to be served.

    Attributes:
      name: the model's name, and that of its folder of versions.
      served: the folder that holds a folder a model and the models.config, `<root>/serving`. The server sees it under
        this very path, so that the `base_path` of the models.config holds for it as well.
      threads: batches that compute at once: the cores of the server.
    """

    name: str
    served: Path
    threads: int = 2

    @property
    def flags(self) -> tuple[str, ...]:
        """The command line of the server."""
        return (
            "--rest_api_port=8501",
            "--port=8500",
            f"--model_config_file={self.served.resolve() / MODELS_CONFIG}",
            # A rollback waits longer than this between the move of a label and the removal of its version.
            "--model_config_file_poll_wait_seconds=10",
            "--monitoring_config_file=/config/monitoring.config",
            "--enable_batching=true",
            "--batching_parameters_file=/config/batching.config",
            "--file_system_poll_wait_seconds=5",
            # A server may start while the version that a label names is not loaded yet.
            "--allow_version_labels_for_unavailable_models=true",
            # A site waits for a recommendation no longer than this.
            "--rest_api_timeout_in_ms=2000",
        )


def deployment_files(deployment: Deployment) -> dict[str, str]:
    """Relative path to the text of each file."""
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    templates.filters["compose"] = lambda text: _quoted(text, "$", "$$")
    # An argument of a container takes `$(NAME)` for a variable.
    templates.filters["kubernetes"] = lambda text: _quoted(text, "$(", "$$(")
    values = {
        **IMAGES,
        "name": deployment.name,
        # Kubernetes and compose take lower case and hyphens alone.
        "resource": deployment.name.lower().replace("_", "-").strip("-"),
        "served": deployment.served.resolve(),
        "threads": deployment.threads,
        "metrics_path": PROMETHEUS_PATH,
        "flags": deployment.flags,
    }
    configs = {file: templates.get_template(f"{file}.j2").render(values) for file in _CONFIGS}
    others = sorted(
        name.removesuffix(".j2")
        for name in templates.list_templates(["j2"])
        if name.removesuffix(".j2") not in _CONFIGS
    )
    return {
        **{f"config/{file}": text for file, text in configs.items()},
        **{name: templates.get_template(f"{name}.j2").render(values, configs=configs) for name in others},
        "grafana/dashboards/serving.json": json.dumps(grafana_board(deployment.name), indent=2) + "\n",
    }


def write_files(files: Mapping[str, str], out: str | Path, force: bool = False) -> list[Path]:
    """Writes `files` by relative path under `out`; returns the paths. A file that is the same already is left alone.

    Raises:
      DeployError: a file is there with another text and `force` is not set (nothing is written then), or `out` can't
        be written to.
    """
    out = Path(out)
    try:
        changed = {out / name: text for name, text in files.items() if _read(out / name) != text}
        there = sorted(str(path) for path in changed if path.exists())
        if there and not force:
            raise DeployError(
                f"A file that is there must not be lost. Received: {', '.join(there)}. Give `--force` to write over "
                "them, or another `--out`."
            )
        for path, text in changed.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, text)
        for name in files:  # by the images' own users
            let_others_read(out / name, top=out)
    except OSError as error:
        raise DeployError(f"`--out` must be a folder that can be written to. Received: {out} ({error}).") from None
    return [out / name for name in files]


def check_paths(deployment: Deployment) -> None:
    """Looks whether the server can reach what its models.config names.

    Raises:
      DeployError: the file can't be used, or a model's `base_path` lies elsewhere.
    """
    served = deployment.served.resolve()
    file = served / MODELS_CONFIG
    try:
        configs = read_models_config(file)
    except ServerConfigError as error:
        raise DeployError(str(error)) from None
    if elsewhere := [str(config.base_path) for config in configs if not config.base_path.is_relative_to(served)]:
        raise DeployError(
            f"Each `base_path` in {file} must lie in {served}, which the server gets to see. Received: "
            f"{', '.join(elsewhere)}. Correct it there, and run this again."
        )


def _quoted(value: object, mark: str, escaped: str) -> str:
    """A JSON string, which YAML reads too, with what would be taken for a variable escaped."""
    return json.dumps(str(value).replace(mark, escaped), ensure_ascii=False)


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
