from __future__ import annotations

import os

import pytest

from serving.server.process_settings import prepare_process


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_a_serving_process_multiplies_with_onednn_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", before or "")
    if before is None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    prepare_process()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == after
