"""Every format, in the order in which files are asked for theirs."""

from __future__ import annotations

from pathlib import Path

from pipeline.erasure.formats.base import FileFormat
from pipeline.erasure.formats.examples import Examples
from pipeline.erasure.formats.ledger import Ledger
from pipeline.erasure.formats.messages import Anomalies, Events, Statistics
from pipeline.erasure.formats.models import ReferenceAnswers, Variables, WarmUp
from pipeline.erasure.formats.plain import Gzip, Npz, Page, Text, Unknown
from pipeline.erasure.formats.tables import Csv, History, Parquet

FORMATS: tuple[FileFormat, ...] = (
    # Told by the whole name,
    Ledger(),
    Examples(),
    Variables(),
    Events(),
    Statistics(),
    Anomalies(),
    ReferenceAnswers(),
    WarmUp(),
    History(),
    # then by its end,
    Parquet(),
    Csv(),
    Page(),
    Text(),
    Gzip(),
    Npz(),
    # and what is left.
    Unknown(),
)


def format_of(path: Path) -> FileFormat:
    """The first format that a file is of; `Unknown` is any file's."""
    return next(file_format for file_format in FORMATS if file_format.matches(path))
