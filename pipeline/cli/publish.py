"""`warmspan publish` and `fetch`: the served folder in an object store, and from there on a server's disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.options import DEFAULT_CONFIG, ConfigPath, read_settings, say, stop

if TYPE_CHECKING:
    from components.span_pusher.published_versions import Changes

app = typer.Typer()


@app.command()
def publish(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Make `push.path` hold what is served here; run and rollback do so themselves, unless they were cut off."""
    settings = read_settings(config)
    from pipeline.metadata_store.exclusive import LockedError, exclusive
    from pipeline.operations import publication

    try:
        with exclusive(settings):
            if settings.push.path is None:
                raise publication.PublicationError(
                    "`push.path` must be given. Received: none. Write for example `path: s3://bucket/models`."
                )
            _tell(publication.publish(settings), str(settings.push.path.below(settings.name)))
    except (publication.PublicationError, LockedError) as error:
        stop(error)


@app.command()
def fetch(
    address: Annotated[
        str, typer.Argument(help="The model's place, `push.path` with its name: s3://bucket/models/shop.")
    ],
    to: Annotated[Path, typer.Option(help="The folder for a folder a model; the model's own is named as in ADDRESS.")],
    every: Annotated[float | None, typer.Option(min=1, help="Go on, and look again after so many seconds.")] = None,
) -> None:
    """Bring what is published to a server's disk, and keep it so: for a TF Serving that can't read s3:// itself."""
    from components.object_store.address import StoreAddress
    from components.object_store.store import ObjectStore, ObjectStoreError
    from components.span_pusher.fetched_versions import fetch as fetch_versions
    from serving.tfs_config.model_config import ModelConfigError

    try:
        place = StoreAddress.parse(address)
    except ValueError as error:
        stop(ValueError(f"`ADDRESS` {error}"))
    served = to / place.rpartition("/")[2]
    while True:
        try:
            changes = fetch_versions(ObjectStore(place), served)
            if every is None or changes.came or changes.left:
                _tell(changes, str(served))
        except (ObjectStoreError, ModelConfigError) as error:
            if every is None:
                stop(error)
            say(str(error))  # what is served is served on
        if every is None:
            return
        time.sleep(every)


def _tell(changes: Changes, where: str) -> None:
    if not changes.came and not changes.left:
        say(f"Nothing to do: {where} is as it should be.")
    if changes.came:
        say(f"{'came':10}{', '.join(map(str, changes.came))}")
    if changes.left:
        say(f"{'left':10}{', '.join(map(str, changes.left))}")
