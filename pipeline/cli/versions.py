"""`warmspan rollback`, `promote` and `canary`: which of the pushed versions are served."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.options import DEFAULT_CONFIG, ConfigPath, DryRun, Yes, agreed, read_settings, say, stop

app = typer.Typer()


@app.command()
def rollback(
    config: ConfigPath = DEFAULT_CONFIG,
    to: Annotated[int | None, typer.Option(help="Go back to this version; every later one is revoked.")] = None,
    bad: Annotated[int | None, typer.Option(help="Revoke this version and all that descend from it.")] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")] = "rolled back by hand",
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds that servers get to see a label move before its version is removed; 15."),
    ] = None,
) -> None:
    """Take a bad model back, and every model that was trained from it: out of service, never to be a base again."""
    settings = read_settings(config)
    from components.span_pusher.published_versions import SEEN_AFTER
    from pipeline.metadata_store.exclusive import LockedError
    from pipeline.operations.rollback import RollbackError, carry_out, describe, make_rollback

    seconds = SEEN_AFTER if wait is None else wait
    try:
        planned = make_rollback(settings, to, bad)
        for line in describe(planned, settings):
            say(line)
        if planned.empty:
            say("Nothing to do: all of this is so already.")
            return
        if not agreed("Roll back?", dry_run, yes):
            return
        if planned.labels and seconds:
            say(f"The servers get {seconds:g} s to see the labels move.")
        carry_out(settings, planned, reason, seconds)
    except (RollbackError, LockedError) as error:
        stop(error)
    say(f"Done. Version {planned.serves.version} is the newest in {settings.serving_path}.")


@app.command()
def promote(
    version: Annotated[
        int | None, typer.Argument(help="By default the canary if it is another, else the newest version.")
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    off: Annotated[bool, typer.Option("--off", help="Take all labels away: the newest version is served.")] = False,
) -> None:
    """Give the label `stable` to a version. From then on every version in the folder is loaded: ask by label."""
    _label("stable", config, version, off)


@app.command()
def canary(
    version: Annotated[int | None, typer.Argument(help="The version to try out beside the stable one.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    off: Annotated[bool, typer.Option("--off", help="Take the label away.")] = False,
) -> None:
    """Give the label `canary` to a version."""
    if version is None and not off:
        stop(ValueError("`VERSION` must be given. Received: none. `warmspan status` lists what was pushed."))
    _label("canary", config, version, off)


def _label(label: str, config: ConfigPath, version: int | None, off: bool) -> None:
    settings = read_settings(config)
    from pipeline.metadata_store.exclusive import LockedError
    from pipeline.operations import promotion

    try:
        if off and version is not None:
            raise ValueError(f"`--off` must stand alone. Received: with {version}. Leave one of them out.")
        labels = promotion.remove_label(settings, label) if off else promotion.assign_label(settings, label, version)
    except (ValueError, LockedError) as error:
        stop(error)
    for name, number in sorted(labels.items(), reverse=True):
        say(f"{name:8}{number}")
    say(f"Written to {settings.models_config_path}." if labels else "No labels: the newest version is served.")
