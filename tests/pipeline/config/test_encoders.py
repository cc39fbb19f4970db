"""The section `encoders`."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from pipeline.config.encoders import Encoder, Encoders

SECTION = pydantic.TypeAdapter(Encoders)


def test_an_encoder_needs_its_path_alone():
    read = SECTION.validate_python(
        {"title": {"path": "models/minilm"}, "text_2": {"path": "e5", "prefix": "passage: "}}
    )
    assert read["title"] == Encoder(path=Path("models/minilm"), max_tokens=64, batch=64, keep_unused=30)
    assert (read["text_2"].prefix, read["text_2"].text) == ("passage: ", None)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"Title": {"path": "m"}}, "'Title'"),
        ({"title-2": {"path": "m"}}, "'title-2'"),
        ({"title": {}}, "path"),
        ({"title": {"path": "m", "max_tokens": 2}}, "max_tokens"),
        ({"title": {"path": "m", "batch": 0}}, "batch"),
        ({"title": {"path": "m", "keep_unused": -1}}, "keep_unused"),
        ({"title": {"path": "m", "pooling": "cls"}}, "pooling"),
    ],
)
def test_what_can_not_be_used_is_refused(section, words):
    with pytest.raises(pydantic.ValidationError, match=words):
        SECTION.validate_python(section)
