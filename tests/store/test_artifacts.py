import os
from pathlib import Path

import pytest
import torch

from cnnviz.architectures import architecture, initial_weights
from cnnviz.config import RunConfig
from cnnviz.errors import CheckpointError
from cnnviz.store import artifacts, changes, checkpoints, reading

CONFIG = RunConfig(lr=0.001, epochs=3)


def test_checkpoints() -> None:
    weights = initial_weights(architecture("lenet5x5"), 0)
    (run_id,) = changes.schedule([CONFIG], "cpu")
    for epoch in range(4):
        artifacts.save_checkpoint(run_id, epoch, weights, {"steps": torch.tensor(float(epoch))})
    run = reading.run(run_id)
    path = Path(os.environ["CNNVIZ_HOME"]) / "artifacts" / run_id / "artifacts/checkpoints/epoch-0002.safetensors"
    assert path.is_file()
    assert artifacts.checkpoint_epochs(run_id) == [0, 1, 2, 3]
    assert all(torch.equal(weights[name], each) for name, each in artifacts.load_checkpoint(run, 2).items())
    assert float(artifacts.load_optimizer(run, 3)["steps"]) == 3
    assert artifacts.load_optimizer(run, 1) == {}  # only the last one, and the one it may have to fall back on
    with pytest.raises(CheckpointError, match="kept are: 0, 1, 2, 3"):
        artifacts.load_checkpoint(run, 9)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="epoch-0002"):
        artifacts.load_checkpoint(run, 2)


def test_thinning_keeps_the_last_two_and_what_is_worth_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    (run_id,) = changes.schedule([CONFIG], "cpu")
    for epoch in range(30):
        artifacts.save_checkpoint(run_id, epoch, {"w": torch.zeros(2)}, {})
    artifacts.thin_checkpoints(run_id, 7)
    assert len(artifacts.checkpoint_epochs(run_id)) == 30  # small ones are all kept
    plain = checkpoints.which_to_keep
    monkeypatch.setattr(checkpoints, "which_to_keep", lambda epochs, best, size: plain(epochs, best, 10**8))
    artifacts.thin_checkpoints(run_id, 7)
    assert {0, 7, 28, 29} <= set(artifacts.checkpoint_epochs(run_id))
    assert len(artifacts.checkpoint_epochs(run_id)) < 15
