"""A file of an earlier day in a later day's folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from trainer.atomic_write import atomic_write


def share(source: Path, target: Path) -> None:
    """Puts a file that is never changed into another folder too: by a hard link, or as a copy where there can be none.

    Either file may be removed without the other.
    """
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        return  # another attempt at the same shard was quicker
    except OSError:
        with atomic_write(target) as beside:
            shutil.copyfile(source, beside)
