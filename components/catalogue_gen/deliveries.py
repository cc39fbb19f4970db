"""Which deliveries of the catalogue a span goes by."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os

from components.catalogue_gen.settings import CatalogueError, Settings
from components.data_files import data_files
from components.span_example_gen.driver import newest_delivery
from components.span_example_gen.fingerprint import DigestCache, fingerprint

ALWAYS = -1  # the span of the one file that is written anew for every day
NOTHING_YET = -2  # what a state without any delivery has learned


@dataclasses.dataclass(frozen=True)
class CatalogueDelivery:
    """Of one span: its files as path and name."""

    span: int
    files: tuple[tuple[str, str], ...]


def deliveries(settings: Settings, span: int, after: int) -> list[CatalogueDelivery]:
    """What a span takes in, in order: the newest snapshot, or all changes, up to its own date.

    Args:
      settings: of the catalogue.
      span: the span's number.
      after: the delivery that the state has taken in last. What is older is not read again; a file without a date is.

    Raises:
      CatalogueError: there is no catalogue at all where the settings say.
    """
    if settings.pattern is None:
        if not os.path.isfile(settings.path):
            raise CatalogueError(
                f"`catalogue.path` must be a file where `catalogue.pattern` is null. Received: {settings.path}, which "
                f"is {'a folder' if os.path.isdir(settings.path) else 'not there'}. Correct either."
            )
        return [CatalogueDelivery(ALWAYS, ((settings.path, os.path.basename(settings.path)),))]
    every = data_files(settings.path, settings.pattern)
    if not every:
        raise CatalogueError(
            f"The catalogue must have files. Received: none for {settings.pattern!r} in {settings.path}. Deliver it, "
            "or correct `catalogue.path` and `catalogue.pattern`."
        )
    due = sorted({file.span for file in every if after < file.span <= span})
    if settings.delivery == "snapshot":
        due = due[-1:]
    newest = {number: newest_delivery([file for file in every if file.span == number])[0] for number in due}
    return [CatalogueDelivery(n, tuple((file.path, file.name) for file in files)) for n, files in newest.items()]


def fingerprint_of(settings: Settings, span: int) -> str:
    """Of all that a span may take in, so that another delivery is not answered from the cache; empty for none."""
    try:
        due = deliveries(settings, span, NOTHING_YET)
    except (CatalogueError, OSError):
        return ""  # the executor says it, where it is written down
    cache = DigestCache(settings.digests)
    parts = [[delivery.span, fingerprint(delivery.files, cache)] for delivery in due]
    cache.save()
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
