"""A disk that is full or can't be written to, met by whatever command: a sentence, since all can be repeated."""

from __future__ import annotations

import errno

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_OURS = {errno.EROFS, errno.EACCES, errno.EPERM}


def disk_error(error: BaseException) -> str | None:
    """What to do about a disk that refused a write; None for any other error."""
    text = str(error)
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
