"""Ends an erasure that was cut off, before anything else is done under the root."""

from __future__ import annotations

import logging

from pipeline.config import Config
from pipeline.erasure import spans, users
from pipeline.erasure.journal import journal_path

_log = logging.getLogger("warmspan.forget")


def end_erasures(config: Config) -> None:
    """Ends what was cut off, before a run begins. The caller holds the locks."""
    if journal_path(config).exists():
        left = users.finish(config)
        _log.warning("Ended an erasure that was cut off.")
        if left:
            _log.error("These files still hold the id: %s", ", ".join(map(str, left)))
    if config.suppression_list_path.exists():
        spans.finish(config)
