import pytest
import torch

from cnnviz.errors import ConfigError
from cnnviz.jobs import devices


def test_a_cluster_is_a_device_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="set CNNVIZ_RAY to"):
        devices.resolve("cluster")
    monkeypatch.setenv("CNNVIZ_RAY", "head:6379")
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: object())
    assert devices.resolve("auto") == devices.resolve("cluster") == devices.available()[0] == "cluster"
    assert devices.resolve("cpu") == "cpu"
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    assert "cluster" not in devices.available()
    with pytest.raises(ConfigError, match=r"pip install -r requirements-cluster\.txt"):
        devices.resolve("cluster")


def test_devices() -> None:
    assert devices.resolve("auto") == devices.available()[0]
    with pytest.raises(ConfigError, match="choose one of auto"):
        devices.resolve("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no cuda"):
            devices.resolve("cuda")
