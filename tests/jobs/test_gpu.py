"""What is said of a GPU, with a stand-in for it."""

import warnings
from types import SimpleNamespace

import pytest
import torch

from cnnviz.errors import ConfigError
from cnnviz.jobs import devices, gpu


def gone(monkeypatch: pytest.MonkeyPatch, said: str = "") -> None:
    def is_available() -> bool:
        if said:
            warnings.warn(said, stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_gpu_that_is_not_there_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    gone(monkeypatch)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    assert gpu.trouble() == "no NVIDIA GPU is found"
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert gpu.trouble() == f"CUDA_VISIBLE_DEVICES={hidden} hides every GPU: unset it"
        with pytest.raises(ConfigError, match=r"no cuda \(CUDA_VISIBLE_DEVICES=.* hides every GPU: unset it\): choose"):
            devices.resolve("cuda")
    gone(monkeypatch, "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please")
    assert gpu.trouble().startswith("the NVIDIA driver is too old for PyTorch 2.")
    assert "cuda" not in devices.available()  # and nothing is warned of
    monkeypatch.setattr(torch.version, "cuda", None)
    assert gpu.trouble().startswith("PyTorch was installed without CUDA")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert gpu.trouble() == ""


def there(monkeypatch: pytest.MonkeyPatch, name: str = "NVIDIA H200", used: float = 1e9) -> None:
    properties = SimpleNamespace(total_memory=80e9)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: name)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 7)
    monkeypatch.setattr(torch.cuda, "device_memory_used", lambda device: used)
    monkeypatch.setattr(torch.cuda, "temperature", lambda device: 40)


def refuse(device: int) -> float:
    raise RuntimeError("not supported")


def test_a_gpu_of_ones_own_is_nothing_to_speak_of(monkeypatch: pytest.MonkeyPatch) -> None:
    there(monkeypatch)
    assert gpu.notes() == []
    assert list(gpu.figures().values()) == [7.0, 1000.0, 40.0]


def test_what_is_odd_about_a_gpu_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    there(monkeypatch, "NVIDIA A100-SXM4-40GB MIG 1g.5gb", used=61e9)
    monkeypatch.setattr(torch.cuda, "utilization", refuse)
    monkeypatch.setattr(torch.cuda, "temperature", refuse)
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    assert gpu.notes() == [
        "trained on a part of a GPU (MIG 1g.5gb), with its share of memory and speed",
        "other programs hold 61 of the GPU's 80 GB: steps may take longer",
        "the GPU's use and temperature cannot be read and are not recorded: pip install nvidia-ml-py",
    ]
    assert list(gpu.figures().values()) == [61000.0]
