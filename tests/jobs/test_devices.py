import pytest
import torch

from cnnviz.errors import ConfigError
from cnnviz.jobs import devices


def test_devices() -> None:
    assert devices.resolve("auto") == devices.available()[0]
    with pytest.raises(ConfigError, match="choose one of auto"):
        devices.resolve("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no cuda"):
            devices.resolve("cuda")
