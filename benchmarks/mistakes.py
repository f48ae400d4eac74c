"""How long the predictions of every epoch take, and what is made of them: python -m benchmarks.mistakes

    python -m benchmarks.mistakes --epochs 21 --model lenet5x5

Random weights, which cost what trained ones do, in a store of its own; 10,000 pictures that are drawn. Printed: all
epochs computed, side by side on the cores that this process may use, in seconds of wall clock and of CPU; the same
epochs read from the disk; and, warm, in milliseconds of server time, medians of ten: another epoch's matrix, figures
by class and calibration; a cell's pictures; what became of each picture over the epochs; two networks; all networks.
Then a rerun of the page with another epoch and with another cell, by AppTest, predictions kept on the disk.
The CPU's seconds over the cores are what idle cores would take; the wall clock says what else ran.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch

NETWORKS = 12  # that are compared
PARTS = ("both_right", "only_a", "only_b", "both_wrong", "disagree")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=21)
    parser.add_argument("--model", default="lenet5x5")
    parser.add_argument("--activation", default="tanh")
    parser.add_argument("--no-page", action="store_true", help="the core alone")
    options = parser.parse_args()
    torch.set_num_threads(1)  # as the app does
    with tempfile.TemporaryDirectory() as home:
        os.environ["CNNVIZ_HOME"] = home
        measure(options.model, options.activation, options.epochs)
        if not options.no_page:
            page()


def measure(model: str, activation: str, epochs: int) -> None:
    from cnnviz import data
    from cnnviz.architectures import architecture, initial_weights
    from cnnviz.config import RunConfig
    from cnnviz.data import Dataset, synthetic
    from cnnviz.inspection import agreement, forgetting, gallery, outputs
    from cnnviz.inspection.calibration import calibration
    from cnnviz.inspection.mistakes import answers, mistakes
    from cnnviz.store import artifacts, changes, reading

    nothing = torch.empty(0)
    images, labels = map(torch.from_numpy, synthetic.draw("test", 10_000))
    dataset = Dataset("synthetic", "drawn", data.CLASSES, nothing, nothing, images, labels)
    (run_id,) = changes.schedule([RunConfig(model=model, activation=activation, dataset="synthetic")], "cpu")
    for epoch in range(epochs):
        weights = {name: 2 * each for name, each in initial_weights(architecture(model), epoch).items()}
        artifacts.save_checkpoint(run_id, epoch, weights, {})
    run, every = reading.run(run_id), range(epochs)
    cores = len(os.sched_getaffinity(0))

    for what in ("computed", "read"):
        began, busy = time.perf_counter(), time.process_time()
        found = dict(outputs.each_epoch(run, every, dataset))
        wall, cpu = time.perf_counter() - began, time.process_time() - busy
        print(
            f"{epochs} epochs of {model} {what}: {wall:.2f} s; CPU {cpu:.2f} s, {cpu / cores:.2f} on {cores} idle cores"
        )

    table = np.stack([answers(prediction) for prediction in found.values()])
    turns = iter(range(10**6))

    def another_epoch() -> None:
        prediction = outputs.of(run, next(turns) % epochs, dataset)
        mistakes(answers(prediction), labels, 10)
        calibration(prediction, labels)

    def a_cell() -> None:
        prediction = outputs.of(run, epochs - 1, dataset)
        gallery.confused(prediction, labels, 3, next(turns) % 10)

    print(f"another epoch {median(another_epoch):.0f} ms")
    print(f"a cell's pictures {median(a_cell):.0f} ms")
    print(f"over the epochs {median(lambda: forgetting.learned(every, table, labels)):.0f} ms")
    print(f"two networks {median(lambda: agreement.pair(table[0], table[-1], labels).p):.0f} ms")
    print(f"agreement of {epochs} networks {median(lambda: agreement.agreement(list(table))):.0f} ms")
    print(f"wrong by all of {epochs} {median(lambda: agreement.wrong_by_all(list(table), labels)):.0f} ms")


def page() -> None:
    """Whole reruns, of a run whose predictions are on the disk: an epoch that was not looked at before, then a cell."""
    from streamlit.testing.v1 import AppTest

    from cnnviz import data, paths
    from cnnviz.architectures import architecture, initial_weights
    from cnnviz.config import RunConfig
    from cnnviz.inspection import outputs
    from cnnviz.jobs import control
    from cnnviz.store import artifacts, changes, reading
    from cnnviz.store.runs import Segment

    control.ensure_worker = lambda *_: None
    os.environ.update(CNNVIZ_DATA=f"{os.environ['CNNVIZ_HOME']}/data", CNNVIZ_OFFLINE="1")
    configs = [RunConfig(dataset="synthetic", epochs=12, seed=seed) for seed in range(NETWORKS)]
    run_id, *others = changes.schedule(configs, "cpu")
    for seed, each in enumerate([run_id, *others]):
        for epoch in range(12) if each == run_id else [11]:
            weights = initial_weights(architecture("lenet5x5"), 12 * seed + epoch)
            artifacts.save_checkpoint(each, epoch, {name: 2 * weight for name, weight in weights.items()}, {})
        for epoch in range(12):
            changes.record(each, epoch, {"test_accuracy": 0.2}, [Segment(0, 0.0, 1.0, "cpu", 1)])
        changes.finish(each, "FINISHED")
        for _ in outputs.each_epoch(reading.run(each), range(12) if each == run_id else [11], data.load("synthetic")):
            pass
    opened = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=300).run()
    opened.switch_page("pages/mistakes.py")
    opened.query_params["run"] = run_id[:8]
    opened.run()
    assert not opened.exception
    epochs, cells = iter(range(11)), iter([0, 1] * 20)

    def another_epoch() -> None:
        opened.select_slider(key="epoch").set_value(next(epochs)).run()

    def another_cell() -> None:
        opened.session_state["visit"].values["cell"] = (3, next(cells))
        opened.run()
        assert opened.button(key="chip")

    print(f"the page at another epoch {median(another_epoch):.0f} ms")
    print(f"the page with another cell {median(another_cell):.0f} ms")

    def choosing(view: str, name: str, *values: str) -> Callable[[], None]:
        opened.query_params["other"] = others[0][:8]
        opened.session_state["visit"].values.update(view=view, other=others[0][:8], epoch=11)
        opened.session_state["visit"].moved.update({"view", "other", "epoch"})
        opened.run()
        turn = itertools.cycle(values)

        def choose() -> None:
            opened.session_state["visit"].values[name] = next(turn)
            opened.session_state["visit"].moved.add(name)
            opened.run()
            assert not opened.exception

        return choose

    print(f"over the epochs, another fate {median(choosing('epochs', 'fate', 'never', 'early')):.0f} ms")
    print(f"two networks and seeds, other pictures {median(choosing('pair', 'part', *PARTS)):.0f} ms")
    orders = choosing("many", "many_order", "similarity", "accuracy")
    print(f"{NETWORKS} networks in another order {median(orders):.0f} ms")


def median(work: Callable[[], object]) -> float:
    """Milliseconds."""
    work()
    taken = []
    for _ in range(10):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


if __name__ == "__main__":
    main()
