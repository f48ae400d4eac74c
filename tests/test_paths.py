from pathlib import Path

import pytest

from cnnviz import paths


def test_data_root_is_the_projects_without_cnnviz_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNVIZ_DATA", "~/pictures")
    assert paths.data_root() == Path.home() / "pictures"
    monkeypatch.delenv("CNNVIZ_DATA")
    assert paths.data_root() == Path(__file__).resolve().parents[1] / "data"
