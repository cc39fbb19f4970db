"""Takes users out of a bundle: their ids, their own rows, requests and lists that name them. The manifest follows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.bundle.manifest import Manifest, check_bundle, fingerprints
from serving.bundle.warmup_requests import WARM_UP_FILE, read_warm_up, write_warm_up

_KEYS, _ITEMS = "keys/ids/.ATTRIBUTES/VARIABLE_VALUE", "items/ids/.ATTRIBUTES/VARIABLE_VALUE"
_NOT_OF_KEYS = ("_", "items/", "columns/", "query_inputs/")  # how names of other variables begin
_CHECKPOINT = Path("variables") / "variables"
_NOBODY = b"none of the ids"  # as in the warm-up of a model without keys
# Not the names of a push or a removal that was cut off: those are cleared away, and never put back.
BESIDE, AWAY = ".rewritten", ".exchanged"


def bundle_names(folder: Path, ids: Collection[bytes]) -> bool:
    """Whether the bundle holds one of `ids` among its variables, in a list of keys or in a request."""
    strings = (values.ravel().tolist() for values in strings_of(folder / _CHECKPOINT).values())
    places = (*strings, warm_up_users(folder), *map(_lines, _lists(folder)))
    return any(not set(ids).isdisjoint(place) for place in places)


def strings_of(checkpoint: Path) -> dict[str, np.ndarray]:
    """A checkpoint's tensors of strings by name; without those of the catalogue, and none of no checkpoint."""
    import tensorflow as tf

    reader = _reader(checkpoint)
    shapes = {} if reader is None else reader.get_variable_to_shape_map()
    kinds = {} if reader is None else reader.get_variable_to_dtype_map()
    names = [name for name in shapes if kinds[name] == tf.string and shapes[name]]
    return {name: reader.get_tensor(name) for name in names if not name.startswith(_NOT_OF_KEYS)}


def warm_up_users(folder: Path) -> list[bytes]:
    """The users of a bundle's warm-up requests."""
    inputs = [tensors["user_id"] for _, tensors in read_warm_up(folder) if "user_id" in tensors]
    return [user for users in inputs for user in users.ravel().tolist()]


def erase_in_bundle(
    folder: Path, ids: Mapping[bytes, bytes], rows: Sequence[int], tables: Sequence[np.ndarray] = ()
) -> bool:
    """Rewrites the bundle `folder` beside and exchanges it; nothing happens where nothing is to be done.

    Args:
      folder: of the bundle; its name without a dot in front.
      ids: the id to what takes its place: the rows of others must not move.
      rows: of the users in tables of keys, which become zeros.
      tables: the model's tables of keys as they are in its state; without them the tables are told by their size.

    Returns:
      Whether anything was changed.

    Raises:
      BundleError: the parts disagree from the start.
    """
    key_tables = _tables_of_keys(folder, tables) if rows else {}
    filled = {name: value for name, value in key_tables.items() if np.any(value[_within(rows, value)])}
    if not filled and not bundle_names(folder, list(ids)):
        return False
    manifest = check_bundle(folder)
    beside = folder.with_name(f".{folder.name}{BESIDE}")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(folder, beside)
    changed: dict[str, np.ndarray] = {}
    grown = 0
    for name, values in strings_of(folder / _CHECKPOINT).items():
        strings = values.ravel().tolist()
        if not ids.keys().isdisjoint(strings):
            replaced = [ids.get(value, value) for value in strings]
            changed[name] = np.array(replaced, object).reshape(values.shape)
            grown += sum(map(len, replaced)) - sum(map(len, strings))
    for name, value in filled.items():
        changed[name] = value.copy()
        changed[name][_within(rows, value)] = 0
    if changed:
        _write(beside, changed)
    if not ids.keys().isdisjoint(warm_up_users(folder)):
        requests = [(name, _without(inputs, ids)) for name, inputs in read_warm_up(folder)]
        shutil.rmtree(beside / WARM_UP_FILE.parent)
        write_warm_up(beside, requests)
    for path in _lists(beside):
        path.write_bytes(b"\n".join(ids.get(line, line) for line in _lines(path)))
    _describe(beside, manifest, grown)
    for path in folder.rglob("*"):  # a server of another user must be able to read it as before
        shutil.copymode(path, beside / path.relative_to(folder))
    exchange(folder, beside)
    return True


def exchange(folder: Path, beside: Path) -> None:
    """Puts `beside` in the place of `folder`. Between the two renames there is none: see `mend_exchange`."""
    away = folder.with_name(f".{folder.name}{AWAY}")
    shutil.rmtree(away, ignore_errors=True)
    os.rename(folder, away)
    os.rename(beside, folder)
    shutil.rmtree(away)


def mend_exchange(folder: Path) -> None:
    """Ends an exchange that was cut off: the new one where it is whole and the old one is gone, else the old one."""
    beside, away = (folder.with_name(f".{folder.name}{end}") for end in (BESIDE, AWAY))
    if not folder.exists() and away.exists():
        # The old one leaves only when the new one is whole.
        os.rename(beside if beside.exists() else away, folder)
    for path in (beside, away):
        shutil.rmtree(path, ignore_errors=True)


def _describe(folder: Path, manifest: Manifest, grown: int) -> None:
    about = dict(manifest.about)
    if grown and "string" in about.get("tables", {}):
        about["tables"] = {**about["tables"], "string": about["tables"]["string"] + grown}
    files = fingerprints(folder)
    if "bytes" in about:
        about["bytes"] = sum((folder / name).stat().st_size for name in files)
    Manifest(about, files).write(folder)


def _tables_of_keys(folder: Path, tables: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The bundle's variables that have a row a key, by name."""
    reader = _reader(folder / _CHECKPOINT)
    if reader is None:
        return {}
    shapes = reader.get_variable_to_shape_map()
    tensors = {name: reader.get_tensor(name) for name in shapes if name.startswith("parameters/") and shapes[name]}
    tensors = {name: value for name, value in tensors.items() if value.dtype.kind == "f" and value.ndim == 2}
    if tables:
        return {name: value for name, value in tensors.items() if any(_same(value, table) for table in tables)}
    keys, items = (shapes.get(name, [-1])[0] for name in (_KEYS, _ITEMS))
    return {} if keys == items else {name: value for name, value in tensors.items() if len(value) == keys}


def _same(value: np.ndarray, table: np.ndarray) -> bool:
    """Equal but for rows that were made zero, in either of them."""
    if value.shape != table.shape:
        return False
    equal = (value == table).all(axis=1)
    return bool(np.all(equal | ~value.any(axis=1) | ~table.any(axis=1)) and equal.mean() > 0.5)


def _within(rows: Sequence[int], table: np.ndarray) -> list[int]:
    return [row for row in rows if row < len(table)]


def _lists(folder: Path) -> list[Path]:
    """Vocabularies as text, which bundles of earlier versions held."""
    return [path for path in sorted((folder / "assets").glob("*.txt")) if "item" not in path.name]


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")


def _without(inputs: Mapping[str, np.ndarray], ids: Collection[bytes]) -> dict[str, np.ndarray]:
    if "user_id" not in inputs:
        return dict(inputs)
    users = [_NOBODY if user in ids else user for user in inputs["user_id"].ravel().tolist()]
    return {**inputs, "user_id": np.array(users, object).reshape(inputs["user_id"].shape)}


def _reader(checkpoint: Path) -> Any:
    import tensorflow as tf

    return (
        tf.train.load_checkpoint(str(checkpoint)) if checkpoint.with_name(f"{checkpoint.name}.index").exists() else None
    )


def _write(folder: Path, changed: Mapping[str, np.ndarray]) -> None:
    """Writes the variables again, with some of them changed, under the same names."""
    import tensorflow as tf

    reader = _reader(folder / _CHECKPOINT)
    names = sorted(reader.get_variable_to_shape_map())
    kinds = reader.get_variable_to_dtype_map()
    tensors = [tf.constant(changed.get(name, reader.get_tensor(name)), kinds[name]) for name in names]
    del reader
    shutil.rmtree(folder / _CHECKPOINT.parent)
    (folder / _CHECKPOINT.parent).mkdir()
    tf.raw_ops.SaveV2(
        prefix=str(folder / _CHECKPOINT), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors
    )
