import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnviz.config import RunConfig
from cnnviz.train import shards

SEEN = """
import sys
from cnnviz import nursery, shards
import torch
print(sorted(shards.loaded), torch.get_num_threads(), sorted({"mlflow", "streamlit"} & set(sys.modules)), flush=True)
"""


def seen() -> str:
    done = subprocess.run([sys.executable, "-c", SEEN], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.strip()


@pytest.mark.usefixtures("cifar10_root")
def test_it_loads_the_pictures_once_and_nothing_that_a_shard_does_not_need() -> None:
    assert seen() == "['cifar10'] 1 []"


def test_without_data_or_with_damaged_ones_the_shards_are_left_to_say_so(tmp_path: Path) -> None:
    assert seen() == "[] 1 []"
    folder = Path(os.environ["CNNVIZ_DATA"]) / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        (folder / name).write_bytes(b"no pictures")
    (folder / "batches.meta").write_bytes(b"no names")
    assert seen() == "[] 1 []"


@pytest.mark.skipif(sys.platform != "linux", reason="forked on Linux alone")
@pytest.mark.usefixtures("synthetic_root")
def test_a_shard_knows_the_environment_of_its_own_time() -> None:
    config = RunConfig(model="c4k5-s2-f12", dataset="cifar10", limit_train=100, epochs=1)
    shards.warm_up("cpu")  # now, or at an earlier test
    (failed,) = (each for each in shards.train([config]) if isinstance(each, shards.Failed))
    assert not failed.died
    assert os.environ["CNNVIZ_DATA"] in failed.message
