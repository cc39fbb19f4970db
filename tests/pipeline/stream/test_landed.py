"""Which files a stream reads: whole ones, each once, of spans that the champion has not learned."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.spans import Naming
from pipeline.stream.landed import Incoming, RedeliveredError

FIRST, SECOND = (Naming(dated=True).parse(day) for day in ("2024-05-01", "2024-05-02"))


def configured(folder: Path, settle: float = 2.0) -> Config:
    columns = {"key": "user", "item": "item", "timestamp": "time"}
    data = {"path": folder, "pattern": "{YYYY}-{MM}-{DD}/v{VERSION}/*.csv", "columns": columns}
    raw = {"name": "shop", "root": folder / "run", "data": data, "stream": {"settle_seconds": settle}}
    return Config.model_validate(raw)


def deliver(folder: Path, name: str, text: str = "user,item,time\n", age: float = 60.0) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - age,) * 2)


def names(incoming: Incoming, after: int = FIRST, read: dict[str, str] | None = None, **more: object) -> list[str]:
    return [file.name for file in incoming.look(after, more.pop("left_out", ()), read or {}, **more)]  # type: ignore


def test_files_of_later_spans_in_their_order_and_nothing_that_is_no_data(tmp_path):
    for name in ("2024-05-03/a.csv", "2024-05-02/b.csv", "2024-05-02/a.csv", "2024-05-01/a.csv", "2024-05-02/.c.csv"):
        deliver(tmp_path, name)
    incoming = Incoming(configured(tmp_path))
    assert names(incoming) == ["2024-05-02/a.csv", "2024-05-02/b.csv", "2024-05-03/a.csv"]
    assert names(incoming, left_out={SECOND}) == ["2024-05-03/a.csv"]


def test_a_file_that_was_written_just_now_is_left_until_it_has_settled(tmp_path):
    deliver(tmp_path, "2024-05-02/a.csv", age=0)
    assert names(Incoming(configured(tmp_path))) == []
    assert names(Incoming(configured(tmp_path, settle=0))) == ["2024-05-02/a.csv"]
    os.utime(tmp_path / "2024-05-02/a.csv", (time.time() - 3,) * 2)
    assert names(Incoming(configured(tmp_path))) == ["2024-05-02/a.csv"]


def test_a_file_is_read_once_and_what_is_added_to_it_is_said_to_be_for_the_night(tmp_path, caplog):
    deliver(tmp_path, "2024-05-02/a.csv")
    incoming = Incoming(configured(tmp_path))
    (file,) = incoming.look(FIRST, (), {})
    read = {file.name: file.digest}
    assert names(incoming, read=read) == []
    assert names(incoming, read=read, unfinished={file.name}) == [file.name]
    deliver(tmp_path, "2024-05-02/a.csv", "user,item,time\nu,i,1\n")
    assert names(incoming, read=read) == names(incoming, read=read) == []
    assert [record.message for record in caplog.records] == [
        "2024-05-02/a.csv has changed since it was read, and a stream reads a file once. Deliver further events in "
        "files of their own, renamed into place when they are whole. The nightly run reads all of it."
    ]


def test_a_span_that_is_delivered_again_after_it_was_read_makes_the_stream_begin_again(tmp_path):
    deliver(tmp_path, "2024-05-02/a.csv")
    incoming = Incoming(configured(tmp_path))
    (file,) = incoming.look(FIRST, (), {})
    deliver(tmp_path, "2024-05-02/v2/a.csv")
    with pytest.raises(RedeliveredError, match=r"Version 2 of span 19845 takes the place of 2024-05-02/a\.csv\."):
        incoming.look(FIRST, (), {file.name: file.digest})
    assert names(incoming) == ["2024-05-02/v2/a.csv"]
