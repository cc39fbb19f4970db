"""Where a root without an address was made, by its ledger: roots of earlier versions have none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ml_metadata.metadata_store import metadata_store

from pipeline.config import Config
from pipeline.config.root_address import RootAddress, moved, same_folder


def refuse_moved(config: Config, store: metadata_store.MetadataStore) -> None:
    """Refuses a root without an address whose artifacts were all made elsewhere.

    Raises:
      MovedRootError: it was moved or copied since.
    """
    if RootAddress.read(config.root) is not None or not config.artifacts_path.is_dir():
        return
    address = former_address(config, store)
    if address is not None:
        raise moved(config.root, address, (address / "artifacts").is_dir())


def former_address(config: Config, store: metadata_store.MetadataStore) -> Path | None:
    """The root that most artifacts were made under; None if there are none, or some were made here."""
    context = store.get_context_by_type_and_name("pipeline", config.name)
    artifacts = [] if context is None else store.get_artifacts_by_context(context.id)
    # <root>/artifacts/<node>/<output>/<execution>
    folders = [Path(artifact.uri) for artifact in artifacts if artifact.uri]
    roots = Counter(
        folder.parents[3] for folder in folders if len(folder.parents) > 4 and folder.parents[2].name == "artifacts"
    )
    if not roots or any(same_folder(root, config.root) for root in roots):
        return None
    return roots.most_common(1)[0][0]
