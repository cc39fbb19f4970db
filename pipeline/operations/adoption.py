"""Makes a root whole that was moved or copied: its ledger, labels and links say where it stands now."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.config import Config
from pipeline.config.root_address import RootAddress, is_copy, same_folder
from pipeline.metadata_store.connection import connect
from pipeline.metadata_store.exclusive import exclusive
from pipeline.metadata_store.former_address import former_address
from serving.readable import let_others_read
from trainer.atomic_write import atomic_write


class AdoptionError(RuntimeError):
    """The root can't be adopted; the message says why. Nothing was changed."""


@dataclasses.dataclass(frozen=True)
class Adoption:
    """What an adoption writes anew.

    Attributes:
      address: where the root was made.
      copied: whether it stands there too; then this one becomes a root of its own.
      artifacts: how many the ledger has there.
      labels: whether the models.config names the folder of versions there.
      links: links in the root that lead there.
    """

    address: Path
    copied: bool
    artifacts: int
    labels: bool
    links: tuple[Path, ...]


def make_adoption(config: Config) -> Adoption | None:
    """Says what an adoption would write; changes nothing. None for a root that stands where it was made.

    Args:
      config: settings, read with `anywhere`.

    Raises:
      AdoptionError: a copy would write the same runs as its original.
    """
    if not config.root.is_dir() or (config.metadata is None and not (config.root / "metadata.sqlite").exists()):
        return None
    stated = RootAddress.read(config.root)
    if config.metadata is not None and stated is not None and is_copy(stated):
        raise AdoptionError(
            f"A copy must have a ledger of its own. Received: {config.root}, whose `metadata` is a server that "
            f"{stated.path} uses too. Give the copy another `name` and start it with an empty root, or remove it."
        )
    store = connect(config, anywhere=True)
    address = stated.path if stated is not None else former_address(config, store)
    if address is None or same_folder(address, config.root):
        return None
    copied = is_copy(stated) if stated is not None else (address / "artifacts").is_dir()
    paths = _Paths(address, config.root)
    return Adoption(
        address=address,
        copied=copied,
        artifacts=sum(paths.within(artifact.uri) for artifact in _artifacts(config, store)),
        labels=config.models_config_path.exists() and paths.stand_in(config.models_config_path.read_text()),
        links=tuple(_links(config.root, paths)),
    )


def carry_out(config: Config, planned: Adoption) -> None:
    """Does what was planned. Cut off anywhere the root is as before to every other command, and this one ends it.

    Raises:
      LockedError: another process uses the root.
    """
    paths = _Paths(planned.address, config.root)
    with exclusive(config, anywhere=True):
        store = connect(config, anywhere=True)
        stated = RootAddress.read(config.root)
        # Until all is done the root says where it was: one without an address could not be told from a whole one.
        address = stated or RootAddress.new(planned.address)
        if stated is None:
            address.write(config.root)
        for path in _links(config.root, paths):
            _lead(path, paths.moved(os.readlink(path)))
        if planned.labels:
            text = config.models_config_path.read_text()
            with atomic_write(config.models_config_path, durable=True) as beside:
                beside.write_text(paths.moved(text))
        if config.serving_path.parent.exists():
            let_others_read(config.serving_path.parent)  # a copy was made under the umask of its maker
        # One call is one transaction. What nodes were given is left as it was: it was so when they ran, and to write an
        # execution anew would change the seconds that it took.
        if artifacts := [artifact for artifact in _artifacts(config, store) if paths.move_in(artifact)]:
            store.put_artifacts(artifacts)
        fresh = RootAddress.new(config.root, address.decimal_ids)
        (fresh if planned.copied else dataclasses.replace(address, path=config.root)).write(config.root)


class _Paths:
    """Paths below one folder, and the same below another."""

    def __init__(self, old: Path, new: Path) -> None:
        # A path may stand in a text, as in the JSON of a node's settings; not every text that ends like it is one.
        self._expression = re.compile(r"(?<![\w./-])" + re.escape(str(old)) + r"(?![\w.-])")
        self._old, self._new = old, new

    def within(self, path: str) -> bool:
        return Path(path).is_relative_to(self._old)

    def stand_in(self, text: str) -> bool:
        return self._expression.search(text) is not None

    def moved(self, text: str) -> str:
        return self._expression.sub(lambda match: str(self._new), text)

    def move_in(self, artifact: metadata_store_pb2.Artifact) -> bool:
        """Moves every path in what an artifact says; whether there was one."""
        before = artifact.SerializeToString()
        artifact.uri = self.moved(artifact.uri)
        for value in (*artifact.properties.values(), *artifact.custom_properties.values()):
            if value.HasField("string_value"):
                value.string_value = self.moved(value.string_value)
        return artifact.SerializeToString() != before


def _artifacts(config: Config, store: metadata_store.MetadataStore) -> Iterable[metadata_store_pb2.Artifact]:
    """Of a ledger under the root all; of a server's, which others use too, the recommender's."""
    if config.metadata is None:
        return store.get_artifacts()
    context = store.get_context_by_type_and_name("pipeline", config.name)
    return [] if context is None else store.get_artifacts_by_context(context.id)


def _links(root: Path, paths: _Paths) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        for name in sorted((*folders, *files)):
            path = Path(folder) / name
            if path.is_symlink() and paths.within(os.readlink(path)):
                yield path


def _lead(path: Path, target: str) -> None:
    beside = path.with_name(f".{path.name}.partial")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    os.replace(beside, path)
