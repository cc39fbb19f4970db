"""`warmspan adopt`: a root that was moved or copied."""

from __future__ import annotations

import typer

from pipeline.cli.options import DEFAULT_CONFIG, ConfigPath, DryRun, Yes, agreed, read_settings, say, stop

app = typer.Typer()


@app.command()
def adopt(
    config: ConfigPath = DEFAULT_CONFIG,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Make a root whole that was moved, and a root of its own of one that was copied."""
    settings = read_settings(config, anywhere=True)
    from pipeline.metadata_store.exclusive import LockedError
    from pipeline.operations.adoption import AdoptionError, carry_out, make_adoption

    try:
        planned = make_adoption(settings)
        if planned is None:
            say(f"{settings.root} stands where it was made. Nothing to do.")
            return
        what = "is a copy of" if planned.copied else "was made as"
        say(f"{settings.root} {what} {planned.address}.")
        say(f"{'ledger':10}{planned.artifacts} artifacts")
        if planned.labels:
            say(f"{'labels':10}{settings.models_config_path}")
        for link in planned.links:
            say(f"{'link':10}{link}")
        if planned.copied:
            say(f"It becomes a root of its own; {planned.address} is not touched.")
        if not agreed("Write its new place?", dry_run, yes):
            return
        carry_out(settings, planned)
    except (AdoptionError, LockedError) as error:
        stop(error)
    say("Done. Files that `warmspan deploy-config` wrote name the old folder: write them again.")
