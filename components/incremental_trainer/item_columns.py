"""What the items file says of the items: texts that come along with a recommendation, and what is withdrawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv

if TYPE_CHECKING:
    from components.incremental_trainer.settings import Settings

_TITLES = "titles"  # the output that the title column becomes, whatever its name
_YES, _NO = frozenset({"", "1", "true", "t", "yes", "y"}), frozenset({"0", "false", "f", "no", "n"})


class ItemsFileError(ValueError):
    """The items file can't be used; the message says what it must be."""


def item_columns(ids: pa.Array, settings: Settings) -> tuple[dict[str, list[str]], np.ndarray | None]:
    """Texts of binary [n] ids by output name, and bool [n], False for what is withdrawn; None without such a column.

    An item that the file does not name has empty texts and is available: it may be newer than the file.

    Raises:
      ItemsFileError: the file can't be read, lacks a column, or says of an item neither that it is available nor not.
    """
    names = [settings.title_column] if settings.columns is None else list(settings.columns)
    outputs = {name: _TITLES if name == settings.title_column else name for name in names}
    if settings.items_file is None:
        if settings.columns or settings.available_column:
            raise ItemsFileError(
                "`serving.columns` and `serving.available` name columns of the items file. Received: no `data.items`. "
                "Give it, or leave them out."
            )
        return {output: [""] * len(ids) for output in outputs.values()}, None
    table = _read(settings, names)
    place = {item_id: at for at, item_id in enumerate(table[settings.item_column].cast(pa.binary()).to_pylist())}
    table_rows = [place.get(item_id) for item_id in ids.to_pylist()]
    columns = {}
    for name, output in outputs.items():
        texts = table[name].to_pylist()
        columns[output] = ["" if at is None else texts[at] or "" for at in table_rows]
    return columns, _available(table, settings, table_rows)


def _read(settings: Settings, names: list[str]) -> pa.Table:
    columns = [settings.item_column, *names, *([settings.available_column] if settings.available_column else [])]
    columns = list(dict.fromkeys(columns))
    try:
        return pa.csv.read_csv(
            settings.items_file,
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
            ),
        )
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise ItemsFileError(
            f"`data.items` must be a CSV file with the columns {' and '.join(columns)}. Received: "
            f"{settings.items_file} ({error}). Name its columns in `data.columns.item`, `data.item_title`, "
            "`serving.columns` and `serving.available`, or leave `data.items` out."
        ) from None


def _available(table: pa.Table, settings: Settings, table_rows: list[int | None]) -> np.ndarray | None:
    if settings.available_column is None:
        return None
    flags = [(text or "").strip().lower() for text in table[settings.available_column].to_pylist()]
    if wrong := sorted(set(flags) - _YES - _NO):
        raise ItemsFileError(
            f"The column `{settings.available_column}` of {settings.items_file} must hold true or false, yes or no, 1 "
            f"or 0, or nothing for available. Received: {wrong[0]!r}."
        )
    return np.array([at is None or flags[at] in _YES for at in table_rows], bool)
