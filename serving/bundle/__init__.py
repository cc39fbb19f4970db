"""A bundle: what is pushed and served as one. What it holds, how it is written and how it is checked."""

from serving.bundle.manifest import (
    FORMAT,
    MANIFEST,
    BundleError,
    Exportable,
    Manifest,
    check_bundle,
    fingerprints,
    table_bytes,
    write_bundle,
)

__all__ = [
    "FORMAT",
    "MANIFEST",
    "BundleError",
    "Exportable",
    "Manifest",
    "check_bundle",
    "fingerprints",
    "table_bytes",
    "write_bundle",
]
