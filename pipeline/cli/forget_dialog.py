"""What `warmspan forget` says before and after it does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.filesize import decimal

from pipeline.config import Config
from pipeline.erasure import spans as span_lib
from pipeline.erasure import users as user_lib
from pipeline.erasure.errors import ErasureError
from pipeline.erasure.journal import journal_path
from pipeline.erasure.pending import read_pending, revoke_older
from pipeline.erasure.users import Erasure
from pipeline.metadata_store.exclusive import exclusive
from pipeline.operations.disk_usage import tree_bytes
from pipeline.operations.rollback import describe
from pipeline.spans import Naming

Say = Callable[[str], None]
Agreed = Callable[[], bool]
_MOST = 5


def users_in(path: Path) -> list[str]:
    """The ids of a file, one a line.

    Raises:
      ErasureError: it can't be read.
    """
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise ErasureError(f"`--file` must be a text file with an id a line. Received: {path} ({error}).") from None


def forget_users(config: Config, users: Sequence[str], say: Say, agreed: Agreed) -> bool:
    """Shows where they were seen, asks, erases, and looks again; whether nothing is left.

    Raises:
      ErasureError, SuppressionListError, JournalError, LockedError: it can't be done.
    """
    planned = user_lib.make_erasure(config, users)
    for line in _lines(planned, config):
        say(line)
    if not agreed():
        return True
    left = user_lib.carry_out(config, planned)
    if left:
        say("These files still hold an id, in a form that is not known here. Remove them, and give the command again:")
        for path in left:
            say(f"  {path}")
        return False
    say(f"Done: no file under {config.root} holds {'the id' if len(planned.users) == 1 else 'any of the ids'}.")
    return True


def forget_span(config: Config, name: str, say: Say, agreed: Agreed) -> bool:
    """The same for a day.

    Raises:
      ErasureError, RollbackError, LockedError, SpanNameError: it can't be done.
    """
    planned, naming = span_lib.make_span_erasure(config, name), Naming(config.data.dated)
    for line in describe(planned.rollback, config):
        if not line.startswith((" ", "owed")):
            say(line.replace(" (the artifacts stay)", ""))
    size = sum(tree_bytes(record.folder) for record in planned.records)
    say(f"{'erased':10}{len(planned.records)} artifacts of {name} and of the days that stand on it, {decimal(size)}")
    if planned.again:
        say(f"{'again':10}{', '.join(map(naming.format, planned.again))} must be run again, without {name}")
    if planned.own:
        say(f"{'yours':10}The day's own files in {planned.own[0]} are left alone and never read again.")
    if not agreed():
        return True
    span_lib.carry_out(config, planned)
    say("Done.")
    return True


def forget_rest(config: Config, say: Say, agreed: Agreed) -> bool:
    """What is still to be done of earlier erasures: one that was cut off, models that learned from the forgotten.

    Raises:
      ErasureError, JournalError, LockedError, RollbackError: it can't be done.
    """
    pending = read_pending(config)
    cut_off = journal_path(config).exists()
    if cut_off:
        say("An erasure was cut off; it is ended now.")
    for model in pending.older:
        say(f"{'removed':10}{model.version}, which learned from somebody who was forgotten")
    if not cut_off and not pending.older:
        if pending.empty:
            say("Nothing is left to be forgotten.")
        return True
    if not agreed():
        return True
    left: list[Path] = []
    if cut_off:
        with exclusive(config):
            left = user_lib.finish(config)
    revoke_older(config)
    for path in left:
        say(f"Still holds an id: {path}")
    say("Done.")
    return not left


def _lines(planned: Erasure, config: Config) -> list[str]:
    naming = Naming(config.data.dated)
    lines = []
    for sighting in planned.seen:
        spans = " to ".join(dict.fromkeys(naming.format(span) for span in (sighting.spans[0], sighting.spans[-1])))
        times = f"{sighting.count} time{'s' * (sighting.count != 1)}"
        lines.append(
            f"{sighting.kind:30}{spans}, {len(sighting.spans)} span{'s' * (len(sighting.spans) != 1)}, {times}"
        )
    lines += [f"{'under the root':30}{name}" for name in _few(planned.files)]
    if planned.empty:
        lines.append("No file under the root holds it. It is kept from coming in.")
    if planned.learned:
        lines.append(f"{'learned from':30}{', '.join(_few([str(version) for version in planned.learned]))}")
    lines += [f"{'yours, not touched':30}{path}" for path in _few([str(path) for path in planned.own])]
    return lines


def _few(names: Sequence[str]) -> list[str]:
    more = [f"and {len(names) - _MOST} more"] if len(names) > _MOST else []
    return [*names[:_MOST], *more]
