"""`warmspan serve`, `recommend` and `deploy-config`: the model over REST."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipeline.cli.options import (
    DEFAULT_CONFIG,
    ConfigPath,
    read_settings,
    say,
    stop,
)

if TYPE_CHECKING:
    from pipeline.config import Config

app = typer.Typer()


@app.command()
def serve(
    config: ConfigPath = DEFAULT_CONFIG,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for any that is free.")] = 8501,
    model_config_file: Annotated[
        Path | None,
        typer.Option("--model_config_file", "--model-config-file", help="Serve this models.config, not --config."),
    ] = None,
    enable_batching: Annotated[
        bool, typer.Option("--enable_batching", "--enable-batching", help="Compute concurrent requests together.")
    ] = False,
    batching_parameters_file: Annotated[
        Path | None,
        typer.Option("--batching_parameters_file", "--batching-parameters-file", help="For --enable_batching."),
    ] = None,
    monitoring_config_file: Annotated[
        Path | None,
        typer.Option("--monitoring_config_file", "--monitoring-config-file", help="Metrics are on without it."),
    ] = None,
    cors: Annotated[
        bool, typer.Option("--rest_api_enable_cors_support", help="Let the pages of any web site ask.")
    ] = False,
) -> None:
    """Serve the newest version over TF Serving's REST contract, and take up new ones."""
    settings = None if model_config_file else read_settings(config)
    if settings is not None and settings.models_config_path.exists():
        model_config_file = settings.models_config_path  # labels were given
        _refuse_others_versions(settings)
    from serving.server.flags import batching_option
    from serving.server.rest_server import RestServer
    from serving.tfs_config.monitoring_config import monitoring_option
    from serving.tfs_config.text_format import ServerConfigError

    try:
        RestServer(
            model_config_file or {settings.name: settings.serving_path},  # type: ignore[union-attr]
            *(host, port),
            cors=cors,
            metrics_path=monitoring_option(monitoring_config_file),
            batching=batching_option(enable_batching, batching_parameters_file),
        ).serve_forever()
    except ServerConfigError as error:
        stop(error)
    except OSError as error:
        stop(OSError(f"`--host` and `--port` must be free to listen on. Received: {host}:{port} ({error.strerror})."))


def _refuse_others_versions(settings: Config) -> None:
    """A root of an earlier version that was copied has labels which lead to its original."""
    from components.span_pusher.version_labels import folder_of_versions
    from pipeline.config import ConfigError
    from pipeline.config.root_address import same_folder
    from serving.tfs_config.model_config import ModelConfigError

    try:
        folder = folder_of_versions(settings.models_config_path, settings.name)
    except ModelConfigError as error:
        stop(error)
    if folder is not None and not same_folder(folder, settings.serving_path):
        stop(
            ConfigError(
                f"`base_path` in {settings.models_config_path} must be this root's own folder of versions, "
                f"{settings.serving_path}. Received: {folder}. If the root was moved or copied, `warmspan adopt` mends "
                "it; else correct it."
            )
        )


@app.command("deploy-config")
def deploy_config(
    config: ConfigPath = DEFAULT_CONFIG,
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("deploy"),
    force: Annotated[bool, typer.Option(help="Write over files that are there.")] = False,
) -> None:
    """Write what the official TensorFlow Serving needs: compose, Kubernetes, Prometheus and Grafana files."""
    settings = read_settings(config)
    from pipeline.operations.deployment import write_deployment
    from serving.deploy.deployment import DeployError
    from serving.readable import closed_folder

    try:
        paths = write_deployment(settings, out, force=force)
    except DeployError as error:
        stop(error)
    for path in paths:
        say(str(path))
    if folder := closed_folder(settings.serving_path):
        typer.echo(
            f"A server of another user can't get to {settings.serving_path.parent}: {folder} is closed to others. "
            f"`chmod o+x {folder}` lets them pass; a container that mounts the folder itself needs none of it.",
            err=True,
        )


@app.command()
def recommend(
    user: Annotated[str, typer.Argument(help="The user's id; '' for somebody unknown.")],
    config: ConfigPath = DEFAULT_CONFIG,
    history: Annotated[str, typer.Option(help="Items of the user, oldest first, with commas between.")] = "",
    k: Annotated[int, typer.Option(help="How many items.")] = 10,
    url: Annotated[str, typer.Option(help="Where the model is served.")] = "http://127.0.0.1:8501",
    feature: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of a feature of the user or the moment; once for each.")
    ] = None,
) -> None:
    """Ask the served model for a user's items."""
    settings = read_settings(config)
    from rich.table import Table

    from serving.client import Client, ClientError

    pairs = [text.partition("=") for text in feature or ()]
    if wrong := [name for name, equals, _ in pairs if not (name and equals)]:
        stop(ValueError(f"`--feature` must be NAME=VALUE, such as device=tv. Received: {wrong[0]!r}."))
    known = {name: [value for of, _, value in pairs if of == name] for name, _, _ in pairs}
    try:
        items = [item for item in history.split(",") if item]
        recommended = Client(url, settings.name).recommend(user, items, k=k, features=known)
    except ClientError as error:
        stop(error)
    table = Table("item", "score", "title", show_edge=False)
    for recommendation in recommended:
        table.add_row(recommendation.item, f"{recommendation.score:.3f}", recommendation.title or "")
    Console().print(table)
