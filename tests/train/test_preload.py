import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnviz import paths
from cnnviz.config import RunConfig
from cnnviz.train import shards

forked = pytest.mark.skipif(sys.platform != "linux", reason="forked on Linux alone")

IN_A_SHARD = """
import gc, sys, torch
from cnnviz.train import memory
print(
    "cnnviz.train.shards" in sys.modules,
    sorted(memory.datasets),
    torch.get_num_threads(),
    gc.get_freeze_count() > 0,
    sorted({"mlflow", "streamlit"} & set(sys.modules)),
    flush=True,
)
"""
PROGRAM = f"""
from cnnviz.train import shards
process = shards._context("cpu").Process(target=exec, args=({IN_A_SHARD!r},))
process.start()
process.join()
"""


def forked_from(preload: str) -> str:
    """The same from a fork server that somebody else starts, in a process that need not load PyTorch for it."""
    return f"""
import multiprocessing
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([{preload!r}])
process = context.Process(target=exec, args=({IN_A_SHARD!r},))
process.start()
process.join()
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}  # which tests set
    return subprocess.run([sys.executable, "-c", program], cwd=paths.PROJECT, env=plain, capture_output=True, text=True)


def seen(program: str) -> str:
    """What a shard finds as it starts."""
    done = run(program)
    assert not done.stderr
    return done.stdout.strip()


@forked
@pytest.mark.usefixtures("cifar10_root")
def test_it_loads_the_pictures_once_and_nothing_that_a_shard_does_not_need() -> None:
    assert seen(PROGRAM) == "True ['cifar10'] 1 True []"


@forked
def test_without_data_or_with_damaged_ones_the_shards_are_left_to_say_so(tmp_path: Path) -> None:
    assert seen(forked_from(shards.PRELOAD)) == "True [] 1 True []"
    folder = Path(os.environ["CNNVIZ_DATA"]) / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        (folder / name).write_bytes(b"no pictures")
    (folder / "batches.meta").write_bytes(b"no names")
    assert seen(forked_from(shards.PRELOAD)) == "True [] 1 True []"


@forked
@pytest.mark.usefixtures("few_pictures")
def test_a_shard_knows_the_environment_of_its_own_time() -> None:
    config = RunConfig(model="c4k5-s2-f12", dataset="cifar10", limit_train=100, epochs=1)
    shards.warm_up("cpu")  # now, or at an earlier test
    (failed,) = (each for each in shards.train([config]) if isinstance(each, shards.ShardFailed))
    assert not failed.died
    assert os.environ["CNNVIZ_DATA"] in failed.message


@forked
def test_another_fork_server_is_not_prepared() -> None:
    """One that a notebook, or a test, has of its own, and that only happens to load shards."""
    assert " False []" in run(forked_from("cnnviz.train.shards")).stdout
