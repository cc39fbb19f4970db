"""TF Serving's folder on the disk of a server, kept as what a store holds of the model. No TFX.

For servers that can't read a bucket themselves: TensorFlow Serving has had no `s3://` since 2.7. On a disk a version
comes, and goes, by a rename, and is compared with its manifest before.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from components.object_store.store import ObjectStore, ObjectStoreError
from components.span_pusher.published_versions import Changes, Published, published
from components.span_pusher.streamed_versions import locked
from components.span_pusher.version_folder import beside_version, clear_leftovers, enter, streamed, take_out, versions
from components.span_pusher.version_labels import MODELS_CONFIG, read_labels, write_labels
from serving.bundle import MANIFEST, BundleError, check_bundle
from trainer.atomic_write import sync


def fetch(store: ObjectStore, served: Path) -> Changes:
    """Makes the folder `served` hold the versions that the store's models.config names, and those below them.

    What has been published but is not named yet is left alone, and so is everything while nothing is named: a place
    that is being set up, or emptied by mistake, takes no model out of service.

    Args:
      store: the place of one model, as `publish` writes it.
      served: the folder of its versions; `models.config` beside it gets their labels.

    Raises:
      ObjectStoreError: the store can't be used, or holds a version that is damaged. What is served is served on.
    """
    there = published(store)
    if not there.named:
        return Changes()
    wanted = [version for version in there.whole if version <= max(there.named)]
    came, exchanged = [], []
    with locked(served):
        served.mkdir(parents=True, exist_ok=True)
        clear_leftovers(served)
        for version in wanted:
            target = served / str(version)
            is_there = target.exists()
            if is_there and store.read(f"{version}/{MANIFEST}") == (target / MANIFEST).read_bytes():
                continue
            _download(store, version, served)
            came.append(version)
            exchanged += [version] if is_there else []
        _label(served, there)
        gone = sorted({*versions(served), *streamed(served)} - set(wanted))
        take_out(served, gone)
    return Changes(tuple(came), tuple(sorted([*gone, *exchanged])))


def _download(store: ObjectStore, version: int, served: Path) -> None:
    beside = beside_version(served, version)
    try:
        for name in store.objects(f"{version}/"):
            inside = beside / name.partition("/")[2]
            inside.parent.mkdir(parents=True, exist_ok=True)
            store.download(name, inside)
        check_bundle(beside)
        enter(beside, served / str(version))
    except BundleError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise ObjectStoreError(
            f"Version {version} must be whole in {store.address}. {error} It may be exchanged right now: fetch again, "
            "and if that does not help, run `warmspan publish` where it was trained."
        ) from None
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sync(served)
    clear_leftovers(served)


def _label(served: Path, there: Published) -> None:
    file = served.parent / MODELS_CONFIG
    if dict(there.labels) != read_labels(file, served.name):
        write_labels(file, served.name, served, there.labels)
