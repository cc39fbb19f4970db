"""A disk that is full or can't be written to, met by whatever command: a sentence, since all can be repeated."""

from __future__ import annotations

import errno
import os

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_OURS = {errno.EROFS, errno.EACCES, errno.EPERM}


def disk_error(error: BaseException) -> str | None:
    """What to do about a disk that refused a write, or a read; None for any other error."""
    text = str(error)
    if isinstance(error, PermissionError) and error.filename is not None and _hidden(os.fsdecode(error.filename)):
        return (
            f"What a command needs must be readable for this user. Received: {text}. Run as the user whom it belongs "
            "to, or let this one read it."
        )
    number = error.errno if isinstance(error, OSError) else None
    # SQLite has words of its own, and ML Metadata hands them on as text.
    if number in _FULL or "database or disk is full" in text or "No space left on device" in text:
        cure = "Make room, for example by `warmspan gc`"
    elif number in _NOT_OURS or "readonly database" in text:
        cure = "Give this user the right to write there"
    else:
        return None
    said = " ".join(text.split())[:300]
    return (
        f"The disk must have room under the pipeline root, and let this user write. Received: {said}. What was served "
        f"is served on. {cure}, and give the same command again: it goes on where it stopped."
    )


def _hidden(path: str) -> bool:
    """Whether a file or folder is there, or may be, and this user can't look into it."""
    return not os.access(path if os.path.exists(path) else os.path.dirname(path) or ".", os.R_OK)
