"""How long a network's maps take to be on screen, against the matplotlib grids of the notebook way.

    pip install -r requirements.txt -r benchmarks/requirements.txt
    python -m benchmarks.feature_maps

Core: from a picture, layer or epoch chosen to every layer's maps as PNG (checkpoint in memory). Page: a whole rerun of
the Feature maps page, by AppTest, with the networks and the data set loaded. Both on the synthetic pictures and random
weights, which cost what real ones cost. Every round alternates the ways; medians and the extremes are printed.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
from torch import Tensor

from cnnviz import paths
from cnnviz.architectures import architecture, initial_weights
from cnnviz.data import synthetic
from cnnviz.inspection.network import LayerMaps, Network, activations, load_network
from cnnviz.render.colours import Scale
from cnnviz.render.exports import png
from cnnviz.render.maps import atlas, legend


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-page", action="store_true", help="the core alone")
    options = parser.parse_args()
    torch.set_num_threads(1)  # as the page does
    images = torch.from_numpy(synthetic.draw("test", 100)[0])
    lenets = [network("lenet5x5", "tanh", 0), network("lenet5x5", "sigmoid", 1)]
    conv5 = network("conv5", "relu", 0)
    print(f"{'maps to PNG, ms':44} {'median':>9} {'least':>9} {'most':>9}")
    compare("two LeNets, every layer", lenets, images, "", options.rounds)
    compare("conv5, the 96 maps of c9", [conv5], images, "c9_activation", options.rounds)
    compare("conv5, every layer", [conv5], images, "", options.rounds)
    if not options.no_page:
        pages(options.rounds)


def network(model: str, activation: str, seed: int) -> Network:
    arch = architecture(model)
    return load_network(arch, activation, arch.pooling, initial_weights(arch, seed))


def compare(title: str, networks: list[Network], images: Tensor, step: str, rounds: int) -> None:
    ways: dict[str, Callable[[list[LayerMaps]], object]] = {"cnnviz": ours, "matplotlib": matplotlibs}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-1, rounds):  # the first round warms up
        for name, draw in ways.items():
            began = time.perf_counter()
            for each in networks:
                every = activations(each, images[turn % len(images), None])
                draw([maps for maps in every.values() if step in ("", maps.name)])
            if turn >= 0:
                seconds[name].append(time.perf_counter() - began)
    for name, all_of_it in seconds.items():
        report(f"{title}: {name}", all_of_it)
    print(f"{'':44} {statistics.median(seconds['matplotlib']) / statistics.median(seconds['cnnviz']):8.0f}×")


def ours(layers: list[LayerMaps]) -> list[bytes]:
    """What the page sends: an atlas and a legend a layer."""
    made = []
    for maps in layers:
        scale = Scale.of([maps])
        made.append(png(atlas(maps.values[0], scale), fast=True))
        made.append(png(legend(scale), fast=True))
    return made


def matplotlibs(layers: list[LayerMaps]) -> list[bytes]:
    """A figure a layer, an axes a map, as notebooks draw them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    made = []
    for maps in layers:
        values = maps.values[0].numpy()
        values = values if values.ndim == 3 else values[None, None]
        columns = min(len(values), 8)
        rows = -(-len(values) // columns)
        figure, axes = plt.subplots(rows, columns, figsize=(columns, rows), squeeze=False)
        for axis in axes.flat:
            axis.axis("off")
        for channel, values_of_one in enumerate(values):
            axis = axes.flat[channel]
            axis.imshow(values_of_one, cmap="RdBu_r", vmin=-maps.high, vmax=maps.high)
            axis.set_title(str(channel), fontsize=6)
        file = io.BytesIO()
        figure.savefig(file, format="png")
        plt.close(figure)
        made.append(file.getvalue())
    return made


def report(title: str, seconds: list[float]) -> None:
    values = [1000 * x for x in (statistics.median(seconds), min(seconds), max(seconds))]
    print(f"{title:44} {values[0]:9.1f} {values[1]:9.1f} {values[2]:9.1f}")


# -- the page ------------------------------------------------------------------------------------


def pages(rounds: int) -> None:
    """Whole reruns of the page: another picture, another epoch, a clicked channel."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(CNNVIZ_HOME=f"{folder}/home", CNNVIZ_DATA=f"{folder}/data", CNNVIZ_OFFLINE="1")
        from streamlit.testing.v1 import AppTest

        from cnnviz.app.maps import uploads
        from cnnviz.config import RunConfig
        from cnnviz.jobs import control
        from cnnviz.store import artifacts, changes
        from cnnviz.store.runs import Segment

        control.ensure_worker = lambda *_: None

        def recorded(model: str, activation: str) -> str:
            config = RunConfig(model=model, activation=activation, dataset="synthetic", epochs=8)
            (run_id,) = changes.schedule([config], "cpu")
            for epoch in range(8):
                artifacts.save_checkpoint(run_id, epoch, initial_weights(architecture(model), epoch), {})
                changes.record(run_id, epoch, {"test_accuracy": 0.1}, [Segment(0, 0.0, 1.0, "cpu", 1)])
            changes.finish(run_id, "FINISHED")
            return run_id[:8]

        lenets = recorded("lenet5x5", "tanh"), recorded("lenet5x5", "sigmoid")
        conv5 = recorded("conv5", "relu")
        print(f"\n{'the whole page, ms':44} {'median':>9} {'least':>9} {'most':>9}")
        for title, run, other in (("two LeNets", *lenets), ("conv5", conv5, "none")):
            page = AppTest.from_file(str(paths.PROJECT / "app.py"), default_timeout=300).run()
            page.switch_page("pages/feature_maps.py")
            page.session_state[uploads.MORE.name] = True  # what chooses a picture by its number is in sight
            page.query_params["run"], page.query_params["other"] = run, other
            page.run()
            assert not page.exception
            for what, key, choices in (
                ("another picture", "picture", range(1, rounds + 2)),
                ("another epoch", "epoch", [epoch % 8 for epoch in range(rounds + 1)]),
            ):
                seconds = []
                for choice in choices:
                    widget = page.select_slider(key=key) if key == "epoch" else page.number_input(key=key)
                    began = time.perf_counter()
                    widget.set_value(choice).run()
                    seconds.append(time.perf_counter() - began)
                report(f"{title}, {what}", seconds[1:])


if __name__ == "__main__":
    main()
