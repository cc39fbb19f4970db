"""What lies in the data folder for each span, as ingestion will see it."""

from __future__ import annotations

import functools
import itertools

from components.data_files import data_files, without_version
from components.span_example_gen.driver import newest_delivery, processor_of
from components.span_example_gen.fingerprint import DigestCache, fingerprint
from components.suppression_list import SuppressionList
from pipeline.config import Config
from pipeline.planning.differences import Delivery


def read_deliveries(config: Config) -> dict[int, Delivery]:
    """Every span that has files, in order, with its newest version and the fingerprint of what is in them.

    Spans that were forgotten are left out: they count as never delivered.
    """
    forgotten = SuppressionList.load(config.suppression_list_path)
    pattern, cache = config.data.pattern, DigestCache(config.digests_path)
    deliveries = {}
    every = sorted(data_files(config.data.path, pattern), key=lambda file: file.span)
    for span, files in itertools.groupby(every, lambda file: file.span):
        if forgotten is None or span not in forgotten.spans:
            newest, version = newest_delivery(list(files))
            deliveries[span] = Delivery(
                None if without_version(pattern) == pattern else version,
                fingerprint([(file.path, file.name) for file in newest], cache),
                functools.partial(_by_times, config, span),
            )
    cache.save()
    return deliveries


def _by_times(config: Config, span: int) -> str:
    return processor_of(str(config.data.path), config.data.pattern, span).tfx_fingerprint()
